"""Sets the stage of a combination: fixtures, and a gateway before them."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import fixture
import install
import processes
from combinations import MODERN, Combination

SERVICE = "fixture"
# Any tool of the fixture: once the gateway has discovered it, it has discovered all of them.
TOOL = "test_simple_text"


class Stage:
    """Fixtures and gateways of one combination; all of them end when the `with` block of `group` ends."""

    def __init__(self, group: processes.Group, gateway: Path, fixtures: dict[str, list[str]]) -> None:
        self.group, self.binary, self.fixtures = group, gateway, fixtures

    def alone(self, fixture: str) -> str:
        """Starts a fixture that serves both eras; returns its URL."""
        return self.fixture(fixture, "both", "fixture")

    def behind_gateway(self, chosen: Combination) -> str:
        """Starts what `chosen` needs; returns the URL of the gateway's route."""
        names = [SERVICE] if chosen.layout != "replicas" else ["replica-1", "replica-2"]
        servers = []
        for name in names:
            command = [*self.fixtures[chosen.fixture], "--era", chosen.era]
            if chosen.layout == "stdio":
                where = {"command": command[0], "args": [*command[1:], "--stdio"]}
            else:
                where = {"endpoint_url": self.fixture(chosen.fixture, chosen.era, name)}
            servers.append({"name": name, "service": SERVICE, **where})
        url = self.gateway("gateway", servers)
        base = url.removesuffix("/mcp")
        found = f"{base}/api/v1/discovery/tools?tools={TOOL}"
        for name in names:
            known = f'"{name}"'
            self.group.wait_for("gateway", f"discovers {name}", 30, lambda known=known: known in processes.read(found))
        if chosen.layout == "stdio" and chosen.era == "legacy":
            start_child(f"{url}/{SERVICE}")
        return url if chosen.layout == "aggregate" else f"{url}/{SERVICE}"

    def fixture(self, fixture: str, era: str, name: str) -> str:
        self.group.start(name, [*self.fixtures[fixture], "--era", era])
        self.group.wait_for(name, "prints its URL", 30, lambda: "/mcp\n" in self.group.log(name))
        return self.group.log(name).splitlines()[0]

    def gateway(self, name: str, servers: list[dict[str, object]]) -> str:
        """Starts a gateway with `servers`; returns the URL of its aggregated route."""
        folder = self.group.logs / f"{name}-data"
        folder.mkdir()
        config = folder / "mcp-gateway.toml"
        config.write_text("\n".join(table(server) for server in servers))
        command = [str(self.binary), "serve", "--port", "0", "--data-dir", str(folder), "--config", str(config)]
        self.group.start(name, command)
        return processes.gateway_url(self.group, name, [str(server.get("endpoint_url")) for server in servers])


def start_child(url: str) -> None:
    """Has the gateway start the child that it keeps for a client of the modern era that can be asked something.

    `server-stateless` waits 600 ms for such a one's first answer, and a busy machine needs longer to start a process.
    """
    meta = {
        "protocolVersion": MODERN,
        "clientInfo": {"name": "conformance-client", "version": "1.0.0"},
        "clientCapabilities": {"elicitation": {}},
    }
    params = {"name": TOOL, "_meta": {f"io.modelcontextprotocol/{key}": value for key, value in meta.items()}}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": TOOL}
    request = urllib.request.Request(url, json.dumps(call, separators=(",", ":")).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        response.read()


def table(server: dict[str, object]) -> str:
    """One `[[servers]]` of a configuration; strings and lists of JSON are those of TOML, too."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in server.items()]
    return "\n".join(["[[servers]]", *lines, ""])


def fixtures(group: processes.Group, node: Path, folder: Path) -> dict[str, list[str]]:
    """The commands of the fixtures, without options. What they need as long as they run, ends with `group`."""
    return {
        "python": fixture.python(group, install.python()),
        "node": [str(node), str(folder / "fixtures" / "node" / "server.mjs")],
    }


def stop(group: processes.Group) -> list[str]:
    """Stops everything and says what did not end as it should."""
    left = []
    gateway = group.named.get("gateway")
    if gateway is not None and gateway in group.running:
        children = processes.descendants(gateway.pid)
        code = group.stop(gateway)
        left += [] if code == 0 else [f"the gateway ended with {code} on SIGTERM"]
        left += [f"the gateway left a child behind: {children[pid]}" for pid in processes.alive(children)]
    return left
