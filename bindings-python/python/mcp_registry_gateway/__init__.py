"""An MCP registry and gateway in your process.

Register Model Context Protocol servers, find what they offer, and route calls to them with health checks, circuit breakers and five
balancing algorithms::

    async with Gateway.open() as gateway:
        await gateway.register("calc", endpoint_url="http://127.0.0.1:9000/mcp")
        result = await gateway.call_tool("calc__add", {"a": 1, "b": 2})
"""

from ._gateway import Events, Gateway, Link, Opening, SyncGateway
from ._native import Lease, __version__
from .errors import (
    BadUpstreamError,
    CancelledError,
    ConflictError,
    GatewayError,
    InternalError,
    InvalidParamsError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    StorageError,
    TimeoutError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)

__all__ = [
    "BadUpstreamError",
    "CancelledError",
    "ConflictError",
    "Events",
    "Gateway",
    "GatewayError",
    "InternalError",
    "InvalidParamsError",
    "Lease",
    "Link",
    "NotFoundError",
    "Opening",
    "PermissionDeniedError",
    "RateLimitedError",
    "StorageError",
    "SyncGateway",
    "TimeoutError",
    "TooLargeError",
    "UnauthenticatedError",
    "UnavailableError",
    "__version__",
]
