"""A FastMCP server with one of everything the interop clients try.

Usage: fastmcp_server.py PORT. Serves streamable HTTP on 127.0.0.1:PORT/mcp.
Questions to the client go over the session (legacy era) or are returned as
`input_required` (2026-07-28), because that era has no back-channel.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import mcp_types as types
from fastmcp import Context, FastMCP
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

server = FastMCP("interop", instructions="Fixture of the interop run.")
cancelled: set[str] = set()


def is_modern(ctx: Context) -> bool:
    request = ctx.request_context
    return request is not None and request.protocol_version in MODERN_PROTOCOL_VERSIONS


@server.tool
def echo(message: str) -> str:
    return f"Echo: {message}"


@server.tool
def add(a: int, b: int) -> int:
    return a + b


@server.tool
async def slow(ctx: Context, steps: int, seconds: float, tag: str = "") -> str:
    """Reports progress and logs at each step; remembers `tag` if it is cancelled."""
    try:
        for step in range(1, steps + 1):
            await asyncio.sleep(seconds / steps)
            await ctx.report_progress(step, steps, f"step {step}")
            await ctx.info(f"slow is at step {step} of {steps}")
    except asyncio.CancelledError:
        cancelled.add(tag)
        raise
    return f"slow finished {steps} steps"


@server.tool
def was_cancelled(tag: str) -> str:
    """Whether `slow` was cancelled while it ran under `tag`."""
    return "yes" if tag in cancelled else "no"


ELICIT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string", "title": "Name"}},
    "required": ["name"],
}


@server.tool
async def ask_elicit(ctx: Context) -> Any:
    """Asks the user for a name and says it."""
    if is_modern(ctx):
        answers = ctx.input_responses
        if not answers:
            params = types.ElicitRequestFormParams(
                message="What is your name?", requested_schema=ELICIT_SCHEMA
            )
            return types.InputRequiredResult(input_requests={"name": types.ElicitRequest(params=params)})
        answer = answers["name"]
    else:
        answer = await ctx.session.elicit(
            message="What is your name?", requested_schema=ELICIT_SCHEMA, related_request_id=ctx.request_id
        )
    return f"elicited {answer.action}: {(answer.content or {}).get('name')}"


@server.tool
async def ask_sampling(ctx: Context, prompt: str) -> Any:
    """Asks the client's model and says what it answered."""
    messages = [types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))]
    if is_modern(ctx):
        answers = ctx.input_responses
        if not answers:
            params = types.CreateMessageRequestParams(messages=messages, max_tokens=16)
            return types.InputRequiredResult(
                input_requests={"model": types.CreateMessageRequest(params=params)}
            )
        answer = answers["model"]
    else:
        answer = await ctx.session.create_message(messages, max_tokens=16, related_request_id=ctx.request_id)
    return f"sampled: {answer.content.text}"


@server.resource("fast://greeting", mime_type="text/plain")
def greeting() -> str:
    return "Hello from FastMCP"


@server.resource("fast://numbers/{number}", mime_type="text/plain")
def number(number: str) -> str:
    return f"The number is {number}"


@server.prompt
def poem(theme: str) -> str:
    return f"Write a poem about {theme}."


@server.completion
def complete(ref: Any, argument: Any, context: Any) -> list[str] | None:
    if isinstance(ref, types.PromptReference) and ref.name == "poem" and argument.name == "theme":
        return [theme for theme in ("nature", "night", "love") if theme.startswith(argument.value)]
    if isinstance(ref, types.ResourceTemplateReference) and argument.name == "number":
        return [candidate for candidate in ("1", "10", "2") if candidate.startswith(argument.value)]
    return None


if __name__ == "__main__":
    server.run(
        transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False, log_level="warning"
    )
