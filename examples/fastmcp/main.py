"""FastMCP and a gateway in one process: a FastMCP server behind the gateway, and what the gateway offers inside another one."""

from __future__ import annotations

import asyncio

from fastmcp import Client, FastMCP

from mcp_registry_gateway import Gateway
from mcp_registry_gateway.fastmcp import GatewayMiddleware, GatewayProvider, GatewayTransport

numbers = FastMCP("numbers")


@numbers.tool
def double(n: int) -> int:
    """Doubles a number."""
    return 2 * n


async def main() -> None:
    async with Gateway.open() as gateway:
        # A server of this process as an upstream: health checks, balancing and breakers as for any other.
        await gateway.register_inprocess("numbers", numbers)
        await gateway.discover("numbers")

        # A client straight into the gateway, without a socket.
        async with Client(GatewayTransport(gateway)) as client:
            print("through the gateway:", (await client.call_tool("numbers__double", {"n": 21})).data)

        # All that the gateway offers beside a server's own tools. Callers are held to the gateway's roles, rules and limits, and its audit
        # trail has what came of their calls. Here this program is the only caller, and says so. A server for others leaves `trust` out
        # and lets the gateway's keys in: FastMCP("mine", auth=GatewayTokenVerifier(gateway), …).
        provider, rules = GatewayProvider(gateway, trust="program"), GatewayMiddleware(gateway, trust="program")
        mine = FastMCP("mine", providers=[provider], middleware=[rules])

        @mine.tool
        def greet(name: str) -> str:
            """Greets somebody."""
            return f"Hello, {name}"

        async with Client(mine) as client:
            print("its tools:", sorted(tool.name for tool in await client.list_tools()))
            print("within mine:", (await client.call_tool("numbers__double", {"n": 4})).data)
            print("its own:", (await client.call_tool("greet", {"name": "Ada"})).data)


asyncio.run(main())
