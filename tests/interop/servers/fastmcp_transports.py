"""The FastMCP server over the transports that it no longer offers by itself, or not at all.

    fastmcp_transports.py sse PORT          HTTP+SSE of 2024-11-05, at /sse
    fastmcp_transports.py websocket PORT    WebSocket with the subprotocol `mcp`, at /mcp
"""

from __future__ import annotations

import sys
import warnings

import anyio
from fastmcp_server import server
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

warnings.simplefilter("ignore")


async def over_websocket(socket: ServerConnection) -> None:
    to_server, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](16)
    outgoing, from_server = anyio.create_memory_object_stream[SessionMessage](16)

    async def read() -> None:
        async with to_server:
            try:
                async for text in socket:
                    await to_server.send(SessionMessage(jsonrpc_message_adapter.validate_json(text)))
            except ConnectionClosed:
                pass

    async def write() -> None:
        async with from_server:
            async for message in from_server:
                await socket.send(message.message.model_dump_json(by_alias=True, exclude_unset=True))

    low = server._mcp_server
    async with server._lifespan_manager(), anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(write)
        await low.run(incoming, outgoing, low.create_initialization_options())
        group.cancel_scope.cancel()


async def main(transport: str, port: int) -> None:
    if transport == "sse":
        await server.run_async(
            transport="sse", host="127.0.0.1", port=port, show_banner=False, log_level="warning"
        )
    else:
        async with serve(over_websocket, "127.0.0.1", port, subprotocols=["mcp"]):
            await anyio.sleep_forever()


anyio.run(main, sys.argv[1], int(sys.argv[2]))
