"""A server of this process, and gateways in front of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mcp_registry_gateway import Gateway, Link

TOOLS = ["add", "echo", "fail", "hang"]



def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    """What the server says to a message; nothing to a notification, and nothing to a call that hangs."""
    result: dict[str, Any]
    params = message.get("params", {})
    arguments = params.get("arguments", {})
    match message.get("method"), params.get("name"):
        case "initialize", _:
            result = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "own", "version": "1"},
            }
        case "ping", _:
            result = {}
        case "tools/list", _:
            result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]}
        case "tools/call", "add":
            result = {"content": [{"type": "text", "text": str(arguments["a"] + arguments["b"])}]}
        case "tools/call", "echo":
            result = {"content": [], "structuredContent": arguments}
        case "tools/call", "hang":
            return None
        case "tools/call", "fail":
            return {"error": {"code": -32050, "message": "no", "data": {"why": 1}}}
        case _ if "id" in message:
            return {"error": {"code": -32601, "message": "no such method"}}
        case _:
            return None
    return {"result": result}


async def serve(link: Link) -> None:
    """The server as a function of one link."""
    while (received := await link.receive()) is not None:
        message = json.loads(received)
        if said := answer(message):
            await link.send(json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}).encode())


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway.open({"server": {"grace_seconds": 0.001}}) as gateway:
        await gateway.register_inprocess("own", serve)
        await gateway.discover("own")
        yield gateway


def run(program: str, *, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs a Python program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
