"""FastMCP's client; arguments and output: python_checks.py.

It has three modes: --legacy opens with `initialize`, --modern adopts 2026-07-28 without asking, and
without either it asks with `server/discover`, as is its default.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from fastmcp.exceptions import ToolError
from mcp import MCPError
from python_checks import ANSWER, JSON, Heard, Progress, Refused, main

MODES = {"--legacy": "legacy", "--modern": "2026-07-28"}


class Fast:
    def __init__(self, client: Client[Any]) -> None:
        self.client = client
        self.sets_level = (client.protocol_version or "") < "2026"

    async def page(self, member: str, cursor: str | None) -> JSON:
        lists: dict[str, Any] = {
            "tools": self.client.list_tools_mcp,
            "resources": self.client.list_resources_mcp,
            "resourceTemplates": self.client.list_resource_templates_mcp,
            "prompts": self.client.list_prompts_mcp,
        }
        return await wire(lists[member](cursor=cursor))

    async def call(self, name: str, arguments: JSON, progress: Progress | None = None) -> JSON:
        return await wire(self.client.call_tool_mcp(name, arguments, progress_handler=progress))

    async def read(self, uri: str) -> JSON:
        return await wire(self.client.read_resource_mcp(uri))

    async def prompt(self, name: str, arguments: dict[str, str]) -> JSON:
        return await wire(self.client.get_prompt_mcp(name, arguments))

    async def complete(self, ref: JSON, argument: dict[str, str]) -> JSON:
        kind = types.PromptReference if ref["type"] == "ref/prompt" else types.ResourceTemplateReference
        return await wire(self.client.complete_mcp(kind.model_validate(ref), argument))

    async def set_level(self, level: str) -> None:
        await self.client.set_logging_level(level)


async def wire(answer: Awaitable[Any]) -> JSON:
    try:
        return (await answer).model_dump(by_alias=True, mode="json", exclude_none=True)
    except (MCPError, ToolError) as error:
        raise Refused(str(error)) from error


@asynccontextmanager
async def connect(target: str, heard: Heard, flags: list[str]) -> AsyncIterator[Fast]:
    async def sample(messages: list[types.SamplingMessage], *_: Any) -> str:
        heard.asked.append(messages[0].content.text)
        return ANSWER

    async def elicit(message: str, *_: Any) -> dict[str, Any]:
        heard.asked.append(message)
        return {"name": ANSWER}

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        heard.logs.append(str(params.data))

    server: Any = target
    if target.startswith("stdio:"):
        command, *args = json.loads(target.removeprefix("stdio:"))
        server = StdioTransport(command=command, args=args)
    mode = next((mode for flag, mode in MODES.items() if flag in flags), "auto")
    roots = [types.Root(uri=heard.root, name="interop")]
    handlers = {"sampling_handler": sample, "elicitation_handler": elicit, "log_handler": log}
    async with Client(server, mode=mode, roots=roots, **handlers) as client:
        yield Fast(client)


main(connect)
