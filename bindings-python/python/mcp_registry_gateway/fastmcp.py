"""The gateway and FastMCP 4 in one process; `pip install mcp-registry-gateway[fastmcp]` brings it.

- :class:`GatewayProvider` shows what the gateway offers inside a FastMCP server.
- :class:`GatewayTransport` is a FastMCP client's way straight into the gateway, without a socket, in either era.
- :class:`GatewayMiddleware` holds what a FastMCP server offers to the gateway's keys, roles, rules and limits, and its audit trail.
- :class:`GatewayTokenVerifier` lets the gateway's API keys in.

``Gateway.register_inprocess(name, server)`` puts a FastMCP server behind the gateway.

What is passed on to the gateway has the rights of the caller who asked for it: of the token that the FastMCP server let in, if the
gateway takes that, too. Other callers are nobody to the gateway, which refuses them. ``trust="program"`` says that a caller has the rights of
this program, which is the gateway's administrator.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import anyio
import mcp_types
from fastmcp import Client
from fastmcp.client.transports.base import ClientTransport, SessionKwargs, TransportOptions
from fastmcp.exceptions import McpError
from fastmcp.exceptions import NotFoundError as UnknownError
from fastmcp.server.auth.auth import AccessToken, TokenVerifier
from fastmcp.server.dependencies import get_access_token, get_http_request
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.server.providers.proxy import (
    ProxyClient,
    ProxyProvider,
    StatefulProxyClient,
    _mirror_front_era_mode,
)
from mcp import ClientSession
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage

from ._gateway import behind
from .errors import GatewayError, NotFoundError, UnauthenticatedError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._gateway import Gateway, Link
    from ._native import Admitted

__all__ = ["GatewayMiddleware", "GatewayProvider", "GatewayTokenVerifier", "GatewayTransport", "serving"]

Trust: TypeAlias = Literal["program"]

# A caller as the gateway is told of it.
_Who: TypeAlias = dict[str, str]
_PROGRAM: _Who = {}
_NOBODY: _Who = {"peer": ""}


def _trusted(trust: Trust | None) -> bool:
    if trust not in (None, "program"):
        raise ValueError(f"`trust` is 'program' or left out, not {trust!r}")
    return trust is not None


def _caller() -> _Who | None:
    """The caller of the current request; ``None`` outside of a FastMCP server's HTTP request and of a request of the gateway."""
    if behind.get():
        return _NOBODY
    token, peer = get_access_token(), _peer()
    if token is not None:
        return {"authorization": f"Bearer {token.token}", "peer": peer or ""}
    # Its address says nothing of it: it may have come through a proxy on this machine.
    return None if peer is None else _NOBODY


def _message(received: bytes) -> SessionMessage:
    return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(received, by_name=False))


def _bytes(sent: SessionMessage | Exception) -> bytes:
    assert isinstance(sent, SessionMessage)
    return sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode()


class GatewayTransport(ClientTransport):
    """A FastMCP client's way straight into a gateway: ``Client(GatewayTransport(gateway))``.

    With ``service`` the client sees that service alone, with its own names. ``builtin`` shows it the gateway's own tools, too.
    ``authorization`` is the credential to call with, such as ``Bearer mcp_…``. Without it the client has the program's own rights; one that
    is opened within a request to a FastMCP server has the rights of whoever sent that, unless ``trust`` is ``"program"``.
    """

    def __init__(
        self,
        gateway: Gateway,
        service: str | None = None,
        *,
        authorization: str | None = None,
        builtin: bool = False,
        trust: Trust | None = None,
    ) -> None:
        self._gateway = gateway
        self._service = service
        self._builtin = builtin
        self._who = _PROGRAM if _trusted(trust) else None
        if authorization is not None:
            self._who = {"authorization": authorization}

    @contextlib.asynccontextmanager
    async def connect_session(
        self, *, transport_options: TransportOptions | None = None, **session_kwargs: Unpack[SessionKwargs]
    ) -> AsyncGenerator[ClientSession, None]:
        """Opens a line to the gateway, and a session over it."""
        options = transport_options or TransportOptions()
        who = _caller() if self._who is None else self._who
        line = self._gateway._attach({"service": self._service, "builtin": self._builtin, **(who or _PROGRAM)})
        do = self._gateway._do
        async with create_client_server_memory_streams() as (client, (said, heard)):

            async def send() -> None:
                async for message in said:
                    await do(line.send, _bytes(message))

            async def receive() -> None:
                with contextlib.suppress(GatewayError):
                    while (message := await do(line.receive)) is not None:
                        await heard.send(_message(message))
                # The gateway has ended the session, so that it is over for the client, too: the next one opens another.
                pumps.cancel_scope.cancel()

            async with anyio.create_task_group() as pumps:
                pumps.start_soon(send)
                pumps.start_soon(receive)
                try:
                    session = options.session_class(read_stream=client[0], write_stream=client[1], **session_kwargs)
                    async with session:
                        yield session
                finally:
                    with anyio.CancelScope(shield=True), contextlib.suppress(GatewayError):
                        await do(line.end)
                    pumps.cancel_scope.cancel()

    def __repr__(self) -> str:
        return f"<GatewayTransport(service={self._service!r})>"


class GatewayProvider(ProxyProvider):
    """What a gateway offers, inside a FastMCP server: ``FastMCP("mine", providers=[GatewayProvider(gateway)])``.

    Tools, resources, templates and prompts of one ``service``, or of all with names such as ``service__tool``. A server that asks its
    client something asks the client of the FastMCP server. Each session of the FastMCP server has one session with the gateway, opened
    by its first call, of the same era; it ends with the one that it belongs to, or with the FastMCP server.

    A caller has the rights that the gateway gives to its token, which :class:`GatewayTokenVerifier` lets in; one without such a token is
    offered nothing. With ``trust="program"`` all callers have the rights of this program: whoever reaches the FastMCP server calls
    whatever the gateway offers. The gateway's own tool, ``gateway__find_tools``, is offered with ``builtin=True`` alone.
    """

    def __init__(
        self,
        gateway: Gateway,
        service: str | None = None,
        *,
        builtin: bool = False,
        trust: Trust | None = None,
        **options: Any,
    ) -> None:
        self._gateway = gateway
        self._service = service
        self._builtin = builtin
        self._trusted = _trusted(trust)
        # One for each caller, so that nobody takes up a session that another has opened.
        self._clients: dict[tuple[tuple[str, str], ...], StatefulProxyClient[GatewayTransport]] = {}
        if not self._trusted:
            # What one caller may see is no answer for another.
            options.setdefault("cache_ttl", 0)
        super().__init__(self._client, **options)

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        """As long as the FastMCP server runs."""
        try:
            yield
        finally:
            for clients in self._clients.values():
                await clients.clear()  # type: ignore[no-untyped-call]

    def _client(self) -> Client[Any]:
        clients = self._clients_of(_PROGRAM if self._trusted else _caller() or _NOBODY)
        try:
            client = clients.new_stateful()
        except RuntimeError:
            # The program calls a tool of its own server: there is no session that another call could share.
            return ProxyClient(clients.transport)
        client.mode = _mirror_front_era_mode() or client.mode
        return client

    def _clients_of(self, who: _Who) -> StatefulProxyClient[GatewayTransport]:
        key = tuple(who.items())
        if (known := self._clients.get(key)) is None:
            self._clients = {caller: clients for caller, clients in self._clients.items() if clients._caches}
            transport = GatewayTransport(self._gateway, self._service, builtin=self._builtin)
            transport._who = who
            known = self._clients[key] = StatefulProxyClient(transport)
        return known


class GatewayTokenVerifier(TokenVerifier):
    """Lets the gateway's API keys, and whatever other tokens it takes, into a FastMCP server."""

    def __init__(self, gateway: Gateway, **options: Any) -> None:
        super().__init__(**options)
        self._gateway = gateway

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whom the token stands for; ``None`` if it does not hold."""
        try:
            identity = await self._gateway.authenticate(f"Bearer {token}")
        except UnauthenticatedError:
            return None
        ends = identity["expires_at"]
        return AccessToken(
            token=token,
            client_id=identity["subject"],
            scopes=identity["scopes"] or [],
            expires_at=int(datetime.fromisoformat(ends.replace("Z", "+00:00")).timestamp()) if ends else None,
            claims=dict(identity),
        )


class GatewayMiddleware(Middleware):
    """Holds what a FastMCP server offers to a gateway's rules: ``FastMCP("mine", middleware=[GatewayMiddleware(gateway)])``.

    Whoever calls must be let by the matrix of roles and scopes, by the rules of ``access`` and by the limits. What the rules keep from a
    caller is neither listed nor known when it is called; a refusal is the error that the gateway itself would answer with, and says in
    ``retry_after_seconds`` when a caller that went over a limit may come back. Calls of tools, reads and prompts are in the gateway's
    audit trail with what came of them, lists where ``audit.calls`` is set, refusals always.

    Rules and trail know what is offered as ``service``; without it, by the FastMCP server's name. A caller is known by the token that
    the server let in, with :class:`GatewayTokenVerifier` for example; one without a token is refused. With ``trust="program"`` a caller
    without a token that does not come over HTTP, as in this process or over standard input, is the program itself.
    """

    def __init__(self, gateway: Gateway, service: str | None = None, *, trust: Trust | None = None) -> None:
        self._gateway = gateway
        self._service = service
        self._otherwise = _PROGRAM if _trusted(trust) else _NOBODY

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        return await self._answered("tool", context.message.name, context, call_next)

    async def on_read_resource(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        return await self._answered("resource", str(context.message.uri), context, call_next)

    async def on_get_prompt(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        return await self._answered("prompt", context.message.name, context, call_next)

    async def on_list_tools(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        return await self._listed("tool", "name", context, call_next)

    async def on_list_resources(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        return await self._listed("resource", "uri", context, call_next)

    async def on_list_resource_templates(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        return await self._listed("resource_template", "uri_template", context, call_next)

    async def on_list_prompts(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        return await self._listed("prompt", "name", context, call_next)

    async def _answered(
        self, kind: str, name: str, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        try:
            admitted = await self._admit(context, name)
        except NotFoundError as kept:
            # In FastMCP's own words, so that it cannot be told from what is not there.
            raise UnknownError(f"Unknown {kind}: {name!r}") from kept
        with admitted:
            return await call_next(context)

    async def _listed(
        self, kind: str, member: str, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        with await self._admit(context, None) as admitted:
            return [item for item in await call_next(context) if admitted.sees(kind, str(getattr(item, member)))]

    async def _admit(self, context: MiddlewareContext[Any], name: str | None) -> Admitted:
        server = context.fastmcp_context
        asked = {
            "method": context.method,
            "service": self._service or (server.fastmcp.name if server else ""),
            "name": name,
            **(_caller() or self._otherwise),
        }
        try:
            return await self._gateway._admit(asked)
        except GatewayError as refused:
            if "code" not in refused.context or isinstance(refused, NotFoundError):
                raise
            told = {"kind": refused.kind, "retryable": refused.retryable, **refused.context}
            raise McpError(code=int(refused.context["code"]), message=refused.message, data=told) from refused


def _peer() -> str | None:
    """The address of whoever calls over HTTP; ``None`` if the call did not come that way."""
    try:
        client = get_http_request().client
    except RuntimeError:
        return None
    return client.host if client else ""


def serving(server: Any) -> Callable[[Link], Awaitable[None]]:
    """How a FastMCP server, or one of the SDK's, is served on a link of the gateway's."""
    from fastmcp.client.transports.memory import _enter_server_lifespan, _lowlevel_of

    lowlevel = _lowlevel_of(server)

    async def serve(link: Link) -> None:
        async with (
            _enter_server_lifespan(server=server),
            create_client_server_memory_streams() as ((answers, asked), streams),
            anyio.create_task_group() as pumps,
        ):

            async def send() -> None:
                async for message in answers:
                    await link.send(_bytes(message))

            async def receive() -> None:
                while (message := await link.receive()) is not None:
                    await asked.send(_message(message))
                pumps.cancel_scope.cancel()

            pumps.start_soon(send)
            pumps.start_soon(receive)
            await lowlevel.run(*streams, cast("Any", lowlevel.create_initialization_options()))

    return serve
