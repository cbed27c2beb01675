"""The Python fixture of the conformance run, as both runs start it."""

from __future__ import annotations

import sys
from pathlib import Path

import install
import processes

NURSERY = install.REPOSITORY / "tests" / "conformance" / "fixtures" / "python" / "nursery.py"


def python(group: processes.Group, interpreter: Path) -> list[str]:
    """The command of the fixture, without options. What it is forked from ends with `group`."""
    place = group.logs / "nursery.socket"
    group.start("nursery", [str(interpreter), "-B", str(NURSERY), str(place)])
    group.wait_for("nursery", "is ready", 60, lambda: "ready\n" in group.log("nursery"))
    return [sys.executable, "-I", "-S", str(NURSERY), str(place)]
