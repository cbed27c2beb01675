"""A FastMCP server's own tools under a gateway's rules."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import mcp_types
import pytest
from fastmcp import Client, FastMCP
from fastmcp.exceptions import McpError, ToolError
from fastmcp.utilities.tests import asgi_server

from mcp_registry_gateway import Gateway
from mcp_registry_gateway.fastmcp import GatewayMiddleware, GatewayTokenVerifier
from mcp_registry_gateway.types import Role

RULES = {"rules": [{"service": "my tools", "tools": ["pay*"], "resources": ["data://secret"], "role": "manager"}]}


def guarded(gateway: Gateway, **options: Any) -> FastMCP:
    mine = FastMCP("my tools", middleware=[GatewayMiddleware(gateway, trust="program")], **options)

    @mine.tool
    def own() -> str:
        return "mine"

    @mine.tool
    def pay() -> str:
        return "paid"

    @mine.tool
    def broken() -> str:
        raise ValueError("it broke")

    @mine.resource("data://secret")
    def secret() -> str:
        return "1"

    @mine.prompt
    def greet() -> str:
        return "hello"

    return mine


async def trail(gateway: Gateway, key: str, least: int) -> list[tuple[str, str, str]]:
    """What the audit trail has of calls, oldest first, once there are so many."""
    transport = httpx.ASGITransport(app=gateway.asgi_app(expose=["rest"]), client=("127.0.0.1", 1))
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as http:
        async with asyncio.timeout(30):
            while True:
                rows = (await http.get("/api/v1/audit", params={"limit": 200})).json()["rows"]
                calls = [(row["action"], row["target"], row["outcome"]) for row in rows if "/" in row["action"]]
                if len(calls) >= least:
                    return calls[::-1]
                await asyncio.sleep(0.01)


async def test_tools_of_ones_own_are_held_to_roles_rules_and_limits_and_leave_a_trail() -> None:
    config = {"auth": {"api_keys": True}, "access": RULES, "limits": {"developer": 5}}
    async with Gateway.open(config) as gateway:
        roles: tuple[Role, ...] = ("admin", "manager", "developer", "viewer")
        keys = {role: (await gateway.create_key(role, role=role))["key"] for role in roles}
        mine = guarded(gateway, auth=GatewayTokenVerifier(gateway))
        async with asgi_server(mine) as server:
            async with server.client(auth=keys["developer"]) as client:
                assert {tool.name for tool in await client.list_tools()} == {"own", "broken"}
                assert await client.list_resources() == []
                with pytest.raises(ToolError, match="Unknown tool: 'pay'"):
                    await client.call_tool("pay")
                assert (await client.call_tool("own")).data == "mine"
                with pytest.raises(ToolError, match="it broke"):
                    await client.call_tool("broken")
                with pytest.raises(McpError) as limited:
                    await client.call_tool("own")
                told = limited.value.error
                assert (told.code, told.data["kind"], told.data["retryable"]) == (-31429, "rate_limited", True)
                # A request counts for up to a second longer than the minute of which the limit speaks.
                assert 0 < told.data["retry_after_seconds"] <= 61
            async with server.client(auth=keys["viewer"]) as client:
                with pytest.raises(McpError) as refused:
                    await client.call_tool("own")
                assert refused.value.error.data["kind"] == "permission_denied"
            async with server.client(auth=keys["manager"]) as client:
                assert "pay" in {tool.name for tool in await client.list_tools()}
                assert (await client.call_tool("pay")).data == "paid"
                assert (await client.read_resource("data://secret"))[0].text == "1"
                assert isinstance((await client.get_prompt("greet")).messages[0].content, mcp_types.TextContent)
        assert sorted(await trail(gateway, keys["admin"], 8)) == sorted([
            ("tools/call", "my tools/pay", "not_found"),
            ("tools/call", "my tools/own", "ok"),
            ("tools/call", "my tools/broken", "failed"),
            ("tools/call", "", "rate_limited"),
            ("tools/call", "", "permission_denied"),
            ("tools/call", "my tools/pay", "ok"),
            ("resources/read", "my tools/data://secret", "ok"),
            ("prompts/get", "my tools/greet", "ok"),
        ])


@pytest.mark.parametrize("config", [{}, {"auth": {"api_keys": True}}])
async def test_x_19_a_caller_without_a_token_over_http_is_nobody_whatever_its_address(config: dict[str, Any]) -> None:
    async with Gateway.open(config) as gateway:
        mine = guarded(gateway)
        async with Client(mine) as client:
            assert (await client.call_tool("own")).data == "mine", "the program itself, which says so, may"
        untrusting = FastMCP("untrusting", middleware=[GatewayMiddleware(gateway)])
        async with Client(untrusting) as client:
            with pytest.raises(McpError):
                await client.list_tools()
        async with asgi_server(mine) as server, server.client() as client:
            with pytest.raises(McpError) as refused:
                await client.call_tool("own")
            assert refused.value.error.data["kind"] == "unauthenticated"


async def test_a_call_that_nobody_waits_for_any_more_is_cancelled_in_the_trail() -> None:
    async with Gateway.open() as gateway:
        mine = guarded(gateway)
        begun = asyncio.Event()

        @mine.tool
        async def hang() -> None:
            begun.set()
            await asyncio.Event().wait()

        call = asyncio.create_task(mine.call_tool("hang"))
        await begun.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert await trail(gateway, "", 1) == [("tools/call", "my tools/hang", "cancelled")]
