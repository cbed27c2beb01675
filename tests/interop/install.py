"""Puts the real servers and clients of the interop and conformance runs in place, once per version of their lock files."""

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


def fresh(name: str, locks: list[Path]) -> tuple[Path, Path]:
    """The folder of an installation and the stamp that says it is complete."""
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks))
    folder = CACHE / f"{name}-{digest.hexdigest()[:16]}"
    stamp = folder / ".complete"
    if not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    return folder, stamp


def node(home: Path = HERE, parts: tuple[str, ...] = ("clients", "servers")) -> Path:
    """Installs the npm packages that `home` locks; returns a folder where scripts can import them."""
    locks = [home / "package.json", home / "package-lock.json"]
    folder, stamp = fresh("node", locks)
    if not stamp.exists():
        print(f"{home.name}: installing the npm packages", flush=True)
        for lock in locks:
            shutil.copy(lock, folder)
        quiet(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        stamp.touch()
    # Node looks for packages above the importing file, so the scripts stand beside them.
    for part in parts:
        (folder / part).mkdir(parents=True, exist_ok=True)
        for script in (home / part).glob("*.mjs"):
            shutil.copy(script, folder / part)
    return folder


def python(lock: Path = HERE / "requirements.txt") -> Path:
    """Installs the Python packages of `lock` into a virtual environment; returns its interpreter."""
    folder, stamp = fresh("python", [lock])
    interpreter = folder / "bin" / "python"
    if not stamp.exists():
        print(f"{lock.parent.name}: installing the Python packages of {lock.name}", flush=True)
        quiet([sys.executable, "-m", "venv", str(folder)], HERE)
        # The file is the whole resolved set. Resolving again would fail: fastmcp asks for a
        # newer certifi than every index has.
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--no-deps"]
        quiet([*pip, "-r", str(lock)], HERE)
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
