"""The gateway and FastMCP in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import mcp_types
import pytest
from fastmcp import Client, Context, FastMCP
from fastmcp.exceptions import ToolError

from mcp_registry_gateway import Gateway, Link
from mcp_registry_gateway.fastmcp import (
    GatewayMiddleware,
    GatewayProvider,
    GatewayTokenVerifier,
    GatewayTransport,
    serving,
)


def upstream() -> FastMCP:
    mcp = FastMCP("calc")

    @mcp.tool
    def add(a: int, b: int) -> int:
        return a + b

    @mcp.tool
    async def ask(ctx: Context) -> str:
        answer = await ctx.elicit("your name?", response_type=str)
        return f"hello {getattr(answer, 'data', None)}"

    @mcp.resource("data://one")
    def one() -> str:
        return "1"

    @mcp.resource("data://{name}/square")
    def square(name: str) -> str:
        return name * 2

    @mcp.prompt
    def greet(name: str) -> str:
        return f"Greet {name}"

    return mcp


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway.open({"server": {"grace_seconds": 0.001}}) as gateway:
        await gateway.register_inprocess("calc", upstream())
        await gateway.discover("calc")
        yield gateway


async def test_a_fastmcp_server_is_an_upstream_without_a_socket(gateway: Gateway) -> None:
    result = await gateway.call_tool("calc__add", {"a": 1, "b": 2})
    assert result["structuredContent"] == {"result": 3}
    assert (await gateway.read_resource("data://one"))["contents"][0]["text"] == "1"
    assert (await gateway.get_prompt("calc__greet", {"name": "you"}))["messages"]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_goes_straight_into_the_gateway_in_either_era(gateway: Gateway, mode: str) -> None:
    async with Client(GatewayTransport(gateway), mode=mode) as client:
        assert "calc__add" in [tool.name for tool in await client.list_tools()]
        assert (await client.call_tool("calc__add", {"a": 2, "b": 3})).data == 5
        with pytest.raises(ToolError):
            await client.call_tool("calc__add", {"a": "x", "b": 3})
    async with Client(GatewayTransport(gateway, "calc"), mode=mode) as client:
        assert (await client.call_tool("add", {"a": 2, "b": 3})).data == 5
        assert (await client.read_resource("data://ab/square"))[0].text == "abab"


async def test_a_server_asks_the_client_through_the_gateway(gateway: Gateway) -> None:
    async def answer(message: str, response_type: type, params: object, context: object) -> object:
        return response_type(value="Ada")

    async with Client(GatewayTransport(gateway, "calc"), mode="legacy", elicitation_handler=answer) as client:
        assert (await client.call_tool("ask")).data == "hello Ada"


async def test_what_the_gateway_offers_is_inside_a_fastmcp_server(gateway: Gateway) -> None:
    mine = FastMCP("mine", providers=[GatewayProvider(gateway)])

    @mine.tool
    def own() -> str:
        return "mine"

    async with Client(mine) as client:
        assert {"own", "calc__add"} <= {tool.name for tool in await client.list_tools()}
        assert (await client.call_tool("calc__add", {"a": 2, "b": 3})).data == 5
        assert (await client.call_tool("own")).data == "mine"
        assert (await client.read_resource("data://one"))[0].text == "1"
        prompt = await client.get_prompt("calc__greet", {"name": "you"})
        assert isinstance(prompt.messages[0].content, mcp_types.TextContent)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_all_calls_of_one_session_go_through_one_session_of_the_upstream(mode: str) -> None:
    async with Gateway.open({"server": {"grace_seconds": 0.001}}) as gateway:
        opened: list[str] = []

        async def counted(link: Link) -> None:
            opened.append("")
            await serving(upstream())(link)

        await gateway.register_inprocess("calc", counted)
        await gateway.discover("calc")
        mine = FastMCP("mine", providers=[GatewayProvider(gateway)])
        async with Client(mine, mode=mode) as client:
            await client.call_tool("calc__add", {"a": 1, "b": 2})
            before = len(opened)
            for n in range(20):
                assert (await client.call_tool("calc__add", {"a": n, "b": 2})).data == n + 2
            assert len(opened) == before, "a session for each call"
        assert (await mine.call_tool("calc__add", {"a": 1, "b": 2})).structured_content == {"result": 3}


async def test_a_session_that_the_gateway_has_ended_is_opened_anew(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = []
    attach = gateway._attach

    def attached(service: str | None, authorization: str | None) -> Any:
        lines.append(attach(service, authorization))
        return lines[-1]

    monkeypatch.setattr(gateway, "_attach", attached)
    mine = FastMCP("mine", providers=[provider := GatewayProvider(gateway)])
    async with Client(mine, mode="legacy") as client:
        assert (await client.call_tool("calc__add", {"a": 2, "b": 3})).data == 5
        (kept,) = provider._clients._caches.values()
        session = kept._session_state.session_task
        assert session is not None and not session.done() and len(lines) == 1, "one, and it is held open"
        # As it does with one that was idle for too long.
        await gateway._do(lines[0].end)
        await asyncio.wait([session], timeout=30)
        assert session.done()
        assert (await client.call_tool("calc__add", {"a": 2, "b": 3})).data == 5
        assert len(lines) == 2
    assert not provider._clients._caches, "it has ended with the session in front"


async def test_a_server_behind_the_provider_asks_the_client_in_front(gateway: Gateway) -> None:
    async def answer(message: str, response_type: type, params: object, context: object) -> object:
        return response_type(value="Ada")

    mine = FastMCP("mine", providers=[GatewayProvider(gateway, "calc")])
    for mode in ("legacy", "auto"):
        async with Client(mine, mode=mode, elicitation_handler=answer) as client:
            assert (await client.call_tool("ask")).data == "hello Ada", mode


async def test_the_gateways_keys_let_in_and_its_roles_hold_a_server_of_ones_own() -> None:
    async with Gateway.open({"auth": {"api_keys": True}}) as gateway:
        verifier = GatewayTokenVerifier(gateway)
        key = (await gateway.create_key("v", role="viewer"))["key"]
        token = await verifier.verify_token(key)
        assert token is not None and token.claims["role"] == "viewer" and token.expires_at is not None
        assert await verifier.verify_token("mcp_no") is None
        mine = FastMCP("mine", middleware=[GatewayMiddleware(gateway)])

        @mine.tool
        def own() -> str:
            return "mine"

        async with Client(mine) as client:
            assert (await client.call_tool("own")).data == "mine", "the program itself may"
