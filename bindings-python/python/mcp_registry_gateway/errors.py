"""What goes wrong, as exceptions: one class for each way to react, all below :class:`GatewayError`."""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from typing import Any

__all__ = [
    "BadUpstreamError",
    "CancelledError",
    "ConflictError",
    "GatewayError",
    "InternalError",
    "InvalidParamsError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitedError",
    "StorageError",
    "TimeoutError",
    "TooLargeError",
    "UnauthenticatedError",
    "UnavailableError",
]


class GatewayError(Exception):
    """A failure: what kind it is of, what is wrong, and where."""

    kind: str
    """Such as ``not_found``; the kinds are those of every other face of the gateway."""
    message: str
    """What is wrong, and what to do."""
    retryable: bool
    """Whether the same call can succeed later without being changed."""
    context: Mapping[str, Any]
    """What is known of the place, such as ``server``; ``outcome`` says whether a server may have seen a call that failed."""

    def __init__(self, kind: str, message: str, retryable: bool, context: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retryable = retryable
        self.context = context

    def __str__(self) -> str:
        facts = ", ".join(f"{key}: {value}" for key, value in self.context.items())
        return f"{self.message} ({facts})" if facts else self.message

    def __reduce__(self) -> tuple[type[GatewayError], tuple[str, str, bool, dict[str, Any]]]:
        return type(self), (self.kind, self.message, self.retryable, dict(self.context))


class InvalidParamsError(GatewayError, ValueError):
    """What was asked is not as it must be; ``context["field"]`` may say where."""


class NotFoundError(GatewayError, LookupError):
    """There is no such thing, or none that the caller may see."""


class ConflictError(GatewayError):
    """A thing of that name exists, or it changed since it was read."""


class UnauthenticatedError(GatewayError):
    """No credential, or one that does not hold."""


class PermissionDeniedError(GatewayError, PermissionError):
    """The caller is known and may not do this."""

    def __str__(self) -> str:
        return GatewayError.__str__(self)


class TooLargeError(GatewayError):
    """A size limit was passed, which the message names."""


class RateLimitedError(GatewayError):
    """A rate limit was passed; ``context["retry_after_seconds"]`` says when to come back."""


class CancelledError(GatewayError):
    """The call was cancelled, by somebody else than the task that waits for it."""


class UnavailableError(GatewayError):
    """No server can take the call now, or the gateway is closed, or belongs to the process before ``fork()``."""


class BadUpstreamError(GatewayError):
    """The server broke the connection or the protocol, or answered with an error of its own (``context["code"]``)."""


class TimeoutError(GatewayError, builtins.TimeoutError):  # noqa: A001 - it is one
    """The server did not answer in time."""

    def __str__(self) -> str:
        return GatewayError.__str__(self)


class StorageError(GatewayError):
    """What must survive cannot be written or read now."""


class InternalError(GatewayError):
    """A fault of the gateway itself."""


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
    "cancelled": CancelledError,
    "unavailable": UnavailableError,
    "bad_upstream": BadUpstreamError,
    "timeout": TimeoutError,
    "storage": StorageError,
    "internal": InternalError,
}


def error_of(document: bytes) -> GatewayError:
    """The exception that a document of the core describes."""
    said = json.loads(document)
    return _CLASSES.get(said["kind"], GatewayError)(**said)
