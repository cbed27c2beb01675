"""The official Python client of the 1.x line, which knows nothing newer than 2025-06-18; arguments and
output: python_checks.py."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp.types as types
from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client
from pydantic import AnyUrl
from python_checks import ANSWER, JSON, Heard, Progress, Refused, main


class First:
    sets_level = True

    def __init__(self, session: ClientSession) -> None:
        self.session = session

    async def page(self, member: str, cursor: str | None) -> JSON:
        lists: dict[str, Any] = {
            "tools": self.session.list_tools,
            "resources": self.session.list_resources,
            "resourceTemplates": self.session.list_resource_templates,
            "prompts": self.session.list_prompts,
        }
        return await wire(lists[member](cursor))

    async def call(self, name: str, arguments: JSON, progress: Progress | None = None) -> JSON:
        # This generation tells the server nothing when a call is cancelled: its user does.
        request = self.session._request_id
        try:
            return await wire(self.session.call_tool(name, arguments, progress_callback=progress))
        except anyio.get_cancelled_exc_class():
            params = types.CancelledNotificationParams(requestId=request, reason="interop has seen enough")
            notification = types.CancelledNotification(method="notifications/cancelled", params=params)
            with anyio.CancelScope(shield=True):
                await self.session.send_notification(types.ClientNotification(notification))
            raise

    async def read(self, uri: str) -> JSON:
        return await wire(self.session.read_resource(AnyUrl(uri)))

    async def prompt(self, name: str, arguments: dict[str, str]) -> JSON:
        return await wire(self.session.get_prompt(name, arguments))

    async def complete(self, ref: JSON, argument: dict[str, str]) -> JSON:
        kind = types.PromptReference if ref["type"] == "ref/prompt" else types.ResourceTemplateReference
        return await wire(self.session.complete(kind.model_validate(ref), argument))

    async def set_level(self, level: str) -> None:
        await self.session.set_logging_level(level)


async def wire(answer: Awaitable[Any]) -> JSON:
    try:
        return (await answer).model_dump(by_alias=True, mode="json", exclude_none=True)
    except McpError as error:
        raise Refused(str(error)) from error


def callbacks(heard: Heard) -> dict[str, Any]:
    async def sample(_: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        heard.asked.append(params.messages[0].content.text)
        content = types.TextContent(type="text", text=ANSWER)
        return types.CreateMessageResult(role="assistant", content=content, model="interop")

    async def elicit(_: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        heard.asked.append(params.message)
        return types.ElicitResult(action="accept", content={"name": ANSWER})

    async def roots(_: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=heard.root, name="interop")])

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        heard.logs.append(str(params.data))

    return {
        "sampling_callback": sample,
        "elicitation_callback": elicit,
        "list_roots_callback": roots,
        "logging_callback": log,
    }


@asynccontextmanager
async def streams(target: str) -> AsyncIterator[Any]:
    if target.startswith("stdio:"):
        command, *args = json.loads(target.removeprefix("stdio:"))
        try:
            async with stdio_client(StdioServerParameters(command=command, args=args)) as pair:
                yield pair
        except* anyio.BrokenResourceError:
            pass  # its reader does not expect a message that comes while it closes
    else:
        async with streamablehttp_client(target) as (reader, writer, _):
            yield reader, writer


@asynccontextmanager
async def connect(target: str, heard: Heard, _: list[str]) -> AsyncIterator[First]:
    async with streams(target) as (reader, writer), ClientSession(reader, writer, **callbacks(heard)) as session:
        await session.initialize()
        yield First(session)


main(connect)
