"""The gateway's HTTP surface as an ASGI application, in process: no socket between your application and the gateway.

Bodies stream both ways. A client that disconnects is what a broken connection is to the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

from . import _native

if TYPE_CHECKING:
    from ._gateway import Gateway
    from .types import Part

__all__ = ["ASGIApp", "GatewayApp", "attach"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class GatewayApp:
    """An ASGI application with the MCP endpoints of a gateway, or what of them stands below a path, and the exposed parts."""

    def __init__(self, gateway: Gateway, path: str = "", place: str = "", *, expose: Iterable[Part] = ()) -> None:
        # A server of ASGI tells the address of the connection.
        self._mount = _native.Mount(list(expose), None, True)
        self._gateway = gateway
        self._path = path
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._answer(scope, receive, send)
            case "lifespan":
                await self._live(receive, send)
            case _:
                await send({"type": "websocket.close", "code": 1003})

    async def _live(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = self._gateway._native.request(
            self._mount, scope["method"], self._target(scope), list(scope["headers"]), (scope.get("client") or (None,))[0]
        )
        # Side by side: an answer may begin before the request has ended, and a client may go at any moment.
        listening = asyncio.create_task(self._listen(exchange, receive))
        answering = asyncio.create_task(self._tell(exchange, send))
        try:
            await asyncio.wait((listening, answering), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, answering):
                task.cancel()
            outcomes = await asyncio.gather(listening, answering, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _listen(self, exchange: _native.Exchange, receive: Receive) -> None:
        """Brings the request's body to the gateway; ends when the client has gone."""
        while (message := await receive())["type"] == "http.request":
            if body := message.get("body"):
                await self._gateway._do(exchange.push, body)
            if not message.get("more_body"):
                exchange.finish()

    async def _tell(self, exchange: _native.Exchange, send: Send) -> None:
        status, headers = await self._gateway._do(exchange.head)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        while (piece := await self._gateway._do(exchange.piece)) is not None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _target(self, scope: Scope) -> str:
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.decode("ascii", "replace").split("?")[0].removeprefix(scope.get("root_path") or "")
        query = scope.get("query_string") or b""
        target = self._place + path.removeprefix(self._path)
        return f"{target}?{query.decode('ascii', 'replace')}" if query else target


def attach(gateway: Gateway, app: Any, path: str, *, builtin: bool = False) -> None:
    """Adds the gateway's MCP endpoints to a Starlette or FastAPI application at exactly ``path``, and below it."""
    from starlette.routing import Route

    place = GatewayApp(gateway, path.rstrip("/"), "/mcp", expose=["builtin"] if builtin else [])
    app.router.routes.append(Route(path, endpoint=place))
    app.router.routes.append(Route(path.rstrip("/") + "/{rest:path}", endpoint=place))
