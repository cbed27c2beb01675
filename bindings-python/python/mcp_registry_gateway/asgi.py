"""The gateway's HTTP surface as an ASGI application, in process: no socket between your application and the gateway.

Bodies stream both ways. A client that disconnects is a broken connection to the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

from . import _native

if TYPE_CHECKING:
    from ._gateway import Gateway
    from .types import Part

__all__ = ["ASGIApp", "GatewayApp", "Lifespan", "attach"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_LISTENS = b"subscriptions/listen"


class GatewayApp:
    """An ASGI application with the MCP endpoints of a gateway and the exposed parts.

    Below a path ``path`` of another application the gateway's own path ``place`` stands. ``mounted`` is the place when a framework tells
    its path by ``root_path``.
    """

    def __init__(
        self, gateway: Gateway, path: str = "", place: str = "", *, mounted: str = "", expose: Iterable[Part] = ()
    ) -> None:
        # A server of ASGI tells the address of the connection.
        self._mount = _native.Mount(list(expose), None, True)
        self._gateway = gateway
        self._path = path
        self._place = place or mounted
        self._streams: set[asyncio.Event] = set()
        gateway._apps.add(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._answer(scope, receive, send)
            case "lifespan":
                await self._live(receive, send)
            case _:
                await send({"type": "websocket.close", "code": 1003})

    def end_streams(self) -> None:
        """Ends the streams that stay open until one side ends them; calls in progress go on."""
        for stream in tuple(self._streams):
            stream.set()

    async def _live(self, receive: Receive, send: Send) -> None:
        """The lifespan of an application that is nothing but this one: the gateway is open while it runs."""
        await receive()
        opened_here = self._gateway._state() != "open"
        stopping = _Stopping(self._gateway)
        try:
            await self._gateway._open()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        stopping.watch()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        stopping.forget()
        if opened_here:
            await self._gateway.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._gateway._state() != "open":
            await _unavailable(send)
            return
        exchange = self._gateway._native.request(
            self._mount, scope["method"], self._target(scope), list(scope["headers"]), _peer(scope)
        )
        ended = asyncio.Event()
        if _stays_open(scope):
            self._streams.add(ended)
        # Side by side: an answer may begin before the request has ended, and a client may go at any moment.
        listening = asyncio.create_task(self._listen(exchange, receive))
        answering = asyncio.create_task(self._tell(exchange, send, ended))
        try:
            await asyncio.wait((listening, answering), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._streams.discard(ended)
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

    async def _tell(self, exchange: _native.Exchange, send: Send, ended: asyncio.Event) -> None:
        status, headers = await self._gateway._do(exchange.head)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        while (piece := await self._piece(exchange, ended)) is not None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _piece(self, exchange: _native.Exchange, ended: asyncio.Event) -> bytes | None:
        """The next piece of the body; ``None`` at its end, or when the host begins to stop."""
        if ended not in self._streams:
            piece: bytes | None = await self._gateway._do(exchange.piece)
            return piece
        next_piece = asyncio.ensure_future(self._gateway._do(exchange.piece))
        stop = asyncio.ensure_future(ended.wait())
        try:
            await asyncio.wait((next_piece, stop), return_when=asyncio.FIRST_COMPLETED)
            return next_piece.result() if next_piece.done() else None
        finally:
            for task in (next_piece, stop):
                task.cancel()

    def _target(self, scope: Scope) -> str:
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.decode("ascii", "replace").split("?")[0].removeprefix(scope.get("root_path") or "")
        query = scope.get("query_string") or b""
        target = self._place + path.removeprefix(self._path)
        if self._place:
            target = target.rstrip("/") or "/"
        return f"{target}?{query.decode('ascii', 'replace')}" if query else target


class Lifespan:
    """The lifespan of an application that a gateway belongs to."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @contextlib.asynccontextmanager
    async def __call__(self, _app: Any = None) -> AsyncIterator[None]:
        """Opens the gateway, and closes it when the application stops."""
        async with self._gateway:
            stopping = _Stopping(self._gateway)
            stopping.watch()
            try:
                yield
            finally:
                stopping.forget()


class _Stopping:
    """Ends the streams of MCP clients when the host is told to stop: before it waits for its connections, which they would hold up."""

    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._loop = asyncio.get_running_loop()
        self._before: dict[int, Any] = {}

    def watch(self) -> None:
        """Listens to the signals beside the host, which hears them as before."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self._SIGNALS:
            before = signal.getsignal(number)
            if before is not None:
                self._before[number] = before
                signal.signal(number, self._heard)

    def forget(self) -> None:
        """Gives the signals back to the host."""
        for number, before in self._before.items():
            # `==`: each access makes another bound method.
            if signal.getsignal(number) == self._heard:
                signal.signal(number, before)
        self._before.clear()

    def _heard(self, number: int, frame: Any) -> None:
        for app in tuple(self._gateway._apps):
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(app.end_streams)
        before = self._before.get(number)
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


def _stays_open(scope: Scope) -> bool:
    """Whether the answer is a stream that neither side ends by itself."""
    if scope["method"] == "GET":
        return True
    return any(name == b"mcp-method" and value == _LISTENS for name, value in scope["headers"])


def _peer(scope: Scope) -> str | None:
    """The address of the connection; ``None`` where there is none, as over a Unix socket or in a test client."""
    host = (scope.get("client") or (None,))[0]
    if host is None:
        return None
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    return str(host)


async def _unavailable(send: Send) -> None:
    error = {"code": -31503, "message": "the gateway is not open", "data": {"source": "gateway", "kind": "unavailable", "retryable": True}}
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"1"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def attach(gateway: Gateway, app: Any, path: str, *, builtin: bool = False) -> None:
    """Adds the gateway's MCP endpoints to a Starlette or FastAPI application at exactly ``path``, and below it."""
    from starlette.routing import Route

    path = "/" + path.strip("/")
    place = GatewayApp(gateway, path, "/mcp", expose=["builtin"] if builtin else [])
    routes = app.router.routes
    routes[:] = [route for route in routes if not (isinstance(getattr(route, "endpoint", None), GatewayApp) and route.path in (path, f"{path}/{{rest:path}}"))]
    routes.append(Route(path, endpoint=place))
    routes.append(Route(f"{path}/{{rest:path}}", endpoint=place))
