"""What goes wrong, as exceptions: one class for each way to react, all below :class:`GatewayError`."""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .results import ToolResult

__all__ = [
    "BadUpstreamError",
    "CallCancelled",
    "CallTimeout",
    "ConflictError",
    "GatewayError",
    "InternalError",
    "InvalidParamsError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitedError",
    "StorageError",
    "TooLargeError",
    "ToolError",
    "UnauthenticatedError",
    "UnavailableError",
]


class GatewayError(Exception):
    """A failure of the gateway.

    Parameters
    ----------
    message
        What went wrong, and the next step.
    kind
        The kind of the failure, such as ``not_found``; the same in every language.
    retryable
        Whether the same call can succeed later without a change.
    context
        Facts about the place, such as ``server``; ``outcome`` says whether a server may have received the call.

    Examples
    --------
    In a test of your own program::

        raise NotFoundError("no such server")
    """

    _kind: ClassVar[str] = "internal"

    kind: str
    message: str
    retryable: bool
    context: Mapping[str, Any]

    def __init__(
        self,
        message: str = "",
        *,
        kind: str | None = None,
        retryable: bool = False,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind or self._kind
        self.message = message
        self.retryable = retryable
        self.context = dict(context or {})

    def __str__(self) -> str:
        facts = ", ".join(f"{key}: {value}" for key, value in self.context.items())
        return f"{self.message} ({facts})" if facts else self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        members = {"message": self.message, "kind": self.kind, "retryable": self.retryable, "context": dict(self.context)}
        return _restored, (type(self), members)


def _restored(kind: type[GatewayError], members: dict[str, Any]) -> GatewayError:
    return kind(**members)


class InvalidParamsError(GatewayError, ValueError):
    """A parameter is missing or wrong; ``context["field"]`` names it where it is known."""

    _kind = "invalid_params"


class NotFoundError(GatewayError, LookupError):
    """No such server, tool, key or tenant exists, or the caller may not see it."""

    _kind = "not_found"


class ConflictError(GatewayError):
    """The name is taken, or the record was changed since it was read."""

    _kind = "conflict"


class UnauthenticatedError(GatewayError):
    """The credential is missing or not valid."""

    _kind = "unauthenticated"


class PermissionDeniedError(GatewayError, PermissionError):
    """The caller's role or scopes do not allow the operation."""

    _kind = "permission_denied"

    def __str__(self) -> str:
        return GatewayError.__str__(self)


class TooLargeError(GatewayError):
    """A size limit was exceeded; the message names the limit."""

    _kind = "too_large"


class RateLimitedError(GatewayError):
    """A rate limit was exceeded; ``context["retry_after_seconds"]`` is the time to wait."""

    _kind = "rate_limited"


class CallCancelled(GatewayError):
    """The call was cancelled by another party than the task that waits for it, such as an administrator."""

    _kind = "cancelled"


class UnavailableError(GatewayError):
    """No server can take the call now, or the gateway is closed, or belongs to the process before ``fork()``."""

    _kind = "unavailable"


class BadUpstreamError(GatewayError):
    """The server broke the connection or the protocol, or answered with an error of its own (``context["code"]``)."""

    _kind = "bad_upstream"


class CallTimeout(GatewayError, builtins.TimeoutError):
    """The server did not answer in time; also a :class:`TimeoutError`."""

    _kind = "timeout"

    def __str__(self) -> str:
        return GatewayError.__str__(self)


class StorageError(GatewayError):
    """The database cannot be read or written now."""

    _kind = "storage"


class InternalError(GatewayError):
    """A fault of the gateway itself."""


class ToolError(GatewayError):
    """A tool reported an error: its result has ``isError``. Gateway and server did their work.

    ``call_tool(…, raise_on_error=False)`` returns the result instead.
    """

    _kind = "tool"

    def __init__(self, message: str = "", *, tool: str | None = None, result: ToolResult | None = None) -> None:
        super().__init__(message, context={"tool": tool} if tool else None)
        self.tool = tool
        self.result = result

    def __str__(self) -> str:
        return f"{self.tool}: {self.message}" if self.tool else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored_tool_error, (self.message, self.tool, self.result)


def _restored_tool_error(message: str, tool: str | None, result: ToolResult | None) -> ToolError:
    return ToolError(message, tool=tool, result=result)


_CLASSES: dict[str, type[GatewayError]] = {
    "parse": InvalidParamsError,
    "invalid_request": InvalidParamsError,
    "invalid_params": InvalidParamsError,
    "header_mismatch": InvalidParamsError,
    "missing_capability": InvalidParamsError,
    "unsupported_version": InvalidParamsError,
    "media_type": InvalidParamsError,
    "method_not_allowed": InvalidParamsError,
    "method_not_found": NotFoundError,
    "not_found": NotFoundError,
    "resource_not_found": NotFoundError,
    "session_not_found": NotFoundError,
    "conflict": ConflictError,
    "unauthenticated": UnauthenticatedError,
    "permission_denied": PermissionDeniedError,
    "too_large": TooLargeError,
    "rate_limited": RateLimitedError,
    "cancelled": CallCancelled,
    "unavailable": UnavailableError,
    "bad_upstream": BadUpstreamError,
    "timeout": CallTimeout,
    "storage": StorageError,
    "internal": InternalError,
}


def error_of(document: bytes) -> GatewayError:
    """The exception that a document of the core describes."""
    said = json.loads(document)
    return _CLASSES.get(said["kind"], GatewayError)(**said)


def kind_of(kind: str) -> type[GatewayError]:
    """The class of a kind of failure."""
    return _CLASSES.get(kind, GatewayError)
