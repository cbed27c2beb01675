"""Sets the stage of a combination: fixtures, and a gateway before them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import install
import processes
from combinations import Combination
from suite import HERE

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


def table(server: dict[str, object]) -> str:
    """One `[[servers]]` of a configuration; strings and lists of JSON are those of TOML, too."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in server.items()]
    return "\n".join(["[[servers]]", *lines, ""])


def fixtures(node: Path, folder: Path) -> dict[str, list[str]]:
    """The commands of the fixtures, without options."""
    return {
        "python": [str(install.python()), "-B", str(HERE / "fixtures" / "python" / "server.py")],
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


def version(binary: Path) -> str:
    return subprocess.run([str(binary), "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
