"""Judges what came through the gateway against the fixture alone and against the list of what is impossible."""

from __future__ import annotations

import fnmatch
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from combinations import BARE_NAMED, FREE, REFUSED_EARLIER, RESUMED, Combination
from suite import Checks, Results, passes

FIELDS = {"combination", "scenario", "check", "sentence", "where"}


@dataclass(frozen=True)
class Impossible:
    """A check that the eras make impossible in some mixed pair."""

    combination: str
    scenario: str
    check: str
    sentence: str
    where: str

    def excuses(self, combination: str, scenario: str, check: str) -> bool:
        return (
            fnmatch.fnmatch(combination, self.combination) and scenario == self.scenario and check == self.check
        )


def impossible(path: Path) -> list[Impossible]:
    entries = tomllib.loads(path.read_text()).get("impossible", [])
    for entry in entries:
        if set(entry) != FIELDS or not all(entry.values()):
            raise SystemExit(f"{path}: each [[impossible]] has {', '.join(sorted(FIELDS))}; here is {entry}")
        if entry["combination"].rsplit("/", 1)[-1] == "both":
            raise SystemExit(f"{path}: nothing is impossible in a pure pair: {entry['combination']}")
    return [Impossible(**entry) for entry in entries]


@dataclass
class Verdict:
    """What is said of one combination."""

    combination: Combination
    required: int = 0
    passed: int = 0
    alone: int = 0
    excused: list[str] = field(default_factory=list)
    # Required scenarios that are short, and checks that the fixture alone passes.
    short: list[str] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    # Entries of the list of what is impossible that pass, and anything else that is wrong.
    stale: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not (self.short or self.checks or self.stale or self.wrong) and self.required > 0

    def line(self) -> str:
        counts = f"{self.passed}/{self.required} required, {self.alone - len(self.checks)}/{self.alone} checks"
        excused = f", {len(self.excused)} impossible" if self.excused else ""
        waiting = f", not built yet: {len(self.waiting)} of the scenarios" if self.waiting else ""
        word = "ok" if self.ok else "SHORT"
        return f"{self.combination.name:<36} {word:<6} {counts}{excused}{waiting}  {self.seconds:.0f} s"


def judge(verdict: Verdict, required: list[str], alone: Results, through: Results, excuses: list[Impossible]) -> None:
    """Fills in `verdict`. `alone` and `through` hold the scenarios that count here, and those only."""
    name = verdict.combination.name
    verdict.required = len(required)
    for scenario in [*required, *sorted(set(alone) - set(required))]:
        expected = {
            key: value
            for key, value in alone.get(scenario, {}).items()
            if counts(verdict, key[0]) and (scenario, key[0]) not in REFUSED_EARLIER
        }
        got = {key: value for key, value in through.get(scenario, {}).items() if counts(verdict, key[0])}
        excused = {
            check for check, _ in [*expected, *got] if any(e.excuses(name, scenario, check) for e in excuses)
        }
        for check in sorted(excused):
            failing = [key for key in {**expected, **got} if key[0] == check and got.get(key, ("", ""))[0] != "SUCCESS"]
            (verdict.excused if failing else verdict.stale).append(f"{scenario}: {check}")
        possible = {key: value for key, value in got.items() if key[0] not in excused}
        verdict.checks += [f"{scenario}: {line}" for line in worse(expected, possible, excused)]
        verdict.alone += sum(status == "SUCCESS" for (check, _), (status, _) in expected.items() if check not in excused)
        if scenario in required:
            if not passes(expected):
                verdict.wrong.append(f"{scenario}: the fixture alone does not pass it")
            if passes(possible) or (excused and not any(status == "FAILURE" for status, _ in possible.values())):
                verdict.passed += 1
            else:
                verdict.short.append(scenario)


def counts(verdict: Verdict, check: str) -> bool:
    left_out = {"aggregate": BARE_NAMED, "stdio": RESUMED}
    return check not in left_out.get(verdict.combination.layout, ())


def worse(expected: Checks, got: Checks, excused: set[str]) -> list[str]:
    """The checks that pass alone and not through the gateway, and those that only the gateway fails.

    A check that is skipped, or merely told of, does not pass: the gateway hid what the fixture has.
    """
    lines = []
    for key, (status, _) in expected.items():
        if status == "SUCCESS" and key[0] not in excused:
            now, message = got.get(key, ("not reached", ""))
            if now != "SUCCESS" and not (key[0] in FREE and now == "INFO"):
                lines.append(f"{key[0]} ({key[1]}): {now}: {message}")
    for key, (status, message) in got.items():
        before = expected.get(key, ("INFO", ""))[0]
        if status in ("FAILURE", "WARNING") and before in ("INFO", "SKIPPED"):
            lines.append(f"{key[0]} ({key[1]}): {status}: {message}")
    return lines
