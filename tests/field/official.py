"""Lists everything on a gateway with each official client; prints {client: {kind: [name or URI, …]}} as JSON. Argument: URL."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
INTEROP = Path(__file__).resolve().parents[1] / "interop"
sys.path.insert(0, str(INTEROP))
import install  # noqa: E402


def main() -> None:
    url = sys.argv[1]
    node = ["node", str(install.node() / "clients" / "lists.mjs")]
    script = str(INTEROP / "clients" / "lists.py")
    second, first = install.python(), install.python(INTEROP / "requirements-mcp-1.txt")
    clients = {
        "typescript v1": [*node, "v1"],
        "typescript v2": [*node, "v2"],
        "typescript v2, modern": [*node, "v2-modern"],
        "python 1.x": [str(first), script],
        "python 2.x": [str(second), script],
        "python 2.x, modern": [str(second), script, "--modern"],
    }
    running = {
        name: subprocess.Popen([*command, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name, command in clients.items()
    }
    seen = {}
    for name, process in running.items():
        out, errors = process.communicate(timeout=120)
        if process.returncode != 0:
            sys.exit(f"{name} cannot read the lists:\n{errors[-4000:]}")
        seen[name] = json.loads(out.splitlines()[-1])
    print(json.dumps(seen))


main()
