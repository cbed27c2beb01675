"""A browser for the tests: the one that is there, or Debian's, which is installed where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium(part: str) -> str | None:
    """The program of a Chromium, also the one that CHROMIUM names; `None`, and why `part` is left out, where none can be had."""
    if given := os.environ.get("CHROMIUM"):
        return given
    if found := on_path():
        return found
    if not shutil.which("apt-get") or os.geteuid() != 0:
        print(f"SKIPPED: {part}. There is no Chromium here, and none can be installed; CHROMIUM can name one.")
        return None
    print("installing chromium", flush=True)
    options = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    for command in (["update", "--quiet"], ["install", "--quiet", "--yes", "--no-install-recommends", "chromium"]):
        done = subprocess.run(["apt-get", *command], **options)
    if found := on_path():
        return found
    print(f"SKIPPED: {part}. Installing chromium failed:\n{done.stdout[-1000:]}")
    return None


def on_path() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)
