"""The stubs say what the compiled part is, and the package is typed throughout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def check(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_and_its_tests_are_typed() -> None:
    check("mypy", "--strict", "--no-incremental", "python", "tests")


def test_the_stubs_are_those_of_the_compiled_part() -> None:
    check("mypy.stubtest", "mcp_registry_gateway._native")
