"""The gateway, for tasks and for threads."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import inspect
import json
import os
import warnings
import weakref
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, cast

from . import _native
from ._bridge import Begun, Pumps, Waiter
from ._conversation import Conversation
from ._groups import Groups, SyncGroups
from ._json import document
from ._opening import Config, Servers, Url, in_process, members
from ._sync_verbs import SyncVerbs
from ._verbs import Verbs
from .errors import CallCancelled, GatewayError, UnavailableError
from .models import Event, Server

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._native import Gateway as NativeGateway
    from ._native import Lease
    from .asgi import GatewayApp, Lifespan
    from .types import Part

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


class _Common:
    _name = "Gateway"
    _native: NativeGateway

    def _take(self, native: NativeGateway) -> None:
        self._native = native
        # The compiled method takes the place of the one below: a frame of Python's around it would cost a fifth of it.
        self.pick = native.pick  # type: ignore[method-assign]

    def pick(self, service: str, key: str | None = None) -> Lease:
        """Picks a server of a service that can take a call now, for a program that talks to the server itself. It waits for nothing.

        Parameters
        ----------
        service
            The service.
        key
            The key of consistent hashing: equal keys reach the same server.

        Returns
        -------
        Lease
            The server. It counts as busy until the lease is released; as a context manager the lease is released at the end.
            A transport error within the ``with`` block counts as the server's failure, and so does ``lease.failed()``;
            other exceptions do not.

        Raises
        ------
        UnavailableError
            No server of the service can take a call; ``context["retry_after_seconds"]`` is the time to wait.
        """
        return self._native.pick(service, key)

    @property
    def is_closed(self) -> bool:
        """Whether the gateway was closed."""
        return "_native" in self.__dict__ and self._native.is_closed()

    def _state(self) -> str:
        if "_native" not in self.__dict__:
            return "not open"
        return "closed" if self._native.is_closed() else "open"

    def __repr__(self) -> str:
        return f"<{self._name} {self._state()}>"


class Gateway(Groups, Verbs, _Common):
    """A gateway in this process, for tasks of any event loop.

    ``async with Gateway("gateway.db", servers={…}) as gateway`` opens it and closes it. An object that is made once, at import time, can
    be entered again after it was closed, as by a test or by ``lifespan``.

    The gateway runs on threads of its own. A call that waits holds neither the GIL nor the event loop; a task that is cancelled cancels
    its call. After ``fork()`` the child's copy raises :class:`UnavailableError`.

    Parameters
    ----------
    url
        The store: a path such as ``"gateway.db"``, a URL as SQLAlchemy writes it (``sqlite:///gateway.db``), or ``":memory:"``. By
        default the store of the configuration, else memory.
    config
        The path of a configuration file, or the configuration itself as a mapping.
    data_dir
        The folder of the database and of the key files.
    servers
        Servers by name: ``Http(…)``, ``Stdio(…)``, ``Sse(…)``, ``WebSocket(…)``, a URL, a command line, the members of a
        registration, or a FastMCP server of this process. Also a list of registrations, or ``{"mcpServers": {…}}``.
    accept_data_loss
        A database that lacks acknowledged records is refused, and the error says what is missing; ``True`` goes on with what is there.

    Examples
    --------
    ::

        gateway = Gateway("gateway.db", servers={"docs": Http("http://127.0.0.1:9000/mcp"), "calc": my_fastmcp_server})
        app = FastAPI(lifespan=gateway.lifespan)
        app.mount("/mcp", gateway.mcp_app())
    """

    def __init__(
        self,
        url: Url = None,
        *,
        config: Config = None,
        data_dir: Url = None,
        servers: Servers = None,
        accept_data_loss: bool = False,
    ) -> None:
        self._members: dict[str, Any] = members(config, url, data_dir, servers, accept_data_loss)
        self._in_process = in_process(servers)
        self._residents: set[asyncio.Task[None]] = set()
        self._apps: weakref.WeakSet[GatewayApp] = weakref.WeakSet()
        self._entered = 0

    @classmethod
    def open(
        cls,
        config: Config = None,
        *,
        url: Url = None,
        data_dir: Url = None,
        servers: Servers = None,
        accept_data_loss: bool = False,
    ) -> Opening:
        """Opens a gateway: ``gateway = await Gateway.open(…)``, or ``async with Gateway.open(…) as gateway``.

        The parameters are those of :class:`Gateway`, with ``config`` first.
        """
        return Opening(cls(url, config=config, data_dir=data_dir, servers=servers, accept_data_loss=accept_data_loss))

    @classmethod
    def open_sync(
        cls,
        config: Config = None,
        *,
        url: Url = None,
        data_dir: Url = None,
        servers: Servers = None,
        accept_data_loss: bool = False,
    ) -> SyncGateway:
        """As :meth:`open`, for threads that wait: ``with Gateway.open_sync(…) as gateway``."""
        if local := in_process(servers):
            raise TypeError(f"`{next(iter(local))}` is a server of this process, which needs an event loop: use `async with Gateway(…)`")
        return SyncGateway(_opened(members(config, url, data_dir, servers, accept_data_loss)))

    def __getattr__(self, name: str) -> Any:
        if name in ("_native", "_pumps"):
            raise UnavailableError(
                "the gateway is not open; use `async with gateway:`, `lifespan=gateway.lifespan`, or `await Gateway.open(…)`"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    async def _open(self) -> Self:
        """Opens the gateway unless it is open."""
        if self._state() == "open":
            return self
        self._take(await asyncio.to_thread(_opened, self._members))
        self._pumps = Pumps(self._native)
        try:
            for name, server in self._in_process.items():
                await self.register_inprocess(name, server)
        except BaseException:
            await self.aclose(grace=0)
            raise
        return self

    def __call__(self) -> Gateway:
        """The gateway itself, for ``Depends(gateway)``."""
        return self

    @property
    def lifespan(self) -> Lifespan:
        """The lifespan of an application: ``FastAPI(lifespan=gateway.lifespan)``.

        It opens the gateway when the application starts, and closes it when the application stops. Streams of MCP clients end as soon as
        the server begins to stop, so that they do not hold it up.
        """
        from .asgi import Lifespan

        return Lifespan(self)

    def mcp_app(self, *, auth: Literal["keys"] | None = None, admin: bool = False, expose: Iterable[Part] = ()) -> GatewayApp:
        """An ASGI application with the gateway's MCP endpoints, to be mounted: ``app.mount("/mcp", gateway.mcp_app())``.

        It may be made at import time, before the gateway is open; a gateway that is not open answers 503.

        Parameters
        ----------
        auth
            ``"keys"`` requires an API key of the gateway. By default as the configuration says.
        admin
            Whether the administration over REST is below it, too (``rest`` of ``expose``).
        expose
            Further parts, as for :meth:`asgi_app`.
        """
        from .asgi import GatewayApp

        if auth == "keys":
            self._require_keys()
        elif auth is not None:
            raise ValueError(f"`auth` is 'keys' or left out, not {auth!r}")
        administration: list[Part] = ["rest"] if admin else []
        return GatewayApp(self, mounted="/mcp", expose=[*expose, *administration])

    def _require_keys(self) -> None:
        config = self._members["config"]
        if isinstance(config, str):
            raise ValueError("`auth` needs the configuration as a mapping; set `auth.api_keys = true` in the configuration file")
        if self._state() == "open":
            raise ValueError("`auth` is said before the gateway is open; set `auth.api_keys` in its configuration")
        auth = {**((config or {}).get("auth") or {}), "api_keys": True}
        self._members["config"] = {**(config or {}), "auth": auth}

    async def aclose(self, *, grace: float | None = None) -> None:
        """Closes the gateway; a closed one stays closed.

        Parameters
        ----------
        grace
            Seconds that calls in progress may go on; by default ``server.grace_seconds`` of the configuration.
        """
        if self._state() == "not open":
            return
        for app in tuple(self._apps):
            app.end_streams()
        try:
            await asyncio.to_thread(self._native.end, grace)
        finally:
            residents, self._residents = self._residents, set()
            for resident in residents:
                resident.cancel()
            await asyncio.gather(*residents, return_exceptions=True)
            self._pumps.stop()

    def events(self) -> Events:
        """Subscribes to the changes of servers: ``async for event in gateway.events()``. The stream ends with the gateway."""
        return Events(self, self._native.watch())

    async def register_inprocess(
        self,
        name: str,
        server: Any,
        *,
        service: str | None = None,
        display_name: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        weight: int | None = None,
        auto_discover: bool | None = None,
        health_check: Mapping[str, Any] | None = None,
        configuration: Mapping[str, Any] | None = None,
    ) -> Server:
        """Registers an MCP server of this process; no socket is used. It is registered until the gateway is closed.

        Parameters
        ----------
        name
            The name, unique within the tenant.
        server
            A FastMCP server, a server of the official SDK, or an asynchronous function of one :class:`Link`, which is called for each
            session.

        The other keywords are those of :meth:`register`.

        Raises
        ------
        TypeError
            ``server`` is none of these.
        """
        serve = _serving(server)
        given = {
            "service": service,
            "display_name": display_name,
            "description": description,
            "tags": tags,
            "weight": weight,
            "auto_discover": auto_discover,
            "health_check": health_check,
            "configuration": configuration,
        }
        registration = {"name": name, **{key: value for key, value in given.items() if value is not None}}
        housed = await self._do(self._native.register_in_process, document(registration))
        resident = asyncio.get_running_loop().create_task(self._reside(housed, serve))
        self._residents.add(resident)
        return await self.get(name)

    def asgi_app(self, *, expose: Iterable[Part] = ()) -> GatewayApp:
        """An ASGI application with the gateway's MCP endpoints at ``/mcp``, and the parts of its HTTP surface in ``expose``.

        Parameters
        ----------
        expose
            ``rest`` (administration and the registry's read API), ``events``, ``metrics``, ``health``, ``docs``, and ``builtin``, the
            gateway's own MCP service.
        """
        from .asgi import GatewayApp

        return GatewayApp(self, expose=expose)

    def attach(self, app: Any, path: str = "/mcp", *, builtin: bool = False) -> None:
        """Adds the gateway's MCP endpoints to a FastAPI or Starlette application, at exactly this path and below it.

        A second call for the same application and path replaces the routes of the first.

        Parameters
        ----------
        app
            The application.
        path
            The path.
        builtin
            Whether the gateway's own service is there, with which MCP clients register and remove servers.
        """
        from .asgi import attach

        attach(self, app, path, builtin=builtin)

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A program that leaves by an exception waits for no call.
        await self.aclose(grace=None if kind is None else 0)

    def __del__(self) -> None:
        if "_native" in self.__dict__ and not self._native.is_closed():
            warnings.warn(f"unclosed {self!r}; use `async with`, or `await gateway.aclose()`", ResourceWarning, stacklevel=2, source=self)

    async def _converse(self, name: str, members: dict[str, Any], handlers: dict[str, Any]) -> dict[str, Any]:
        known: dict[str, Any] = {key: members.pop(key) for key in ("service", "authorization") if key in members}
        timeout = members.pop("timeout_seconds", None)
        for key in ("preferred_servers", "required_tools", "required_resources"):
            if key in members:
                raise TypeError(f"`{key}` cannot be used together with `progress`, `log`, `elicitation` or `sampling`")
        return await Conversation(self, handlers).run(name, members, known, timeout)

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
    with contextlib.suppress(CallCancelled, UnavailableError):
        await serve(link)


class Opening:
    """A gateway that is about to be opened: to be awaited, or entered. Both open the same gateway, once."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def __await__(self) -> Generator[Any, None, Gateway]:
        return self._gateway._open().__await__()

    async def __aenter__(self) -> Gateway:
        return await self._gateway._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._gateway.__aexit__(kind, value, traceback)

    def __getattr__(self, name: str) -> Any:
        if hasattr(Gateway, name):
            raise AttributeError(
                f"`Gateway.open(…)` was not awaited, so it has no `{name}`; write `gateway = await Gateway.open(…)` "
                "or `async with Gateway.open(…) as gateway`"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


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
        return Event(json.loads(told))


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


class SyncGateway(SyncGroups, SyncVerbs, _Common):
    """A gateway in this process, for threads that wait. Its methods may be called from any thread."""

    _name = "SyncGateway"

    def __init__(self, native: _native.Gateway) -> None:
        self._take(native)
        self._waiter = Waiter(native)

    def close(self, *, grace: float | None = None) -> None:
        """Closes the gateway; a closed one stays closed.

        Parameters
        ----------
        grace
            Seconds that calls in progress may go on; by default ``server.grace_seconds`` of the configuration.
        """
        self._native.end(grace)

    def events(self) -> Iterator[Event]:
        """Subscribes to the changes of servers. The stream ends with the gateway."""
        return self._events(self._native.watch())

    def _events(self, watch: _native.Watch) -> Iterator[Event]:
        while (told := self._waiter.do(watch.next)) is not None:
            yield Event(json.loads(told))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(grace=None if kind is None else 0)

    async def _perform(self, verb: str, members: dict[str, Any]) -> Any:
        return json.loads(self._waiter.do(self._native.perform, verb, document(members)))


def _serving(server: Any) -> Callable[[Link], Awaitable[None]]:
    """The function that serves one link."""
    if hasattr(server, "_mcp_server") or type(server).__module__.split(".")[0] in ("fastmcp", "mcp"):
        from .fastmcp import serving

        return serving(server)
    # A function, or an object with an asynchronous `__call__`.
    called = server if inspect.isroutine(server) else getattr(type(server), "__call__", None)
    if not inspect.isclass(server) and callable(server) and inspect.iscoroutinefunction(_unwrapped(called)):
        return cast("Callable[[Link], Awaitable[None]]", server)
    raise TypeError(
        f"`server` is a FastMCP server, a server of the `mcp` package, or an `async def` function of one Link, not {server!r}"
    )


def _unwrapped(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function
