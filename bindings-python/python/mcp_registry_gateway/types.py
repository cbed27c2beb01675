"""The types of arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired, Required

__all__ = [
    "Algorithm",
    "Arguments",
    "HealthStatus",
    "Opened",
    "Part",
    "Registration",
    "RegistrationMembers",
    "Role",
    "ServerState",
    "Status",
    "Transport",
]

Arguments: TypeAlias = Mapping[str, Any] | Any
"""The arguments of a tool: a mapping, a pydantic model or a dataclass."""

Transport = Literal["http", "sse", "websocket", "stdio", "memory"]
Status = Literal["active", "inactive", "maintenance", "error"]
HealthStatus = Literal["healthy", "degraded", "unhealthy", "unreachable", "unknown"]
ServerState = Literal["starting", "ready", "partial", "unreachable", "unauthorized", "paused"]
Algorithm = Literal["round_robin", "weighted", "least_connections", "random", "consistent_hash"]
Part = Literal["rest", "events", "metrics", "docs", "health", "builtin"]
Role = Literal["admin", "manager", "developer", "analyst", "viewer", "guest"]


class RegistrationMembers(TypedDict, total=False):
    """The members of a registration besides its name; core/docs/reference/settings.md has their meanings."""

    endpoint_url: str | None
    command: str | None
    args: list[str]
    env: dict[str, str]
    cwd: str | None
    transport_type: Transport | None
    service: str | None
    version: str | None
    display_name: str | None
    description: str | None
    capabilities: dict[str, Any] | None
    tags: list[str]
    weight: int | None
    auto_discover: bool | None
    health_check: dict[str, Any] | None
    configuration: dict[str, Any] | None
    status: Status | None


class Registration(RegistrationMembers):
    """A registration."""

    name: Required[str]


class Opened(TypedDict, total=False):
    """The document that opens a gateway."""

    config: Any
    url: str | None
    data_dir: str | None
    servers: Any
