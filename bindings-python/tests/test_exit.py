"""However a process ends, and whatever it does with the gateway: no crash, no hang, no leak. Each in a process of its own."""

from __future__ import annotations

import sys

import pytest
from conftest import run

UGLY = {
    "a call that nobody awaits": """
        task = asyncio.create_task(gateway.call_tool("own__hang"))
        await under_way(1)
    """,
    "calls that were cancelled a moment ago": """
        tasks = [asyncio.create_task(gateway.call_tool("own__hang")) for _ in range(20)]
        await under_way(20)
        for task in tasks:
            task.cancel()
    """,
    "sys.exit in a task": """
        asyncio.create_task(gateway.call_tool("own__hang"))
        await under_way(1)
        sys.exit(0)
    """,
    "a coroutine that never began": """
        import warnings
        warnings.simplefilter("ignore")
        gateway.call_tool("own__hang")
    """,
    "an events stream that is open": """
        events = gateway.events()
        waiting = asyncio.create_task(anext(events))
        await asyncio.sleep(0.05)
    """,
    "a lease that is held": """
        global lease
        lease = gateway.pick("own")
    """,
    "a gateway that was closed": """
        await gateway.aclose()
        await gateway.aclose()
    """,
}

HEAD = """
import asyncio, gc, os, sys, threading
from conftest import serve
from mcp_registry_gateway import Gateway, UnavailableError

async def opened():
    gateway = await Gateway.open()
    await gateway.register_inprocess("own", serve)
    await gateway.discover("own")
    return gateway

async def under_way(calls):
    while (await gateway.active_requests())["active_request_count"] < calls:
        await asyncio.sleep(0)
"""


def child(program: str, **options: float) -> None:
    done = run(HEAD + program, **options)
    assert done.returncode == 0, f"ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Fatal" not in done.stderr, done.stderr


@pytest.mark.parametrize("body", UGLY.values(), ids=UGLY.keys())
def test_a_process_that_ends_in_the_middle_ends_well(body: str) -> None:
    import textwrap

    body = textwrap.indent(textwrap.dedent(body), "    ")
    child(f"async def main():\n    global gateway\n    gateway = await opened()\n{body}\nasyncio.run(main())\n")


def test_a_loop_that_is_closed_before_its_calls_end() -> None:
    child("""
loop = asyncio.new_event_loop()
gateway = loop.run_until_complete(opened())
task = loop.create_task(gateway.call_tool("own__add", {"a": 1, "b": 2}))
loop.run_until_complete(asyncio.sleep(0))
task.cancel()
loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
for resident in gateway._residents:
    resident.cancel()
loop.run_until_complete(asyncio.gather(*gateway._residents, return_exceptions=True))
loop.close()
""")


def test_os_exit_and_a_thread_that_waits() -> None:
    child("""
with_sync = Gateway.open_sync()
threading.Thread(target=lambda: next(with_sync.events()), daemon=True).start()
import time; time.sleep(0.1)
os._exit(0)
""")


def test_a_daemon_thread_that_waits_does_not_keep_the_process() -> None:
    child("""
gateway = Gateway.open_sync()
def wait():
    try:
        next(gateway.events())
    except (StopIteration, UnavailableError):
        pass
threading.Thread(target=wait, daemon=True).start()
import time; time.sleep(0.1)
""")


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="the system has no fork")
def test_after_fork_every_call_says_so_and_the_parent_goes_on() -> None:
    child("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
gateway = Gateway.open_sync(servers=[{"name": "a", "endpoint_url": "http://127.0.0.1:9/", "auto_discover": False}])
child = os.fork()
if child == 0:
    said = 0
    for call in (gateway.list, gateway.close, lambda: gateway.pick("a"), gateway.events):
        try:
            call()
        except UnavailableError as error:
            said += "fork" in str(error)
    del call
    gateway = None
    gc.collect()
    with Gateway.open_sync() as own:
        said += own.list()["total"] == 0
    sys.exit(said)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
assert gateway.list()["total"] == 1
gateway.close()
""")


def test_one_gateway_serves_loops_of_many_threads() -> None:
    child("""
gateway = None
ready, done = threading.Event(), threading.Event()
def host():
    async def main():
        global gateway
        gateway = await opened()
        ready.set()
        await asyncio.to_thread(done.wait)
        await gateway.aclose()
    asyncio.run(main())
hosting = threading.Thread(target=host); hosting.start(); ready.wait()
found = []
def use():
    async def main():
        results = await asyncio.gather(*(gateway.call_tool("own__add", {"a": n, "b": 1}) for n in range(50)))
        found.append([int(result["content"][0]["text"]) for result in results])
    asyncio.run(main())
threads = [threading.Thread(target=use) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
done.set(); hosting.join()
assert found == [[n + 1 for n in range(50)]] * 4, found
""")


def test_uvloop_is_as_good() -> None:
    pytest.importorskip("uvloop")
    child("""
import uvloop
async def main():
    gateway = await opened()
    results = await asyncio.gather(*(gateway.call_tool("own__add", {"a": n, "b": 1}) for n in range(50)))
    assert len(results) == 50
    await gateway.aclose()
uvloop.run(main())
""")


def test_a_gateway_that_nobody_has_any_more_is_collected() -> None:
    child("""
def threads(): return len(os.listdir("/proc/self/task"))
async def main():
    gateway = await Gateway.open()
    await gateway.list()
asyncio.run(main())
gc.collect()
import time
for _ in range(200):
    if threads() <= 1 + threading.active_count(): break
    time.sleep(0.05)
assert threads() <= 1 + threading.active_count(), threads()
""") if sys.platform == "linux" else pytest.skip("counts threads in /proc")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_thousand_gateways_that_were_closed_leave_nothing() -> None:
    child(
        """
def used():
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return pages * 4096, len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
async def cycle(times):
    for _ in range(times):
        async with Gateway.open() as gateway:
            await gateway.list()
    gc.collect()
asyncio.run(cycle(100))
before = used()
asyncio.run(cycle(900))
import time; time.sleep(0.5)
after = used()
print(before, after)
assert after[0] - before[0] < 16 * 1024 * 1024, (before, after)
assert after[1] <= before[1] + 2 and after[2] <= before[2] + 4, (before, after)
""",
        seconds=300,
    )
