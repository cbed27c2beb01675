"""The examples do what their pages say."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from fastapi.testclient import TestClient

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fastapi() -> None:
    app = load(EXAMPLES / "fastapi" / "app.py").app
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1)) as http:
        assert http.get("/double/21").json() == {"n": 21, "doubled": 42}
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        assert http.post("/mcp/proxy", json=call).json()["result"]["tools"][0]["name"] == "numbers__double"


def test_fastmcp() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "fastmcp" / "main.py")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "through the gateway: 42" in done.stdout and "within mine: 8" in done.stdout, done.stdout
    assert "its own: Hello, Ada" in done.stdout, done.stdout
