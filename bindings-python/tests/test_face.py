"""The face as Python's people expect it: construction, keywords, records, arguments, errors."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import enum
import gc
import inspect
import math
import pickle
import time
import uuid
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import pydantic
import pytest
from conftest import serve
from fastmcp import Context, FastMCP

import mcp_registry_gateway as mrg
from mcp_registry_gateway import Gateway, Http, Stdio
from mcp_registry_gateway._opening import store_url
from mcp_registry_gateway._verbs import Verbs

NOWHERE = "http://127.0.0.1:9/"


def calc() -> FastMCP:
    server = FastMCP("calc")

    @server.tool
    def double(n: int) -> int:
        return 2 * n

    @server.tool
    async def count(to: int, ctx: Context) -> int:
        for n in range(to):
            await ctx.report_progress(n + 1, to, f"step {n + 1}")
        return to

    @server.tool
    def refuse() -> str:
        raise ValueError("not today")

    return server


async def test_a_gateway_is_constructed_and_opened_on_entry_as_often_as_it_is_entered() -> None:
    gateway = Gateway(servers={"calc": calc(), "docs": Http(NOWHERE, auto_discover=False)})
    assert repr(gateway) == "<Gateway not open>"
    with pytest.raises(mrg.UnavailableError, match="not open"):
        await gateway.list()
    for _ in range(2):
        async with gateway:
            assert repr(gateway) == "<Gateway open>"
            assert (await gateway.list()).total == 2
            assert (await gateway.call_tool("double", {"n": 21}, service="calc", timeout=5)).data == 42
        assert gateway.is_closed and repr(gateway) == "<Gateway closed>"


async def test_an_opening_opens_one_gateway_and_says_that_it_was_not_awaited() -> None:
    opening = Gateway.open()
    with pytest.raises(AttributeError, match=r"`Gateway.open\(…\)` was not awaited.*call_tool"):
        opening.call_tool("x")
    async with opening as one, opening as other:
        assert one is other


async def test_a_gateway_that_is_forgotten_warns() -> None:
    gateway = await Gateway.open()
    native = gateway._native
    with pytest.warns(ResourceWarning, match="unclosed <Gateway open>"):
        del gateway
        gc.collect()
    native.end(0)


async def test_everything_a_person_writes_by_keyword_works_by_keyword() -> None:
    for name, verb in inspect.getmembers(Verbs, inspect.isfunction):
        for parameter in inspect.signature(verb).parameters.values():
            assert parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.VAR_KEYWORD), (name, parameter)
    async with Gateway() as gateway:
        server = await gateway.register(name="docs", server=Http(url=NOWHERE, tags=["a"]), weight=2, auto_discover=False)
        assert (server.name, server.tags, server.weight, server.transport_type) == ("docs", ["a"], 2, "http")
        assert repr(server).startswith("<Server docs ")
        with pytest.raises(TypeError, match="serach"):
            await gateway.list(serach="x")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"write tags=\['x'\]"):
            await gateway.list(tags="x")
        await gateway.remove(server="docs")


async def test_results_are_typed_and_errors_of_tools_are_raised() -> None:
    async with Gateway(servers={"calc": calc()}) as gateway:
        await gateway.discover("calc")
        result = await gateway.call_tool(name="calc__double", arguments={"n": 4})
        assert (result.data, result.text, result.structured, result.is_error) == (8, "8", {"result": 8}, False)
        assert result.content[0].type == "text" and result["content"][0]["text"] == "8"
        plain = await gateway.call_tool("calc__double", {"n": 4}, raw=True)
        assert type(plain) is dict and plain == result.to_dict()
        with pytest.raises(mrg.ToolError, match="calc__refuse: .*not today") as refused:
            await gateway.call_tool("calc__refuse")
        assert refused.value.result is not None and refused.value.result.is_error
        assert (await gateway.call_tool("calc__refuse", raise_on_error=False)).is_error
        tools = (await gateway.list_tools(service="calc")).tools
        assert [(tool.name, tool.input_schema["type"]) for tool in tools][:1] == [("double", "object")]


async def test_times_are_times_and_members_stay_as_they_came() -> None:
    async with Gateway(servers=[{"name": "docs", "endpoint_url": NOWHERE, "auto_discover": False}]) as gateway:
        server = (await gateway.list()).servers[0]
        assert server.created_at.tzinfo is not None and isinstance(server["created_at"], str)
        key = await gateway.keys.create("ci", role="viewer")
        assert key.expires_at - key.created_at > dt.timedelta(days=89)
        assert [one.id for one in (await gateway.keys.list()).api_keys] == [key.id]
        (row, *_others) = (await gateway.audit.search(action="key.create")).rows
        assert isinstance(row.at, dt.datetime)
        with pytest.raises(AttributeError, match="no attribute 'nmae'"):
            server.nmae  # type: ignore[attr-defined]  # noqa: B018


class Colour(enum.Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    n: int
    at: dt.datetime


@dataclasses.dataclass
class Point:
    x: int
    y: Decimal


async def test_arguments_are_written_as_pydantic_writes_them(gateway: Gateway) -> None:
    at = dt.datetime(2026, 11, 30, 12, 0, tzinfo=dt.timezone.utc)
    given = {
        "model": Model(n=1, at=at),
        "point": Point(1, Decimal("1.50")),
        "at": at,
        "day": dt.date(2026, 11, 30),
        "took": dt.timedelta(hours=1, seconds=30.5),
        "id": uuid.UUID(int=1),
        "bytes": b"\x00\xff",
        "colour": Colour.RED,
        "path": Path("/tmp"),
        "set": {1},
        "tuple": (1, 2),
        Colour.RED: 1,
    }
    echoed = (await gateway.call_tool("own__echo", given)).structured
    assert echoed == {
        "model": {"n": 1, "at": "2026-11-30T12:00:00Z"},
        "point": {"x": 1, "y": "1.50"},
        "at": "2026-11-30T12:00:00+00:00",
        "day": "2026-11-30",
        "took": "PT1H30.5S",
        "id": "00000000-0000-0000-0000-000000000001",
        "bytes": "AP8=",
        "colour": "red",
        "path": "/tmp",
        "set": [1],
        "tuple": [1, 2],
        "red": 1,
    }
    assert (await gateway.call_tool("own__echo", Model(n=1, at=at))).structured == {"n": 1, "at": "2026-11-30T12:00:00Z"}


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"v": math.nan}, ValueError, r"`arguments.v`: nan is not JSON"),
        ({"v": [1, {"w": math.inf}]}, ValueError, r"`arguments.v\[1\].w`: inf is not JSON"),
        ({"v": object()}, TypeError, r"`arguments.v`: a value of type `object` is not JSON"),
        ({"v": {(1, 2): 3}}, TypeError, r"`arguments.v` has a key of type `tuple`"),
        ({"v": "\ud83d"}, ValueError, r"lone surrogate"),
        ([1, 2], TypeError, r"`arguments` is a mapping, a pydantic model or a dataclass, not list"),
    ],
)
async def test_what_json_cannot_have_is_named_by_its_place(
    gateway: Gateway, arguments: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        await gateway.call_tool("own__echo", arguments)


async def test_a_document_that_contains_itself_is_refused(gateway: Gateway) -> None:
    knot: dict[str, Any] = {}
    knot["again"] = knot
    with pytest.raises(ValueError, match="`arguments` nests deeper than 128 levels, or contains itself"):
        await gateway.call_tool("own__echo", knot)


async def test_a_server_speaks_during_a_call() -> None:
    async with Gateway(servers={"calc": calc()}) as gateway:
        await gateway.discover("calc")
        heard: list[tuple[float, float | None, str | None]] = []
        result = await gateway.call_tool(
            "count", {"to": 3}, service="calc", timeout=10, progress=lambda *progress: heard.append(progress)
        )
        assert result.data == 3 and heard == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]


async def test_a_server_asks_during_a_call() -> None:
    server = FastMCP("asks")

    @server.tool
    async def name(ctx: Context) -> str:
        answer = await ctx.elicit("your name?", response_type=str)
        return f"{answer.action}: {getattr(answer, 'data', None)}"

    async with Gateway(servers={"asks": server}) as gateway:
        await gateway.discover("asks")
        accepted = await gateway.call_tool("name", service="asks", elicitation=lambda asked: {"value": "Ann"})
        assert accepted.data == "accept: Ann"
        assert (await gateway.call_tool("name", service="asks", elicitation=lambda asked: None)).data == "decline: None"
        with pytest.raises(mrg.NotFoundError):
            await gateway.call_tool("name", service="nobody", elicitation=lambda asked: None)


async def test_a_timeout_of_a_call_with_handlers_is_a_timeout(gateway: Gateway) -> None:
    with pytest.raises(mrg.CallTimeout, match="timed out after 0.05 s") as late:
        await gateway.call_tool("hang", service="own", timeout=0.05, progress=print)
    assert isinstance(late.value, TimeoutError)


def test_errors_are_made_in_tests_of_users_and_pickled() -> None:
    error = mrg.NotFoundError("no such server", context={"server": "docs"})
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.kind) == (mrg.NotFoundError, "no such server (server: docs)", "not_found")
    assert pickle.loads(pickle.dumps(mrg.ToolError("no", tool="x"))).tool == "x"
    scope: dict[str, Any] = {}
    exec("from mcp_registry_gateway import *", scope)
    assert "TimeoutError" not in scope and "CancelledError" not in scope


async def test_only_servers_are_registered_in_process(gateway: Gateway) -> None:
    for nothing in (print, lambda link: None, object(), "x", FastMCP):
        with pytest.raises(TypeError, match="`server` is a FastMCP server"):
            await gateway.register_inprocess("x", nothing)
    server = await gateway.register_inprocess(name="y", server=serve, tags=["t"])
    assert (server.name, server.tags) == ("y", ["t"])


async def test_leaving_by_an_exception_waits_for_no_call() -> None:
    began = time.monotonic()
    with pytest.raises(KeyError):
        async with Gateway(servers={"calc": calc()}) as gateway:
            await gateway.register_inprocess("own", serve)
            await gateway.discover("own")
            call = asyncio.create_task(gateway.call_tool("own__hang"))
            while not (await gateway.active_requests())["active_request_count"]:
                await asyncio.sleep(0)
            raise KeyError
    # The grace would be 30 s.
    assert time.monotonic() - began < 15
    with pytest.raises(mrg.GatewayError):
        await call


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("gateway.db", "sqlite:gateway.db"),
        (Path("a/gateway.db"), "sqlite:a/gateway.db"),
        ("/var/gateway.db", "sqlite:/var/gateway.db"),
        ("sqlite:///gateway.db", "sqlite:gateway.db"),
        ("sqlite:////var/gateway.db", "sqlite:/var/gateway.db"),
        ("sqlite:gateway.db", "sqlite:gateway.db"),
        ("sqlite:///:memory:", "memory:"),
        ("sqlite://", "memory:"),
        (":memory:", "memory:"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        (None, None),
    ],
)
def test_a_url_means_what_it_means_in_sqlalchemy(given: Any, meant: str | None) -> None:
    assert store_url(given) == meant


async def test_a_path_keeps_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with Gateway("gateway.db", servers={"files": Stdio("true", 8080, auto_discover=False)}) as gateway:
        assert (await gateway.get("files")).args == ["8080"]
    assert (tmp_path / "gateway.db").exists()


async def test_a_large_argument_does_not_hold_up_the_loop(gateway: Gateway) -> None:
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - began)

    beating = asyncio.create_task(beat())
    text = "x" * 1_000_000
    assert (await gateway.call_tool("own__echo", {"text": text})).structured == {"text": text}
    beating.cancel()
    assert longest < 5


def test_a_synchronous_gateway_says_what_needs_an_event_loop() -> None:
    with pytest.raises(TypeError, match="`calc` is a server of this process"):
        Gateway.open_sync(servers={"calc": calc()})
    with Gateway.open_sync() as gateway:
        assert gateway.keys.list().total == 0
        with pytest.raises(TypeError, match="need the asynchronous gateway"):
            gateway.call_tool("x__y", progress=print)


@pytest.fixture(autouse=True)
def no_warning() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
