"""Lists everything on a gateway with the official Python client; prints {kind: [name or URI, …]} as JSON.

Arguments: URL. The 2.x line takes --modern for 2026-07-28; the 1.x line knows nothing newer than 2025-06-18.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

KINDS = {"tools": "list_tools", "resources": "list_resources", "resourceTemplates": "list_resource_templates", "prompts": "list_prompts"}


@asynccontextmanager
async def connect(url: str, modern: bool) -> AsyncIterator[tuple[Any, bool]]:
    try:
        from mcp import Client
    except ImportError:
        from mcp import ClientSession
        from mcp.client.streamable_http import streamablehttp_client

        async with streamablehttp_client(url) as (reader, writer, _), ClientSession(reader, writer) as session:
            await session.initialize()
            yield session, True
    else:
        async with Client(url, mode="2026-07-28" if modern else "legacy") as client:
            yield client, False


async def main() -> None:
    url, modern = sys.argv[-1], "--modern" in sys.argv
    seen: dict[str, list[str]] = {}
    async with connect(url, modern) as (client, first):
        for kind, method in KINDS.items():
            seen[kind], cursor = [], None
            while True:
                ask = getattr(client, method)
                page = (await (ask(cursor) if first else ask(cursor=cursor))).model_dump(by_alias=True, mode="json")
                seen[kind] += [item.get("uri") or item.get("uriTemplate") or item["name"] for item in page[kind]]
                cursor = page.get("nextCursor")
                if cursor is None:
                    break
    print(json.dumps(seen))


asyncio.run(main())
