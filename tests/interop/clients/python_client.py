"""The official Python client; arguments and output: python_checks.py.

--legacy opens with `initialize` at once, --modern never does; without either the client first asks
with `server/discover` which era the server speaks, as is its default. --bare declares that it cannot
be asked anything, and holds the server to not asking.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters
from python_checks import ANSWER, JSON, Heard, Progress, Refused, main

MODES = {"--legacy": "legacy", "--modern": "2026-07-28"}


class Official:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.sets_level = client.protocol_version < "2026"

    async def page(self, member: str, cursor: str | None) -> JSON:
        lists: dict[str, Any] = {
            "tools": self.client.list_tools,
            "resources": self.client.list_resources,
            "resourceTemplates": self.client.list_resource_templates,
            "prompts": self.client.list_prompts,
        }
        return await wire(lists[member](cursor=cursor))

    async def call(self, name: str, arguments: JSON, progress: Progress | None = None) -> JSON:
        options = {} if progress is None else {"progress_callback": progress}
        return await wire(self.client.call_tool(name, arguments, **options))

    async def read(self, uri: str) -> JSON:
        return await wire(self.client.read_resource(uri))

    async def prompt(self, name: str, arguments: dict[str, str]) -> JSON:
        return await wire(self.client.get_prompt(name, arguments))

    async def complete(self, ref: JSON, argument: dict[str, str]) -> JSON:
        kind = types.PromptReference if ref["type"] == "ref/prompt" else types.ResourceTemplateReference
        return await wire(self.client.complete(kind.model_validate(ref), argument))

    async def set_level(self, level: str) -> None:
        await self.client.set_logging_level(level)


async def wire(answer: Awaitable[Any]) -> JSON:
    try:
        return (await answer).model_dump(by_alias=True, mode="json", exclude_none=True)
    except MCPError as error:
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

    return {"sampling_callback": sample, "elicitation_callback": elicit, "list_roots_callback": roots}


@asynccontextmanager
async def connect(target: str, heard: Heard, flags: list[str]) -> AsyncIterator[Official]:
    async def log(params: types.LoggingMessageNotificationParams) -> None:
        heard.logs.append(str(params.data))

    server: Any = target
    if target.startswith("stdio:"):
        command, *args = json.loads(target.removeprefix("stdio:"))
        server = StdioServerParameters(command=command, args=args)
    mode = next((mode for flag, mode in MODES.items() if flag in flags), "auto")
    asked = {} if "--bare" in flags else callbacks(heard)
    async with Client(server, mode=mode, logging_callback=log, log_level="debug", **asked) as client:
        yield Official(client)


main(connect)
