"""What schemathesis sends besides what it makes up by itself: the metacharacters of SQL, in every text of every request."""

from __future__ import annotations

import itertools
from typing import Any

import schemathesis

HOSTILE = [
    "'; DROP TABLE mcp_servers; --",
    "\" OR \"1\"=\"1",
    "' UNION SELECT key_hash FROM mcp_api_keys --",
    "%' ESCAPE '\\",
    "_%*?[]",
    "$1",
    ":id",
    "a\x00b",
    "1); ATTACH DATABASE '/tmp/x' AS x; --",
    "\\x27 OR 1=1 /*",
]
turn = itertools.count()


def salted(value: Any) -> Any:
    """`value` with one in three of its texts made hostile."""
    if isinstance(value, str):
        number = next(turn)
        return HOSTILE[number // 3 % len(HOSTILE)] if number % 3 == 0 else value
    if isinstance(value, list):
        return [salted(item) for item in value]
    if isinstance(value, dict):
        return {name: salted(item) for name, item in value.items()}
    return value


@schemathesis.hook
def map_query(ctx: Any, query: Any) -> Any:
    return salted(query)


@schemathesis.hook
def map_body(ctx: Any, body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    body = salted(body)
    # What is registered is connected to: nothing that was made up may lead off this machine.
    if "://" in str(body.get("endpoint_url")):
        body["endpoint_url"] = "http://127.0.0.1:9/mcp"
    return body


@schemathesis.hook
def map_path_parameters(ctx: Any, path_parameters: Any) -> Any:
    # An id keeps its form three times in four: otherwise hardly any request would get past the first check.
    return salted(path_parameters) if next(turn) % 4 == 0 else path_parameters
