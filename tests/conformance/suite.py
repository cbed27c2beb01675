"""Runs the conformance suite and reads what it found."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import install
import processes

HERE = Path(__file__).resolve().parent
REQUIREMENTS_SECONDS, SCENARIO_SECONDS = 420, 60
# Of several results of one check the first of these counts.
SEVERITY = ("FAILURE", "WARNING", "SUCCESS", "SKIPPED", "INFO")

Checks = dict[tuple[str, str], tuple[str, str]]
"""Status and message by the id and the name of a check."""
Results = dict[str, Checks]
"""Checks by scenario."""


class Suite:
    """The suite in its folder, run by a Node that is new enough for it."""

    def __init__(self) -> None:
        self.folder = install.node(HERE, ("fixtures/node", "clients"))
        shutil.copy(HERE / "fixtures" / "offer.json", self.folder / "fixtures")
        self.node = node(self.folder)
        self.package = self.folder / "node_modules" / "@modelcontextprotocol" / "conformance"

    def required(self, leg: str, revision: str) -> list[str]:
        """The scenarios that `revision` requires of a `server` or a `client`, as the suite froze them."""
        return self.listed(leg, revision)

    def unscored(self, leg: str, revision: str) -> list[str]:
        """Those that run without being required."""
        text = self.requirements(revision).partition("\nnot_scored:")[2]
        return re.findall(rf"- scenario: (\S+)\n +leg: {leg}\n", text)

    def listed(self, section: str, revision: str) -> list[str]:
        body = self.requirements(revision).partition(f"\n{section}:\n")[2].partition("\n\n")[0]
        return re.findall(r"^ +- (\S+)$", body, re.MULTILINE)

    def requirements(self, revision: str) -> str:
        return (self.package / "requirements" / f"{revision}.yaml").read_text()

    def server(
        self, group: processes.Group, name: str, url: str, revision: str, scenarios: Iterable[str] | None
    ) -> Results:
        """Holds the server at `url` to all that `revision` requires, or to `scenarios`."""
        output = group.logs / name
        address = ["--url", url]
        if scenarios is None:
            run = ["server", *address, "--requirements", revision]
            self.run(group, name, [*run, "-o", str(output)], REQUIREMENTS_SECONDS)
        else:
            for scenario in scenarios:
                run = ["server", *address, "--scenario", scenario, "--spec-version", revision, "--force"]
                self.run(group, f"{name}.{scenario}", [*run, "-o", str(output)], SCENARIO_SECONDS)
        return results(output, "server-")

    def client(
        self, group: processes.Group, name: str, command: str, revision: str, scenario: str
    ) -> Results:
        """Holds the client that `command` starts to one scenario."""
        output = group.logs / name
        limit = str((SCENARIO_SECONDS - 10) * 1000)
        run = ["client", "--command", command, "--scenario", scenario, "--spec-version", revision, "--force"]
        log = f"{name}.{scenario.replace('/', '-')}"
        self.run(group, log, [*run, "--timeout", limit, "-o", str(output)], SCENARIO_SECONDS)
        return {key: value for key, value in results(output, "").items() if key == scenario}

    def run(self, group: processes.Group, log: str, arguments: list[str], seconds: float) -> None:
        try:
            text = group.output(
                log, [str(self.node), str(self.package / "dist" / "index.js"), *arguments], seconds
            )
        except TimeoutError:
            text = f"the suite did not end within {seconds} s".encode()
        with open(group.logs / f"{log}.log", "ab") as file:
            file.write(text)


def results(folder: Path, prefix: str) -> Results:
    """What the suite left in `folder`: `PREFIX SCENARIO-TIME/checks.json` for each scenario that it ran."""
    found: Results = {}
    for path in sorted(folder.glob("**/checks.json")):
        name = str(path.parent.relative_to(folder)).removeprefix(prefix)
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", name)
        found[scenario] = checks(json.loads(path.read_text()))
    return found


def checks(reported: list[dict[str, str]]) -> Checks:
    found: Checks = {}
    for check in reported:
        key = (check["id"], check["name"])
        status, message = check["status"], check.get("errorMessage") or check.get("description", "")
        if key not in found or SEVERITY.index(status) < SEVERITY.index(found[key][0]):
            found[key] = (status, message)
    return found


def passes(found: Checks | None) -> bool:
    """The suite's own measure: nothing failed, and something succeeded."""
    statuses = [status for status, _ in (found or {}).values()]
    return "FAILURE" not in statuses and "SUCCESS" in statuses


def node(folder: Path) -> Path:
    """A Node of version 22 or newer: the one that npm brought, else the machine's."""
    for package in sorted((folder / "node_modules").glob("node-linux-*")):
        return package / "bin" / "node"
    found = shutil.which("node")
    version = subprocess.run([found, "--version"], stdout=subprocess.PIPE, text=True).stdout if found else ""
    if not found or int(version.strip().removeprefix("v").partition(".")[0] or 0) < 22:
        raise SystemExit("conformance: the suite needs Node 22 or newer; this machine has " + (version or "none"))
    return Path(found)
