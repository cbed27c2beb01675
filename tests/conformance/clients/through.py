"""A client for the suite that reaches the suite's server through a gateway of its own.

Usage: through.py GATEWAY NODE CLIENT.mjs URL. Starts GATEWAY before URL, runs CLIENT.mjs against the
gateway's route for that one server, and ends with its exit code. Output is the suite's to keep.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent / "interop")]
import processes  # noqa: E402
import stage  # noqa: E402

CLIENT_SECONDS = 30
# The gateway asks a new server at once; a scenario may refuse its first question.
KNOWN_SECONDS = 5


def main() -> int:
    gateway, node, client, url = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="mcp-conformance-") as folder, processes.Group(Path(folder)) as group:
        signal.signal(signal.SIGTERM, lambda *_: group.abort(143))
        route = stage.Stage(group, Path(gateway), {}).gateway("gateway", [{"name": "suite", "endpoint_url": url}])
        deadline = time.monotonic() + KNOWN_SECONDS
        servers = route.removesuffix("/mcp") + "/api/v1/servers"
        while '"health_status":"unknown"' in processes.read(servers) and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            token = processes.local_token(Path(folder) / "gateway-data")
            environment = os.environ | {"CONFORMANCE_GATEWAY": route.removesuffix("/mcp"), "CONFORMANCE_TOKEN": token}
            return subprocess.run([node, client, f"{route}/suite"], timeout=CLIENT_SECONDS, env=environment).returncode
        except subprocess.TimeoutExpired:
            print(f"the client did not end within {CLIENT_SECONDS} s", file=sys.stderr)
            return 1
        finally:
            print(group.log("gateway"), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
