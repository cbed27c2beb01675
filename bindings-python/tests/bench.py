"""What the Python face costs: `python bindings-python/tests/bench.py` with a wheel that was built for release.

Prints a plain call into the compiled part, `pick()` beside it, and `call_tool` to a server of this process; and calls a second of a
FastMCP client through `GatewayTransport` beside FastMCP's own `create_proxy`, both in front of the same HTTP server.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Any

from conftest import serve
from fastmcp import Client
from fastmcp.server import create_proxy

from mcp_registry_gateway import Gateway
from mcp_registry_gateway.fastmcp import GatewayTransport


def each(times: int, work: Callable[[], object]) -> float:
    """Nanoseconds of one of many."""
    began = time.perf_counter_ns()
    for _ in range(times):
        work()
    return (time.perf_counter_ns() - began) / times


async def rate(times: int, work: Callable[[], Awaitable[Any]]) -> float:
    """Calls a second."""
    await work()
    began = time.perf_counter()
    for _ in range(times):
        await work()
    return times / (time.perf_counter() - began)


async def main() -> None:
    async with Gateway.open() as gateway:
        await gateway.register_inprocess("own", serve)
        await gateway.discover("own")
        bare = each(200_000, gateway._native.is_closed)
        pick = each(200_000, lambda: gateway.pick("own"))
        print(f"a plain call {bare:.0f} ns, pick {pick:.0f} ns, {pick / bare:.1f} times as much")
        began = time.process_time_ns()
        for n in range(5000):
            await gateway.call_tool("own__add", {"a": n, "b": 1})
        print(f"call_tool to a server of this process {(time.process_time_ns() - began) / 5_000_000:.0f} µs of CPU")

        program = subprocess.Popen([os.environ["FAKE_MCP_SERVER"], "--http"], stdout=subprocess.PIPE, text=True)
        with program:
            assert program.stdout is not None
            url = program.stdout.readline().strip()
            await gateway.register("fake", endpoint_url=url)
            await gateway.discover("fake")
            async with Client(GatewayTransport(gateway, "fake")) as client:
                own = await rate(2000, lambda: client.call_tool("echo", {"text": "a"}))
            async with Client(create_proxy(url)) as client:
                proxy = await rate(100, lambda: client.call_tool("echo", {"text": "a"}))
            print(f"GatewayTransport {own:.0f} calls/s, create_proxy {proxy:.0f} calls/s, {own / proxy:.1f} times as many")
            program.kill()


if __name__ == "__main__":
    asyncio.run(main())
