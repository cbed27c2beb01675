"""Servers as they are given to a gateway: ``servers={"docs": Http("http://…"), "files": Stdio("npx", "-y", "…")}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .types import Algorithm, Transport

__all__ = ["Http", "ServerDefinition", "Sse", "Stdio", "WebSocket"]


@dataclass(frozen=True, kw_only=True)
class ServerDefinition:
    """The members that every kind of server has.

    Attributes
    ----------
    service
        The service of which the server is a replica; by default the server's own name.
    timeout
        Seconds that a call may take without progress; by default 30.
    max_connections
        Connections, or processes, that are open at the same time at most; by default 50.
    algorithm
        The balancing algorithm of the service.
    configuration
        Further members of the configuration, named as in the reference of settings.
    """

    service: str | None = None
    description: str | None = None
    tags: Sequence[str] = ()
    weight: int | None = None
    timeout: float | None = None
    max_connections: int | None = None
    algorithm: Algorithm | None = None
    auto_discover: bool | None = None
    health_check: Mapping[str, Any] | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)

    def registration(self) -> dict[str, Any]:
        """The members of the registration."""
        settings = {
            "timeout_seconds": self.timeout,
            "max_connections": self.max_connections,
            "algorithm": self.algorithm,
        }
        configuration = {**self.configuration, **{key: value for key, value in settings.items() if value is not None}}
        members = {
            "service": self.service,
            "description": self.description,
            "tags": list(self.tags) or None,
            "weight": self.weight,
            "auto_discover": self.auto_discover,
            "health_check": self.health_check and dict(self.health_check),
            "configuration": configuration or None,
        }
        return {key: value for key, value in members.items() if value is not None}


@dataclass(frozen=True)
class _Remote(ServerDefinition):
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def registration(self) -> dict[str, Any]:
        members = super().registration()
        if self.headers:
            members["configuration"] = {**members.get("configuration", {}), "headers": dict(self.headers)}
        return {**members, "endpoint_url": str(self.url), "transport_type": self._transport()}

    def _transport(self) -> Transport:
        raise NotImplementedError


@dataclass(frozen=True)
class Http(_Remote):
    """A server over streamable HTTP: ``Http("http://127.0.0.1:9000/mcp", headers={"X-Team": "a"})``."""

    def _transport(self) -> Transport:
        return "http"


@dataclass(frozen=True)
class Sse(_Remote):
    """A server over HTTP+SSE, the transport of 2024-11-05."""

    def _transport(self) -> Transport:
        return "sse"


@dataclass(frozen=True)
class WebSocket(_Remote):
    """A server over WebSocket."""

    def _transport(self) -> Transport:
        return "websocket"


@dataclass(frozen=True, init=False)
class Stdio(ServerDefinition):
    """A server that is a program: ``Stdio("npx", "-y", "@modelcontextprotocol/server-filesystem", "/tmp")``.

    Parameters
    ----------
    command
        The program.
    *args
        Its arguments; numbers and paths become texts.
    env
        Variables of its environment, beside those that the gateway passes on.
    cwd
        The folder that it runs in.
    """

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str | None

    def __init__(
        self, command: object, /, *args: object, env: Mapping[str, str] | None = None, cwd: object = None, **common: Any
    ) -> None:
        ServerDefinition.__init__(self, **common)
        for name, value in {
            "command": str(command),
            "args": tuple(str(argument) for argument in args),
            "env": dict(env or {}),
            "cwd": None if cwd is None else str(cwd),
        }.items():
            object.__setattr__(self, name, value)

    def registration(self) -> dict[str, Any]:
        members = {**super().registration(), "command": self.command, "args": list(self.args), "transport_type": "stdio"}
        if self.env:
            members["env"] = dict(self.env)
        if self.cwd is not None:
            members["cwd"] = self.cwd
        return members
