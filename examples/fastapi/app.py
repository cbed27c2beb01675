"""A FastAPI application with a gateway beside its own routes: MCP clients connect to /mcp, your routes call tools."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from mcp_registry_gateway import Gateway, Link


async def numbers(link: Link) -> None:
    """An MCP server as a function. Yours is more likely one that is registered by its URL or its command."""
    tools = [{"name": "double", "description": "Doubles a number", "inputSchema": {"type": "object"}}]
    while (received := await link.receive()) is not None:
        message = json.loads(received)
        match message.get("method"):
            case "initialize":
                information = {"name": "numbers", "version": "1"}
                result: Any = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": information}
            case "tools/list":
                result = {"tools": tools}
            case "tools/call":
                doubled = message["params"]["arguments"]["n"] * 2
                result = {"content": [{"type": "text", "text": str(doubled)}]}
            case "ping":
                result = {}
            case _:
                result = None
        if "id" in message:
            answer = {"result": result} if result is not None else {"error": {"code": -32601, "message": "unknown"}}
            await link.send(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}).encode())


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Gateway.open() as gateway:
        await gateway.register_inprocess("numbers", numbers)
        # await gateway.register("docs", endpoint_url="http://127.0.0.1:9000/mcp")
        await gateway.discover("numbers")
        gateway.attach(app, "/mcp")
        app.state.gateway = gateway
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/double/{n}")
async def double(n: int) -> dict[str, Any]:
    result = await app.state.gateway.call_tool("numbers__double", {"n": n})
    return {"n": n, "doubled": result["content"][0]["text"]}
