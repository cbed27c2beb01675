"""Puts the real servers and clients of the interop run in place, once per version of their lock files."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target").absolute()
CACHE = TARGET / "interop"


def fresh(name: str, locks: list[str]) -> tuple[Path, Path]:
    """The folder of an installation and the stamp that says it is complete."""
    digest = hashlib.sha256(b"".join((HERE / lock).read_bytes() for lock in locks))
    folder = CACHE / f"{name}-{digest.hexdigest()[:16]}"
    stamp = folder / ".complete"
    if not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    return folder, stamp


def node() -> Path:
    """Installs the npm packages; returns a folder where scripts can import them."""
    folder, stamp = fresh("node", ["package.json", "package-lock.json"])
    if not stamp.exists():
        print("interop: installing the npm servers and clients", flush=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        quiet(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        stamp.touch()
    # Node looks for packages above the importing file, so the scripts stand beside them.
    for part in ("clients", "servers"):
        (folder / part).mkdir(exist_ok=True)
        for script in (HERE / part).glob("*.mjs"):
            shutil.copy(script, folder / part)
    return folder


def python() -> Path:
    """Installs the Python packages into a virtual environment; returns its interpreter."""
    folder, stamp = fresh("python", ["requirements.txt"])
    interpreter = folder / "bin" / "python"
    if not stamp.exists():
        print("interop: installing the Python servers and clients", flush=True)
        quiet([sys.executable, "-m", "venv", str(folder)], HERE)
        # requirements.txt is the whole resolved set. Resolving again would fail: fastmcp asks for a
        # newer certifi than every index has.
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--no-deps"]
        quiet([*pip, "-r", str(HERE / "requirements.txt")], HERE)
        stamp.touch()
    return interpreter


def cargo(*arguments: str) -> None:
    """Builds with cargo, which is silent unless it fails or takes long."""
    subprocess.run(["cargo", "build", "--quiet", *arguments], cwd=REPOSITORY, check=True)


def gateway() -> Path:
    """Builds the gateway, unless MCP_GATEWAY_BIN names one; returns its binary."""
    if given := os.environ.get("MCP_GATEWAY_BIN"):
        return Path(given).absolute()
    cargo("-p", "mcp-registry-gateway", "--features", "cli", "--bin", "mcp-gateway")
    return TARGET / "debug" / "mcp-gateway"


def rmcp_client() -> Path:
    """Builds rmcp's client; returns its binary."""
    cargo("-p", "mcp-registry-gateway-tests", "--example", "rmcp_client")
    return TARGET / "debug" / "examples" / "rmcp_client"


def quiet(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"interop: `{' '.join(command)}` failed with {done.returncode}:\n{done.stdout}")
