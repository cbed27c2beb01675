"""Hosts of ASGI applications: they start, stop and reload with a gateway in them, whatever its clients hold open."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from fastmcp import FastMCP

from mcp_registry_gateway import Gateway

HEADERS = {"accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
APP = """
    from fastapi import FastAPI
    from fastmcp import FastMCP
    from mcp_registry_gateway import Gateway

    calc = FastMCP("calc")

    @calc.tool
    def double(n: int) -> int:
        return 2 * n

    gateway = Gateway(servers={"calc": calc})
    app = FastAPI(lifespan=gateway.lifespan)
    app.mount("/mcp", gateway.mcp_app())

    @app.get("/double/{n}")
    async def doubled(n: int) -> int:
        return (await gateway.call_tool("double", {"n": n}, service="calc")).data
"""
HOSTS = {
    "uvicorn": ["-m", "uvicorn", "app:app", "--port", "PORT", "--log-level", "warning"],
    "uvicorn --reload": ["-m", "uvicorn", "app:app", "--port", "PORT", "--reload"],
    "hypercorn": ["-m", "hypercorn", "app:app", "--bind", "127.0.0.1:PORT"],
    "granian": ["-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "PORT", "app:app"],
    "gunicorn": ["-m", "gunicorn", "app:app", "-k", "uvicorn_worker.UvicornWorker", "--bind", "127.0.0.1:PORT"],
}


def free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    (tmp_path / "app.py").write_text(textwrap.dedent(APP))
    port = free_port()
    command = [part.replace("PORT", str(port)) for part in HOSTS[request.param]]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=tmp_path, text=True, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        )
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def ready(process: subprocess.Popen[str], base: str) -> None:
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        assert process.poll() is None, "the host ended"
        try:
            if httpx.get(f"{base}/double/21", timeout=30).text == "42":
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the host did not answer within 60 s")


def test_a_host_stops_at_once_while_a_client_holds_a_stream(host: tuple[subprocess.Popen[str], str]) -> None:
    process, base = host
    ready(process, base)
    with httpx.Client(base_url=base, headers=HEADERS, follow_redirects=True, timeout=60) as client:
        opened = client.post("/mcp", json=INITIALIZE)
        assert opened.status_code == 200, opened.text
        session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)
        with client.stream("GET", "/mcp/", headers={**session, "accept": "text/event-stream"}) as stream:
            assert stream.status_code == 200
            process.send_signal(signal.SIGTERM)
            # The stream ends by itself; one that holds the host up would last as long as the host's patience, or for ever.
            assert process.wait(20) in (0, -signal.SIGTERM, 128 + signal.SIGTERM), process.returncode


def application() -> tuple[Gateway, FastAPI]:
    calc = FastMCP("calc")

    @calc.tool
    def double(n: int) -> int:
        return 2 * n

    gateway = Gateway(servers={"calc": calc})
    app = FastAPI(lifespan=gateway.lifespan)
    app.mount("/mcp", gateway.mcp_app())

    @app.get("/double/{n}")
    async def doubled(n: int, gw: Gateway = Depends(gateway)) -> int:  # noqa: B008
        result: int = (await gw.call_tool("double", {"n": n}, service="calc")).data
        return result

    return gateway, app


def test_a_test_client_enters_an_application_again_and_again() -> None:
    gateway, app = application()
    for _ in range(2):
        with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 50_000)) as client:
            assert client.get("/double/4").json() == 8
            assert client.post("/mcp", json=INITIALIZE, headers=HEADERS).json()["result"]["serverInfo"]
    assert gateway.is_closed


def test_the_default_test_client_gets_a_response() -> None:
    _, app = application()
    with TestClient(app) as client:
        assert client.post("/mcp", json=INITIALIZE, headers=HEADERS).status_code in (401, 403)


def test_a_gateway_that_is_not_open_answers_503() -> None:
    gateway, app = application()
    client = TestClient(app, base_url="http://localhost")
    answer = client.post("/mcp/", json=INITIALIZE, headers=HEADERS)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
    assert json.loads(answer.text)["error"]["data"]["kind"] == "unavailable"
    with TestClient(app):
        pass
    assert gateway.is_closed and client.post("/mcp/", json=INITIALIZE, headers=HEADERS).status_code == 503


def test_keys_are_required_where_they_are_asked_for() -> None:
    gateway = Gateway()
    app = FastAPI(lifespan=gateway.lifespan)
    app.mount("/mcp", gateway.mcp_app(auth="keys"))
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 50_000)) as client:
        assert client.post("/mcp", json=INITIALIZE, headers=HEADERS).status_code == 401
        key = client.portal.call(gateway.keys.create, "ci")  # type: ignore[union-attr]
        bearer = {**HEADERS, "authorization": f"Bearer {key.key}"}
        assert client.post("/mcp", json=INITIALIZE, headers=bearer).status_code == 200


def test_attach_again_replaces_its_routes() -> None:
    gateway, app = Gateway(), FastAPI()
    before = len(app.router.routes)
    for _ in range(3):
        gateway.attach(app, "/tools/mcp/")
    assert len(app.router.routes) == before + 2
