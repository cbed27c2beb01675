"""What the Python face costs, judged: `bindings-python/tests/run --bench` builds what it needs and runs it. Ends with 1 if a bound is passed.

- `pick()` takes at most half a microsecond, and at most three times as long as a bare call: a method of the same compiled object that is
  called with the same text and gives a new compiled object, too, but does nothing. What is measured of `pick` is what a program writes,
  the Python face around the compiled method included; the lease that it gives is released within it, by being dropped.
- `call_tool`, at a server that answers in Rust, costs at most 60 µs of CPU more than the same call made in Rust.
- A FastMCP client makes at least twenty times as many calls a second through `GatewayTransport` as through FastMCP's own `create_proxy`,
  at the same HTTP server.

All is compared within one run, since a busy machine makes everything slower. The best of several rounds counts: what else the machine does
only ever adds.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import timeit
from collections.abc import Awaitable, Callable
from typing import Any

from fastmcp import Client
from fastmcp.server import create_proxy

from mcp_registry_gateway import Gateway, _native
from mcp_registry_gateway.fastmcp import GatewayTransport

ROUNDS = 5
TIMES = 2000
CALL = {"name": "echo__echo", "arguments": {"text": "a"}}


def held(name: str, value: float, bound: float, unit: str, *, least: bool = False) -> bool:
    """Prints a number beside its bound; whether it keeps it."""
    kept = value >= bound if least else value <= bound
    print(f"{'ok  ' if kept else 'MISS'}  {name}: {value:.2f} {unit} (at {'least' if least else 'most'} {bound:g})")
    return kept


def each(call: str, at: object) -> Callable[[], float]:
    """A round of one call: nanoseconds of one."""
    timer = timeit.Timer(call, globals={"at": at})
    return lambda: timer.timeit(200_000) * 5e3


def picks(gateway: Gateway, native: Any) -> list[bool]:
    # In turn, so that neither has the better moments of the machine.
    bare, inner, pick = (each("at.nothing('echo')", native), each("at.pick('echo')", native), each("at.pick('echo')", gateway))
    bares, inners, picks = zip(*((bare(), inner(), pick()) for _ in range(3 * ROUNDS)), strict=True)
    bare_ns, pick_ns = min(bares), min(picks)
    print(f"a bare call of this shape {bare_ns:.0f} ns, the compiled pick {min(inners):.0f} ns, pick {pick_ns:.0f} ns")
    return [held("pick()", pick_ns / 1000, 0.5, "µs"), held("pick(), of a bare call", pick_ns / bare_ns, 3, "times")]


async def call(gateway: Gateway, native: Any) -> bool:
    document = json.dumps(CALL).encode()
    rust, python = [], []
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        native.perform_often(gateway._native, "call_tool", document, TIMES)
        between = time.process_time_ns()
        for _ in range(TIMES):
            await gateway.call_tool("echo__echo", {"text": "a"})
        rust.append((between - began) / TIMES / 1000)
        python.append((time.process_time_ns() - between) / TIMES / 1000)
    print(f"call_tool: in Rust {min(rust):.1f} µs of CPU, from Python {min(python):.1f}")
    return held("call_tool, over Rust", min(python) - min(rust), 60, "µs of CPU")


async def rate(times: int, work: Callable[[], Awaitable[Any]]) -> float:
    """Calls a second."""
    await work()
    began = time.perf_counter()
    for _ in range(times):
        await work()
    return times / (time.perf_counter() - began)


async def fastmcp(gateway: Gateway) -> bool:
    program = subprocess.Popen([os.environ["FAKE_MCP_SERVER"], "--http"], stdout=subprocess.PIPE, text=True)
    with program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        await gateway.register("fake", endpoint_url=url)
        await gateway.discover("fake")
        own, proxy = [], []
        near, far = (Client(way, mode="legacy") for way in (GatewayTransport(gateway, "fake"), create_proxy(url)))
        try:
            async with near, far:
                for _ in range(ROUNDS):
                    own.append(await rate(200, lambda: near.call_tool("echo", {"text": "a"})))
                    proxy.append(await rate(10, lambda: far.call_tool("echo", {"text": "a"})))
        finally:
            program.kill()
    print(f"GatewayTransport {max(own):.0f} calls/s, create_proxy {max(proxy):.0f} calls/s")
    return held("GatewayTransport, of create_proxy", max(own) / max(proxy), 20, "times", least=True)


async def main() -> int:
    native: Any = _native
    async with Gateway.open() as gateway:
        await asyncio.to_thread(native.house_echo, gateway._native, "echo")
        kept = [*picks(gateway, gateway._native), await call(gateway, native), await fastmcp(gateway)]
    print(f"{kept.count(True)} passed, {kept.count(False)} failed")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
