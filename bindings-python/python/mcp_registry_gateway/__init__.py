"""An MCP registry and gateway in your process.

Register Model Context Protocol servers, find what they offer, and route calls to them with health checks, circuit breakers and five
balancing algorithms::

    async with Gateway("gateway.db", servers={"calc": Http("http://127.0.0.1:9000/mcp")}) as gateway:
        result = await gateway.call_tool("calc__add", {"a": 1, "b": 2}, timeout=5)
        print(result.data)
"""

from ._gateway import Events, Gateway, Link, Opening, SyncGateway
from ._native import Lease, __version__
from .errors import (
    BadUpstreamError,
    CallCancelled,
    CallTimeout,
    ConflictError,
    GatewayError,
    InternalError,
    InvalidParamsError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    StorageError,
    TooLargeError,
    ToolError,
    UnauthenticatedError,
    UnavailableError,
)
from .models import Server
from .results import PromptResult, ResourceResult, Tool, ToolResult
from .servers import Http, Sse, Stdio, WebSocket

__all__ = [
    "BadUpstreamError",
    "CallCancelled",
    "CallTimeout",
    "ConflictError",
    "Events",
    "Gateway",
    "GatewayError",
    "Http",
    "InternalError",
    "InvalidParamsError",
    "Lease",
    "Link",
    "NotFoundError",
    "Opening",
    "PermissionDeniedError",
    "PromptResult",
    "RateLimitedError",
    "ResourceResult",
    "Server",
    "Sse",
    "Stdio",
    "StorageError",
    "SyncGateway",
    "TooLargeError",
    "Tool",
    "ToolError",
    "ToolResult",
    "UnauthenticatedError",
    "UnavailableError",
    "WebSocket",
    "__version__",
]
