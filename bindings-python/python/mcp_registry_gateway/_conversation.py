"""A call during which the server talks to the caller: progress, log messages, elicitation and sampling."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ._json import document
from .errors import BadUpstreamError, CallTimeout, GatewayError, kind_of

if TYPE_CHECKING:
    from ._gateway import Gateway
    from ._native import Line

Progress: TypeAlias = Callable[[float, "float | None", "str | None"], Any]
"""Called with progress, total and message."""
Log: TypeAlias = Callable[[str, Any, "str | None"], Any]
"""Called with level, data and logger."""
Elicitation: TypeAlias = Callable[[Mapping[str, Any]], "Awaitable[Mapping[str, Any] | None] | Mapping[str, Any] | None"]
"""Called with ``message`` and ``requestedSchema``; returns the content, ``None`` to decline, or a mapping with ``action``."""
Sampling: TypeAlias = Callable[[Mapping[str, Any]], "Awaitable[Mapping[str, Any] | str] | Mapping[str, Any] | str"]
"""Called with ``messages`` and the other parameters; returns the text, or the whole result."""

_REVISION = "2025-11-25"
_CALL = 2


class Conversation:
    """One session with the gateway, for one call."""

    def __init__(self, gateway: Gateway, handlers: Mapping[str, Any]) -> None:
        self._gateway = gateway
        self._handlers = handlers
        self._line: Line | None = None

    async def run(self, method: str, params: dict[str, Any], who: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        """Opens the session, calls, and ends the session."""
        self._line = self._gateway._attach(who)
        try:
            return await asyncio.wait_for(self._call(method, params), timeout)
        except asyncio.TimeoutError:
            raise CallTimeout(
                f"timed out after {timeout:g} s", context={"tool": params.get("name"), "outcome": "unknown"}
            ) from None
        finally:
            with contextlib.suppress(GatewayError):
                await asyncio.shield(self._gateway._do(self._line.end))

    async def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        capabilities: dict[str, Any] = {name: {} for name in ("elicitation", "sampling") if name in self._handlers}
        client = {"name": "mcp-registry-gateway", "version": "1"}
        opening = {"protocolVersion": _REVISION, "capabilities": capabilities, "clientInfo": client}
        await self._send({"id": 1, "method": "initialize", "params": opening})
        await self._answer_to(1)
        await self._send({"method": "notifications/initialized"})
        if "log" in self._handlers:
            await self._send({"id": "log", "method": "logging/setLevel", "params": {"level": "debug"}})
        if "progress" in self._handlers:
            params = {**params, "_meta": {"progressToken": _CALL, **(params.get("_meta") or {})}}
        await self._send({"id": _CALL, "method": method, "params": params})
        return await self._answer_to(_CALL)

    async def _send(self, message: dict[str, Any]) -> None:
        assert self._line is not None
        await self._gateway._do(self._line.send, document({"jsonrpc": "2.0", **message}))

    async def _answer_to(self, number: int) -> dict[str, Any]:
        """The result of the request; messages of the server that come before it go to the handlers."""
        assert self._line is not None
        while (received := await self._gateway._do(self._line.receive)) is not None:
            message = json.loads(received)
            if "method" in message:
                await self._heard(message)
            elif message.get("id") == number:
                if "error" in message:
                    raise _failure(message["error"])
                result: dict[str, Any] = message["result"]
                return result
        raise BadUpstreamError("the session ended before the call was answered", context={"outcome": "unknown"})

    async def _heard(self, message: dict[str, Any]) -> None:
        params = message.get("params") or {}
        match message["method"]:
            case "notifications/progress" if progress := self._handlers.get("progress"):
                await _awaited(progress(params.get("progress"), params.get("total"), params.get("message")))
            case "notifications/message" if log := self._handlers.get("log"):
                await _awaited(log(params.get("level"), params.get("data"), params.get("logger")))
            case "elicitation/create" if elicitation := self._handlers.get("elicitation"):
                await self._reply(message, _elicited(await _awaited(elicitation(params))))
            case "sampling/createMessage" if sampling := self._handlers.get("sampling"):
                await self._reply(message, _sampled(await _awaited(sampling(params))))
            case method if "id" in message:
                error = {"code": -32601, "message": f"this client does not answer `{method}`"}
                await self._send({"id": message["id"], "error": error})

    async def _reply(self, message: dict[str, Any], result: dict[str, Any]) -> None:
        await self._send({"id": message["id"], "result": result})


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _elicited(answer: Any) -> dict[str, Any]:
    if answer is None:
        return {"action": "decline"}
    if hasattr(answer, "model_dump"):
        answer = answer.model_dump(mode="json")
    return dict(answer) if "action" in answer else {"action": "accept", "content": dict(answer)}


def _sampled(answer: Any) -> dict[str, Any]:
    if isinstance(answer, str):
        content = {"type": "text", "text": answer}
        return {"role": "assistant", "model": "unknown", "content": content}
    return dict(answer)


def _failure(error: Mapping[str, Any]) -> GatewayError:
    """The exception of a JSON-RPC error: the gateway's own has its kind in ``data``."""
    data = error.get("data")
    facts = dict(data) if isinstance(data, Mapping) else {}
    message = str(error.get("message", ""))
    if facts.pop("source", None) != "gateway":
        context: dict[str, Any] = {"code": str(error.get("code"))}
        return BadUpstreamError(message, context=context if data is None else {**context, "data": json.dumps(data)})
    kind, retryable = str(facts.pop("kind", "internal")), bool(facts.pop("retryable", False))
    return kind_of(kind)(message, kind=kind, retryable=retryable, context=facts)
