"""The official Python client over HTTP+SSE of 2024-11-05; arguments and output: python_client.py."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import mcp
from mcp.client.sse import sse_client

plain = mcp.Client.__init__


def over_sse(self: mcp.Client, server: str, **options: Any) -> None:
    """The client takes a transport in the place of an URL."""
    plain(self, sse_client(server), **options)


mcp.Client.__init__ = over_sse  # type: ignore[method-assign]
sys.argv[0] = str(Path(__file__).with_name("python_client.py"))
runpy.run_path(sys.argv[0], run_name="__main__")
