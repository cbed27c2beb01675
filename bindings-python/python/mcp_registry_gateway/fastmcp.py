"""The gateway and FastMCP 4 in one process; `pip install mcp-registry-gateway[fastmcp]` brings it.

- :class:`GatewayProvider` shows what the gateway offers inside a FastMCP server.
- :class:`GatewayTransport` is a FastMCP client's way straight into the gateway, without a socket, in either era.
- :class:`GatewayMiddleware` holds a FastMCP server's own tools to the gateway's keys and roles.
- :class:`GatewayTokenVerifier` lets the gateway's API keys in.

``Gateway.register_inprocess(name, server)`` puts a FastMCP server behind the gateway.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import anyio
import mcp_types
from fastmcp.client.transports.base import ClientTransport, SessionKwargs, TransportOptions
from fastmcp.exceptions import AuthorizationError
from fastmcp.server.auth.auth import AccessToken, TokenVerifier
from fastmcp.server.dependencies import get_access_token
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.server.providers.proxy import ProxyClient, ProxyProvider
from mcp import ClientSession
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage

from .errors import GatewayError, PermissionDeniedError, UnauthenticatedError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._gateway import Gateway, Link

__all__ = ["GatewayMiddleware", "GatewayProvider", "GatewayTokenVerifier", "GatewayTransport", "serving"]


def _message(received: bytes) -> SessionMessage:
    return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(received, by_name=False))


def _bytes(sent: SessionMessage | Exception) -> bytes:
    assert isinstance(sent, SessionMessage)
    return sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode()


class GatewayTransport(ClientTransport):
    """A FastMCP client's way straight into a gateway: ``Client(GatewayTransport(gateway))``.

    With ``service`` the client sees that service alone, with its own names. ``authorization`` is the credential to call with, such as
    ``Bearer mcp_…``; without it the client has the program's own rights.
    """

    def __init__(self, gateway: Gateway, service: str | None = None, *, authorization: str | None = None) -> None:
        self._gateway = gateway
        self._service = service
        self._authorization = authorization

    @contextlib.asynccontextmanager
    async def connect_session(
        self, *, transport_options: TransportOptions | None = None, **session_kwargs: Unpack[SessionKwargs]
    ) -> AsyncGenerator[ClientSession, None]:
        """Opens a line to the gateway, and a session over it."""
        options = transport_options or TransportOptions()
        line = self._gateway._attach(self._service, self._authorization)
        do = self._gateway._do
        async with create_client_server_memory_streams() as (client, (said, heard)):

            async def send() -> None:
                async for message in said:
                    await do(line.send, _bytes(message))

            async def receive() -> None:
                while (message := await do(line.receive)) is not None:
                    await heard.send(_message(message))
                await heard.aclose()

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
    client something asks the client of the FastMCP server.
    """

    def __init__(self, gateway: Gateway, service: str | None = None, **options: Any) -> None:
        super().__init__(lambda: ProxyClient(GatewayTransport(gateway, service)), **options)


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
    """Holds what a FastMCP server offers of its own to the gateway's matrix of roles and scopes.

    Whoever calls is known by the token that the server let in, with :class:`GatewayTokenVerifier` for example; without one it is the
    program itself.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def on_call_tool(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        return await self._admit("tools.call", context, call_next)

    async def on_read_resource(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        return await self._admit("resources.read", context, call_next)

    async def on_get_prompt(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        return await self._admit("prompts.get", context, call_next)

    async def on_list_tools(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        return await self._admit("mcp.list", context, call_next)

    async def on_list_resources(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        return await self._admit("mcp.list", context, call_next)

    async def on_list_prompts(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        return await self._admit("mcp.list", context, call_next)

    async def _admit(self, operation: str, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        token = get_access_token()
        authorization = None if token is None else f"Bearer {token.token}"
        try:
            await self._gateway.authorize(operation, authorization=authorization)
        except (PermissionDeniedError, UnauthenticatedError) as refused:
            raise AuthorizationError(str(refused)) from refused
        return await call_next(context)


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
