"""The gateway, for tasks and for threads."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import weakref
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, cast

from . import _native
from ._bridge import Begun, Pumps, Waiter, document
from ._sync_verbs import SyncVerbs
from ._verbs import Verbs
from .errors import CancelledError, GatewayError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self, Unpack

    from ._native import Gateway as NativeGateway
    from ._native import Lease
    from .asgi import GatewayApp
    from .types import Event, Part, Registration, RegistrationMembers

P = ParamSpec("P")

# Whether this runs in a server of this process, for a call of the gateway's: it may be anybody's.
behind: ContextVar[bool] = ContextVar("behind a gateway", default=False)

_open: weakref.WeakSet[_native.Gateway] = weakref.WeakSet()


@atexit.register
def _leave() -> None:
    """Ends what is still open when the interpreter ends, so that no child process is left. Of a forked process nothing is."""
    for native in tuple(_open):
        with contextlib.suppress(GatewayError):
            native.end(0)


def _forked() -> None:
    """In the child: what is open here belongs to the other process."""
    for native in tuple(_open):
        native.left_by_fork()


os.register_at_fork(after_in_child=_forked)


def _opened(members: dict[str, Any]) -> _native.Gateway:
    native = _native.Gateway.open(document(members))
    _open.add(native)
    native.is_told_of_forks()
    return native


def _members(
    config: Path | str | Mapping[str, Any] | None,
    url: str | None,
    data_dir: Path | str | None,
    servers: Sequence[Registration] | Mapping[str, Any] | None,
    accept_data_loss: bool,
) -> dict[str, Any]:
    paths = {"config": config, "data_dir": data_dir}
    told = {key: str(value) if isinstance(value, Path) else value for key, value in paths.items()}
    return {**told, "url": url, "servers": servers, "accept_data_loss": accept_data_loss}


class _Common:
    def __init__(self, native: NativeGateway) -> None:
        self._native = native
        # The compiled method takes the place of the one below: a frame of Python's around it would cost a fifth of it.
        self.pick = native.pick  # type: ignore[method-assign]

    def pick(self, service: str, key: str | None = None) -> Lease:
        """Picks a server of a service that can take a call now, for who talks to it himself. It waits for nothing.

        The server counts as busy until the lease is released; its breaker learns from how that is done. As a context manager it is
        released at the end: an exception is the server's failure. ``key`` is what consistent hashing goes by.
        """
        return self._native.pick(service, key)

    @property
    def is_closed(self) -> bool:
        """Whether the gateway was closed."""
        return self._native.is_closed()


class Gateway(Verbs, _Common):
    """A gateway in this process. Its methods may be called from tasks of any event loop.

    It runs on threads of its own; what is not over at once holds neither the GIL nor the event loop. A task that is cancelled cancels its call.
    After ``fork()`` the child's copy only tells that it belongs to another process.
    """

    def __init__(self, native: _native.Gateway) -> None:
        super().__init__(native)
        self._pumps = Pumps(native)
        self._residents: set[asyncio.Task[None]] = set()

    @classmethod
    def open(
        cls,
        config: Path | str | Mapping[str, Any] | None = None,
        *,
        url: str | None = None,
        data_dir: Path | str | None = None,
        servers: Sequence[Registration] | Mapping[str, Any] | None = None,
        accept_data_loss: bool = False,
    ) -> Opening:
        """Opens a gateway: ``async with Gateway.open(…) as gateway``, or ``gateway = await Gateway.open(…)``.

        ``config`` is the path of a configuration file, or the configuration itself. ``url`` says where servers are kept, such as
        ``sqlite:gateway.db``; without it, where the configuration says, else in memory. ``servers`` is a list of registrations, or what
        desktop clients write: ``{"mcpServers": {…}}``. A database that lacks what was acknowledged is refused, and the error says what is
        missing; ``accept_data_loss`` goes on with what is there, for one start.
        """
        return Opening(_members(config, url, data_dir, servers, accept_data_loss))

    @classmethod
    def open_sync(
        cls,
        config: Path | str | Mapping[str, Any] | None = None,
        *,
        url: str | None = None,
        data_dir: Path | str | None = None,
        servers: Sequence[Registration] | Mapping[str, Any] | None = None,
        accept_data_loss: bool = False,
    ) -> SyncGateway:
        """As :meth:`open`, for threads that wait: ``with Gateway.open_sync(…) as gateway``."""
        return SyncGateway(_opened(_members(config, url, data_dir, servers, accept_data_loss)))

    async def aclose(self) -> None:
        """Ends the gateway: calls under way may go on for the configuration's ``server.grace_seconds``. Again, it does nothing."""
        try:
            await asyncio.to_thread(self._native.end)
        finally:
            for resident in self._residents:
                resident.cancel()
            await asyncio.gather(*self._residents, return_exceptions=True)
            self._pumps.stop()

    def events(self) -> Events:
        """The changes of servers from now on: ``async for event in gateway.events()``. It ends with the gateway."""
        return Events(self, self._native.watch())

    async def register_inprocess(
        self, name: str, server: Any, /, **members: Unpack[RegistrationMembers]
    ) -> None:
        """Puts an MCP server of this process in place, without a socket, and registers it.

        ``server`` is a FastMCP server, or a function that serves one link: it is awaited with a :class:`Link` for each client session.
        It is there until the gateway is closed.
        """
        housed = await self._do(self._native.register_in_process, document({"name": name, **members}))
        self._residents.add(asyncio.create_task(self._reside(housed, _serving(server))))

    def asgi_app(self, *, expose: Iterable[Part] = ()) -> GatewayApp:
        """The gateway's MCP endpoints as an ASGI application, and the parts of its HTTP surface that ``expose`` names.

        ``rest`` is the administration and the registry's read API, ``events`` the changes of servers, ``metrics`` and ``health`` are for
        operation, ``docs`` are the descriptions of the routes; ``builtin`` is the gateway's own MCP service.
        """
        from .asgi import GatewayApp

        return GatewayApp(self, expose=expose)

    def attach(self, app: Any, path: str = "/mcp", *, builtin: bool = False) -> None:
        """Adds the gateway's MCP endpoints to a FastAPI or Starlette application, at exactly this path and below it.

        ``builtin`` adds the gateway's own service, too, with which MCP clients register and remove servers.
        """
        from .asgi import attach

        attach(self, app, path, builtin=builtin)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _perform(self, verb: str, members: dict[str, Any]) -> Any:
        return json.loads(await self._do(self._native.perform, verb, document(members)))

    async def _admit(self, asked: dict[str, Any]) -> _native.Admitted:
        return cast("_native.Admitted", await self._do(self._native.admit, document(asked)))

    def _attach(self, asked: dict[str, Any]) -> _native.Line:
        return self._native.attach(document(asked))

    async def _do(
        self, begin: Callable[Concatenate[_native.Queue, P], Begun], /, *args: P.args, **kwargs: P.kwargs
    ) -> Any:
        return await self._pumps.current().do(begin, *args, **kwargs)

    async def _reside(self, housed: _native.Housed, serve: Callable[[Link], Awaitable[None]]) -> None:
        links: set[asyncio.Task[None]] = set()
        try:
            while (hosted := await self._do(housed.receive)) is not None:
                link = asyncio.create_task(_host(serve, Link(self, hosted)))
                links.add(link)
                link.add_done_callback(links.discard)
                # Whoever serves it has it alone: when that ends, the server has hung up.
                del hosted
        except UnavailableError:
            # The gateway is closed.
            pass
        finally:
            for link in tuple(links):
                link.cancel()


async def _host(serve: Callable[[Link], Awaitable[None]], link: Link) -> None:
    behind.set(True)
    # A link that is closed in the middle of a word is no fault of the server's.
    with contextlib.suppress(CancelledError, UnavailableError):
        await serve(link)


class Opening:
    """A gateway that is about to be opened: to be awaited, or entered."""

    def __init__(self, members: dict[str, Any]) -> None:
        self._members = members
        self._gateway: Gateway | None = None

    def __await__(self) -> Generator[Any, None, Gateway]:
        return self._opened().__await__()

    async def __aenter__(self) -> Gateway:
        self._gateway = await self._opened()
        return self._gateway

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._gateway is not None:
            await self._gateway.aclose()

    async def _opened(self) -> Gateway:
        return Gateway(await asyncio.to_thread(_opened, self._members))


class Events:
    """The changes of servers, one after the other."""

    def __init__(self, gateway: Gateway, watch: _native.Watch) -> None:
        self._gateway = gateway
        self._watch = watch

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        told = await self._gateway._do(self._watch.next)
        if told is None:
            raise StopAsyncIteration
        return cast("Event", json.loads(told))


class Link:
    """One link of the gateway to a server of this process: JSON-RPC messages in and out."""

    def __init__(self, gateway: Gateway, hosted: _native.Hosted) -> None:
        self._gateway = gateway
        self._hosted = hosted

    async def receive(self) -> bytes | None:
        """The next message for the server; ``None`` once the link is closed."""
        return cast("bytes | None", await self._gateway._do(self._hosted.receive))

    async def send(self, message: bytes) -> None:
        """Sends a message of the server's."""
        await self._gateway._do(self._hosted.send, message)


class SyncGateway(SyncVerbs, _Common):
    """A gateway in this process, for threads that wait. Its methods may be called from any thread."""

    def __init__(self, native: _native.Gateway) -> None:
        super().__init__(native)
        self._waiter = Waiter(native)

    def close(self) -> None:
        """Ends the gateway: calls under way may go on for the configuration's ``server.grace_seconds``. Again, it does nothing."""
        self._native.end()

    def events(self) -> Iterator[Event]:
        """The changes of servers from now on. It ends with the gateway."""
        return self._events(self._native.watch())

    def _events(self, watch: _native.Watch) -> Iterator[Event]:
        while (told := self._waiter.do(watch.next)) is not None:
            yield json.loads(told)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def _perform(self, verb: str, members: dict[str, Any]) -> Any:
        return json.loads(self._waiter.do(self._native.perform, verb, document(members)))


def _serving(server: Any) -> Callable[[Link], Awaitable[None]]:
    """How a server is served on a link."""
    if callable(server) and not hasattr(server, "_mcp_server"):
        return cast("Callable[[Link], Awaitable[None]]", server)
    from .fastmcp import serving

    return serving(server)
