"""The HTTP surface within another application."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from mcp_registry_gateway import Gateway, InvalidParamsError
from mcp_registry_gateway.types import Part

HEADERS = {"accept": "application/json, text/event-stream"}


def client(app: Any, peer: str = "127.0.0.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=(peer, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def hello(method: str = "initialize") -> dict[str, Any]:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


async def test_the_gateway_stands_beside_routes_of_ones_own(gateway: Gateway) -> None:
    app = FastAPI()

    @app.get("/own")
    async def own() -> dict[str, bool]:
        return {"own": True}

    gateway.attach(app, "/tools/mcp")
    async with client(app) as http:
        assert (await http.get("/own")).json() == {"own": True}
        opened = await http.post("/tools/mcp", json=hello(), headers=HEADERS)
        assert opened.status_code == 200 and opened.headers["mcp-session-id"]
        session = {**HEADERS, "mcp-session-id": opened.headers["mcp-session-id"]}
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call"}
        call["params"] = {"name": "own__add", "arguments": {"a": 20, "b": 22}}
        answered = await http.post("/tools/mcp", json=call, headers=session)
        assert '"42"' in answered.text
        one = await http.post("/tools/mcp/own", json=hello(), headers=HEADERS)
        assert one.json()["result"]["serverInfo"]["name"] == "own"
        assert (await http.get("/api/v1/servers")).status_code == 404, "only MCP was attached"
        assert (await http.post("/tools/mcp/gateway", json=hello(), headers=HEADERS)).status_code == 404
        for path in ("/tools/mcp/tools", "/tools/mcp/resources"):
            assert (await http.get(path)).status_code == 404, path


async def test_x_22_an_application_has_mcp_alone_unless_more_is_asked_for(gateway: Gateway) -> None:
    parts: dict[Part, str] = {
        "rest": "/api/v1/servers",
        "events": "/api/v1/events",
        "metrics": "/metrics",
        "docs": "/openapi.json",
        "health": "/ready",
    }
    async with client(gateway.asgi_app()) as http:
        for path in parts.values():
            assert (await http.get(path)).status_code == 404, path
        new = {"name": "b", "endpoint_url": "http://127.0.0.1:9/"}
        assert (await http.post("/api/v1/servers", json=new)).status_code == 404
        call: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        listed = (await http.post("/mcp/proxy", json=call)).json()["result"]["tools"]
        assert {tool["name"].split("__")[0] for tool in listed} == {"own"}
        call |= {"method": "tools/call", "params": {"name": "gateway__remove_server", "arguments": {"server": "own"}}}
        assert "error" in (await http.post("/mcp/proxy", json=call)).json()
    assert (await gateway.list())["total"] == 1
    for part, path in parts.items():
        if part == "events":
            continue
        async with client(gateway.asgi_app(expose=[part])) as http:
            served = [other for other, place in parts.items() if (await http.get(place)).status_code == 200]
            assert served == [part], path
    async with client(gateway.asgi_app(expose=["builtin"])) as http:
        listed = (await http.post("/mcp/proxy", json={**call, "method": "tools/list", "params": {}})).json()["result"]["tools"]
        assert {tool["name"].split("__")[0] for tool in listed} == {"own", "gateway"}
    unknown: Any = ["admin"]
    with pytest.raises(InvalidParamsError, match="`admin`"):
        gateway.asgi_app(expose=unknown)


async def test_the_whole_surface_is_an_application(gateway: Gateway) -> None:
    async with client(gateway.asgi_app(expose=["rest", "health"])) as http:
        listed = (await http.get("/api/v1/servers?limit=1")).json()
        assert listed["total"] == 1 and (await http.get("/health")).json()["status"] == "healthy"
        made = await http.post("/api/v1/servers", json={"name": "b", "endpoint_url": "http://127.0.0.1:9/"})
        assert made.status_code == 201


async def test_who_comes_without_an_address_is_not_taken_for_this_machine(gateway: Gateway) -> None:
    nobody: Any = None
    transport = httpx.ASGITransport(app=gateway.asgi_app(expose=["rest"]), client=nobody)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        assert (await http.get("/api/v1/servers")).status_code == 401


async def test_others_than_this_machine_are_nobody_and_unknown_ones_are_refused(gateway: Gateway) -> None:
    async with client(gateway.asgi_app(expose=["rest"]), "10.0.0.1") as http:
        assert (await http.get("/api/v1/servers")).status_code == 401
    async with client(gateway.asgi_app(), "testclient") as http:
        assert (await http.post("/mcp", json=hello(), headers=HEADERS)).status_code == 401


async def test_an_answer_streams_and_a_client_that_leaves_ends_it(gateway: Gateway) -> None:
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    left = asyncio.Event()
    asked = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if asked:
            return asked.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/events",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"accept", b"text/event-stream")],
        "client": ("127.0.0.1", 1),
    }
    answering = asyncio.create_task(gateway.asgi_app(expose=["events"])(scope, receive, told.put))  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        assert (await told.get())["status"] == 200
        await gateway.update("own", weight=2)
        body = b""
        while b"server.updated" not in body:
            body += (await told.get())["body"]
        left.set()
        await answering
    data = next(line for line in body.decode().splitlines() if line.startswith("data: "))
    assert json.loads(data.removeprefix("data: "))["name"] == "own"
