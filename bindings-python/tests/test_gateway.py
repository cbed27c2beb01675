"""What the face does: every verb reaches the core, and what comes back is Python's."""

from __future__ import annotations

import asyncio
import json
import pickle
from pathlib import Path

import httpx
import pytest
from conftest import TOOLS, answer, serve

import mcp_registry_gateway as mrg
from mcp_registry_gateway import Gateway, GatewayError
from mcp_registry_gateway._sync_verbs import SyncVerbs
from mcp_registry_gateway._verbs import Verbs

NOWHERE = "http://127.0.0.1:9/"


async def test_a_call_is_routed_and_gives_the_servers_answer(gateway: Gateway) -> None:
    result = await gateway.call_tool("own__add", {"a": 1, "b": 2})
    assert result["content"] == [{"type": "text", "text": "3"}]
    assert (await gateway.call_tool("echo", {"n": 12345678901234567890}, service="own"))["structuredContent"] == {
        "n": 12345678901234567890
    }
    assert [tool["name"] for tool in (await gateway.list_tools(service="own"))["tools"]] == list(TOOLS)
    assert (await gateway.request("ping", service="own")) == {}


async def test_servers_are_registered_changed_found_and_removed(gateway: Gateway) -> None:
    server = await gateway.register("other", endpoint_url=NOWHERE, auto_discover=False, tags=["x"])
    assert server["service"] == "other"
    assert (await gateway.update("other", weight=3))["weight"] == 3
    assert (await gateway.get(server["id"]))["name"] == "other"
    assert (await gateway.list(tags=["x"]))["total"] == 1
    assert [found["name"] for found in (await gateway.find_tools("add", "echo"))["servers"]] == ["own"]
    assert (await gateway.search("add"))["results"][0]["name"] == "add"
    assert (await gateway.health("own"))["health_status"] == "healthy"
    assert (await gateway.health_history("own", limit=1))["history"]
    assert len((await gateway.capabilities("own"))["tools"]) == len(TOOLS)
    assert (await gateway.stats())["total_servers"] == 2
    assert await gateway.metrics()
    await gateway.remove("other")
    with pytest.raises(mrg.NotFoundError):
        await gateway.get("other")


async def test_each_failure_is_an_exception_of_its_kind(gateway: Gateway) -> None:
    with pytest.raises(mrg.InvalidParamsError) as unknown:
        await gateway.call_tool("nothing")
    assert isinstance(unknown.value, ValueError) and unknown.value.kind == "invalid_params"
    with pytest.raises(mrg.NotFoundError):
        await gateway.call_tool("add", service="nobody")
    with pytest.raises(mrg.ConflictError):
        await gateway.register("own", endpoint_url=NOWHERE)
    with pytest.raises(mrg.CallTimeout) as late:
        await gateway.call_tool("own__hang", timeout=0.01)
    assert isinstance(late.value, TimeoutError) and late.value.context["outcome"] == "unknown"
    with pytest.raises(mrg.BadUpstreamError) as refused:
        await gateway.call_tool("own__fail")
    assert refused.value.context["code"] == "-32050" and json.loads(refused.value.context["data"]) == {"why": 1}
    again = pickle.loads(pickle.dumps(refused.value))
    assert (type(again), again.kind, again.context) == (mrg.BadUpstreamError, "bad_upstream", refused.value.context)
    with pytest.raises(TypeError, match="endpoint_ulr"):
        await gateway.register("x", endpoint_ulr=NOWHERE)  # type: ignore[call-arg]


async def test_a_task_whose_calls_are_over_at_once_leaves_others_their_turn_and_can_be_cancelled(gateway: Gateway) -> None:
    async def busy() -> None:
        while True:
            await gateway.stats()

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(busy(), 0.05)


async def test_a_task_that_is_cancelled_cancels_its_call(gateway: Gateway) -> None:
    task = asyncio.create_task(gateway.call_tool("own__hang"))
    while not (await gateway.active_requests())["active_request_count"]:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        while (await gateway.active_requests())["active_request_count"]:
            await asyncio.sleep(0)


async def test_a_picked_server_is_busy_until_its_lease_ends_and_its_breaker_learns(gateway: Gateway) -> None:
    async def busy() -> int:
        (metrics,) = (await gateway.metrics())["metrics"].values()
        return int(metrics["active_connections"])

    with gateway.pick("own", "key") as lease:
        assert (lease.name, lease.endpoint_url, await busy()) == ("own", "memory:own", 1)
    assert await busy() == 0
    for _ in range(5):
        with pytest.raises(OSError), gateway.pick("own"):
            raise OSError
    with pytest.raises(mrg.UnavailableError) as none_left:
        gateway.pick("own")
    assert none_left.value.retryable and none_left.value.context["retry_after_seconds"] > 0
    with pytest.raises(mrg.NotFoundError):
        gateway.pick("nobody")


async def test_the_callers_own_exception_is_not_the_servers_failure(gateway: Gateway) -> None:
    for _ in range(10):
        with pytest.raises(LookupError):
            async with gateway.pick("own") as lease:
                assert lease.headers == {}
                raise LookupError
    for _ in range(5):
        with pytest.raises(httpx.ConnectError), gateway.pick("own"):
            raise httpx.ConnectError("refused")
    with pytest.raises(mrg.UnavailableError):
        gateway.pick("own")


async def test_what_only_ends_the_task_is_not_the_servers_failure(gateway: Gateway) -> None:
    for _ in range(10):
        with pytest.raises(KeyboardInterrupt), gateway.pick("own"):
            raise KeyboardInterrupt
    gateway.pick("own").release()


async def test_changes_are_heard_and_end_with_the_gateway(gateway: Gateway) -> None:
    events = gateway.events()
    await gateway.update("own", weight=2)
    event = await anext(events)
    assert (event["type"], event["name"]) == ("server.updated", "own")
    waiting = asyncio.ensure_future(_rest(events))
    await asyncio.sleep(0)
    await gateway.aclose()
    with pytest.raises(mrg.UnavailableError):
        await gateway.list()
    async with asyncio.timeout(10):
        await waiting


async def _rest(events: mrg.Events) -> None:
    try:
        async for _ in events:
            pass
    except mrg.UnavailableError:
        pass


async def test_keys_are_made_judged_and_revoked(gateway: Gateway) -> None:
    key = await gateway.create_key("k", role="viewer")
    assert key["key"].startswith("mcp_") and (await gateway.list_keys())["total"] == 1
    await gateway.revoke_key(key["id"])
    assert not (await gateway.get_key(key["id"]))["active"]
    assert (await gateway.authorize("tools.call"))["role"] == "admin"


async def test_tenants_credentials_logins_and_the_audit_trail_are_there(gateway: Gateway) -> None:
    await gateway.register("far", endpoint_url="http://127.0.0.1:9/mcp", auto_discover=False)
    await gateway.create_tenant("acme", display_name="Acme")
    assert (await gateway.update_tenant("acme", enabled=False))["status"] == "disabled"
    await gateway.delete_tenant("acme")
    with pytest.raises(mrg.ConflictError):
        await gateway.create_tenant("acme")
    told = await gateway.set_credential("far", "X-Api-Key", "a-secret")
    assert told["header"] == "x-api-key" and "a-secret" not in str(await gateway.list_credentials("far"))
    await gateway.remove_credential("far", "X-Api-Key")
    assert await gateway.list_credentials("far") == {"credentials": []}
    with pytest.raises(mrg.BadUpstreamError):
        await gateway.begin_login("far", redirect_uri="http://127.0.0.1:9/back")
    with pytest.raises(mrg.NotFoundError):
        await gateway.finish_login(state="x", code="y")
    page = await gateway.audit.search(since="2026-01-01T00:00:00Z", action="credential.remove")
    assert [row["actor"] for row in page["rows"]] == [(await gateway.authenticate())["subject"]]
    assert (await gateway.verify_audit())["intact"]


async def test_a_key_narrows_a_call_to_what_it_may() -> None:
    async with Gateway.open({"auth": {"api_keys": True}}) as gateway:
        await gateway.register_inprocess("own", serve)
        await gateway.discover("own")
        viewer = "Bearer " + (await gateway.create_key("v", role="viewer"))["key"]
        assert (await gateway.authenticate(viewer))["role"] == "viewer"
        with pytest.raises(mrg.PermissionDeniedError):
            await gateway.call_tool("own__add", {"a": 1, "b": 2}, authorization=viewer)
        with pytest.raises(mrg.UnauthenticatedError):
            await gateway.list_tools(authorization="Bearer mcp_no")
        assert (await gateway.list_tools(authorization=viewer))["tools"]


async def test_what_is_registered_outlives_the_gateway(tmp_path: Path) -> None:
    place = f"sqlite:{tmp_path}/gateway.db"
    servers = {"mcpServers": {"a": {"url": NOWHERE}}}
    async with Gateway.open(url=place, servers=servers) as gateway:
        with pytest.raises(mrg.ConflictError):
            await Gateway.open(url=place)
        assert (await gateway.list())["total"] == 1
    async with Gateway.open(url=place) as gateway:
        assert (await gateway.list())["servers"][0]["name"] == "a"


async def test_a_configuration_is_a_file_or_the_settings_themselves(tmp_path: Path) -> None:
    file = tmp_path / "mcp-gateway.toml"
    file.write_text(f'[servers.a]\nendpoint_url = "{NOWHERE}"\nauto_discover = false\n')
    async with Gateway.open(file) as gateway:
        assert (await gateway.list())["total"] == 1
    with pytest.raises(mrg.InvalidParamsError, match="there is no such key"):
        await Gateway.open({"helth": {}})


def test_threads_have_a_face_that_waits() -> None:
    with Gateway.open_sync(servers=[{"name": "a", "endpoint_url": NOWHERE, "auto_discover": False}]) as gateway:
        assert gateway.list()["total"] == 1
        with pytest.raises(mrg.NotFoundError):
            gateway.get("b")
        events = gateway.events()
        gateway.update("a", weight=2)
        assert next(events)["type"] == "server.updated"
    assert gateway.is_closed
    with pytest.raises(mrg.UnavailableError):
        gateway.list()
    gateway.close()


def test_the_face_for_threads_has_every_verb() -> None:
    def verbs(face: type) -> set[str]:
        return {name for name in vars(face) if not name.startswith("_")}

    assert verbs(SyncVerbs) == verbs(Verbs) and len(verbs(Verbs)) > 30
    assert SyncVerbs.register.__doc__ == Verbs.register.__doc__


async def test_calls_under_way_when_the_gateway_is_closed_end_with_it(gateway: Gateway) -> None:
    calls = [asyncio.create_task(gateway.call_tool("own__hang")) for _ in range(20)]
    while (await gateway.active_requests())["active_request_count"] < len(calls):
        await asyncio.sleep(0)
    await gateway.aclose()
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, GatewayError) for outcome in outcomes), outcomes


async def test_the_event_loop_is_free_while_the_gateway_works(gateway: Gateway) -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    beating = asyncio.create_task(beat())
    results = await asyncio.gather(*(gateway.call_tool("own__add", {"a": n, "b": 1}) for n in range(200)))
    beating.cancel()
    assert [result["content"][0]["text"] for result in results] == [str(n + 1) for n in range(200)] and beats > 2


async def test_an_upstream_that_hangs_up_is_visited_anew(gateway: Gateway) -> None:
    async def once(link: mrg.Link) -> None:
        while (received := await link.receive()) is not None:
            message = json.loads(received)
            if message.get("params", {}).get("name") == "hang":
                return
            if said := answer(message):
                await link.send(json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}).encode())

    await gateway.register_inprocess("short", once)
    await gateway.discover("short")
    with pytest.raises(mrg.GatewayError):
        await gateway.call_tool("short__hang")
    assert (await gateway.call_tool("short__add", {"a": 1, "b": 1}))["content"]
