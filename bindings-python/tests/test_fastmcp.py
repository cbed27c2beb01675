"""The gateway and FastMCP in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import mcp_types
import pytest
from fastmcp import Client, Context, FastMCP
from fastmcp.exceptions import McpError, ToolError
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from fastmcp.utilities.tests import asgi_server

from mcp_registry_gateway import Gateway, Link
from mcp_registry_gateway.fastmcp import (
    GatewayMiddleware,
    GatewayProvider,
    GatewayTokenVerifier,
    GatewayTransport,
    serving,
)
from mcp_registry_gateway.types import Role


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
    mine = FastMCP("mine", providers=[GatewayProvider(gateway, trust="program")])

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
        mine = FastMCP("mine", providers=[GatewayProvider(gateway, trust="program")])
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

    def attached(asked: dict[str, Any]) -> Any:
        lines.append(attach(asked))
        return lines[-1]

    monkeypatch.setattr(gateway, "_attach", attached)
    mine = FastMCP("mine", providers=[provider := GatewayProvider(gateway, trust="program")])
    async with Client(mine, mode="legacy") as client:
        assert (await client.call_tool("calc__add", {"a": 2, "b": 3})).data == 5
        (clients,) = provider._clients.values()
        (kept,) = clients._caches.values()
        session = kept._session_state.session_task
        assert session is not None and not session.done() and len(lines) == 1, "one, and it is held open"
        # As it does with one that was idle for too long.
        await gateway._do(lines[0].end)
        await asyncio.wait([session], timeout=30)
        assert session.done()
        assert (await client.call_tool("calc__add", {"a": 2, "b": 3})).data == 5
        assert len(lines) == 2
    assert not clients._caches, "it has ended with the session in front"


async def test_a_server_behind_the_provider_asks_the_client_in_front(gateway: Gateway) -> None:
    async def answer(message: str, response_type: type, params: object, context: object) -> object:
        return response_type(value="Ada")

    mine = FastMCP("mine", providers=[GatewayProvider(gateway, "calc", trust="program")])
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
        mine = FastMCP("mine", middleware=[GatewayMiddleware(gateway, trust="program")])

        @mine.tool
        def own() -> str:
            return "mine"

        async with Client(mine) as client:
            assert (await client.call_tool("own")).data == "mine", "the program itself may"


SHELL = {"name": "evil", "command": "/bin/sh", "args": ["-c", "touch /tmp/never"], "auto_discover": False}


async def refused(client: Client[Any], tool: str, arguments: dict[str, Any]) -> None:
    with pytest.raises((ToolError, McpError)):
        await client.call_tool(tool, arguments)


@pytest.mark.parametrize("config", [{}, {"auth": {"api_keys": True}}])
async def test_x_19_a_token_of_fastmcps_own_gives_no_rights_at_the_gateway(config: dict[str, Any]) -> None:
    async with Gateway.open(config) as gateway:
        await gateway.register_inprocess("calc", upstream())
        await gateway.discover("calc")
        theirs = StaticTokenVerifier({"theirs": {"client_id": "stranger", "scopes": []}})
        mine = FastMCP("mine", providers=[GatewayProvider(gateway, builtin=True)], auth=theirs)

        @mine.tool
        def own() -> str:
            return "mine"

        @mine.tool
        async def nested() -> list[str]:
            async with Client(GatewayTransport(gateway, builtin=True)) as client:
                return [tool.name for tool in await client.list_tools()]

        async with asgi_server(mine) as server, server.client(auth="theirs") as client:
            assert {tool.name for tool in await client.list_tools()} == {"own", "nested"}
            assert (await client.call_tool("own")).data == "mine"
            await refused(client, "gateway__register_server", SHELL)
            await refused(client, "gateway__remove_server", {"server": "calc"})
            await refused(client, "calc__add", {"a": 1, "b": 2})
            await refused(client, "nested", {})
        open_to_all = FastMCP("mine", providers=[GatewayProvider(gateway, builtin=True)])
        async with asgi_server(open_to_all) as server, server.client() as client:
            assert await client.list_tools() == []
            await refused(client, "gateway__register_server", SHELL)
        async with Client(open_to_all) as client:
            assert await client.list_tools() == [], "nobody has said that this is the program"
        assert [server["name"] for server in (await gateway.list())["servers"]] == ["calc"]


async def test_x_19_a_caller_has_the_rights_of_its_key_behind_the_provider() -> None:
    async with Gateway.open({"auth": {"api_keys": True}}) as gateway:
        await gateway.register_inprocess("calc", upstream())
        await gateway.discover("calc")
        roles: tuple[Role, ...] = ("admin", "viewer")
        keys = {role: (await gateway.create_key(role, role=role))["key"] for role in roles}
        verifier = GatewayTokenVerifier(gateway)
        mine = FastMCP("mine", providers=[GatewayProvider(gateway, builtin=True)], auth=verifier)
        async with asgi_server(mine) as server:
            for _ in range(2):
                async with server.client(auth=keys["admin"]) as client:
                    names = {tool.name for tool in await client.list_tools()}
                    assert {name for name in names if name.startswith("gateway__")} == {"gateway__find_tools"}
                    assert "calc__add" in names
                    assert (await client.call_tool("calc__add", {"a": 2, "b": 3})).data == 5
                    await refused(client, "gateway__register_server", SHELL)
                async with server.client(auth=keys["viewer"]) as client:
                    assert not any(tool.name.startswith("gateway__") for tool in await client.list_tools())
                    await refused(client, "gateway__remove_server", {"server": "calc"})
                    await refused(client, "gateway__register_server", SHELL)
        assert [server["name"] for server in (await gateway.list())["servers"]] == ["calc"]


async def test_x_19_the_gateways_own_tools_are_offered_where_they_are_asked_for(gateway: Gateway) -> None:
    for builtin in (False, True):
        mine = FastMCP("mine", providers=[GatewayProvider(gateway, builtin=builtin, trust="program")])
        for server in (mine, GatewayTransport(gateway, builtin=builtin)):
            async with Client(server) as client:
                names = [tool.name for tool in await client.list_tools()]
                assert any(name.startswith("gateway__") for name in names) is builtin
                if not builtin:
                    await refused(client, "gateway__remove_server", {"server": "calc"})
    wrong: Any = "everybody"
    for kind in (GatewayProvider, GatewayTransport, GatewayMiddleware):
        with pytest.raises(ValueError, match="everybody"):
            kind(gateway, trust=wrong)


async def test_x_19_a_server_behind_the_gateway_calls_it_as_nobody_unless_it_says_more(gateway: Gateway) -> None:
    back = FastMCP("back", providers=[GatewayProvider(gateway, builtin=True)])

    @back.tool
    async def around() -> list[str]:
        async with Client(GatewayTransport(gateway)) as client:
            return [tool.name for tool in await client.list_tools()]

    await gateway.register_inprocess("back", back)
    await gateway.discover("back")
    assert (await gateway.capabilities("back"))["tools"][0]["name"] == "around"
    assert (await gateway.call_tool("back__around", {}, raise_on_error=False)).is_error
