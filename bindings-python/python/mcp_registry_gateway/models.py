"""The records that the gateway itself answers with: servers, health, keys, tenants, credentials, the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ._records import Record
from .types import HealthStatus, Role, ServerState, Status, Transport

__all__ = [
    "ApiKey",
    "ApiKeyPage",
    "AuditChain",
    "AuditPage",
    "AuditRow",
    "Authorized",
    "Credential",
    "CredentialList",
    "Definitions",
    "Diagnosis",
    "Event",
    "Found",
    "FoundServer",
    "Health",
    "HealthHistory",
    "Identity",
    "Login",
    "NewApiKey",
    "Observation",
    "Page",
    "Problem",
    "SearchResult",
    "SearchResults",
    "Server",
    "ServerPage",
    "Stats",
    "Tenant",
    "TenantList",
]


class Problem(Record):
    """A part of a server that does not work: what it is, why, and when the gateway asks again."""

    what: Literal["server", "unauthorized", "list", "item", "repaired"]
    item: str | None
    reason: str
    since: datetime
    next_attempt: datetime | None


class Server(Record):
    """A registered server. Secrets are displayed as ``***``."""

    id: str
    tenant_id: str
    name: str
    service: str
    endpoint_url: str | None
    transport_type: Transport
    version: str | None
    display_name: str | None
    description: str | None
    capabilities: dict[str, list[str]]
    tags: list[str]
    weight: int
    auto_discover: bool
    health_check: dict[str, Any]
    configuration: dict[str, Any]
    status: Status
    health_status: HealthStatus
    state: ServerState | None
    problems: list[Problem] | None
    last_start_ms: int | None
    size: dict[str, int] | None
    last_error: str | None
    progress: str | None
    last_output: list[str] | None
    last_health_check: datetime | None
    created_at: datetime
    updated_at: datetime
    revision: int
    command: str | None
    args: list[str] | None
    env: dict[str, str] | None
    cwd: str | None
    warnings: list[str] | None
    drift: dict[str, Any] | None
    tools: list[dict[str, Any]] | None
    resources: list[dict[str, Any]] | None

    def __repr__(self) -> str:
        capabilities = self._members.get("capabilities") or {}
        tools = len(capabilities.get("tools") or [])
        state = self._members.get("state") or self._members.get("health_status")
        return f"<Server {self.name} {state}, {tools} tool{'' if tools == 1 else 's'}>"


class Diagnosis(Record):
    """The examination of a server, step by step."""

    server_id: str
    name: str
    ok: bool
    state: ServerState
    steps: list[dict[str, Any]]
    problems: list[Problem]
    last_output: list[str]


class Page(Record):
    """A part of a list."""

    total: int
    page: int
    limit: int


class ServerPage(Page):
    """One page of servers, ordered by name."""

    servers: list[Server]


class FoundServer(Record):
    """A server that offers all of the names asked for."""

    id: str
    name: str
    endpoint_url: str | None
    health_status: HealthStatus
    tools: list[dict[str, Any]] | None
    resources: list[dict[str, Any]] | None
    prompts: list[dict[str, Any]] | None


class Found(Record):
    """The servers that offer all of the names asked for, with the matches."""

    servers: list[FoundServer]
    tools: list[str] | None
    resources: list[str] | None
    prompts: list[str] | None


class SearchResult(Record):
    """One match of a search."""

    kind: str | None
    name: str
    server_id: str | None
    description: str | None
    score: float | None


class SearchResults(Record):
    """The matches of a search, best first."""

    query: str
    results: list[SearchResult]


class Definitions(Record, camel=True):
    """The tools, resources and prompts of a server, as it defines them."""

    tools: list[dict[str, Any]]
    resources: list[dict[str, Any]]
    resource_templates: list[dict[str, Any]]
    prompts: list[dict[str, Any]]


class Observation(Record):
    """One probe of a server."""

    health_status: HealthStatus
    response_time_ms: int | None
    checked_at: datetime
    error: str | None


class Health(Record):
    """The result of a probe."""

    server_id: str
    health_status: HealthStatus
    response_time_ms: int
    checked_at: datetime
    error: str | None


class HealthHistory(Record):
    """The last probes of a server, newest first."""

    server_id: str
    history: list[Observation]


class ApiKey(Record):
    """An API key, without its secret."""

    id: str
    tenant_id: str
    name: str
    role: Role
    scopes: list[str] | None
    server_id: str | None
    requests_per_minute: int | None
    active: bool
    prefix: str
    hint: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    uses: int
    rotated_to: str | None
    revoked_at: datetime | None


class NewApiKey(ApiKey):
    """A new API key with its secret, which no later answer has."""

    key: str


class ApiKeyPage(Page):
    """One page of API keys, newest first."""

    @property
    def api_keys(self) -> list[ApiKey]:
        """The keys of this page; as a member it is called ``keys``."""
        return [ApiKey(key) for key in self._members["keys"]]


class Tenant(Record):
    """A tenant."""

    id: str
    display_name: str | None
    status: Literal["active", "disabled", "deleted"]
    created_at: datetime
    updated_at: datetime


class TenantList(Record):
    """The tenants, ordered by id."""

    tenants: list[Tenant]
    total: int


class Authorized(Record):
    """The grant of an OAuth login, without its tokens."""

    issuer: str | None
    scopes: list[str]
    expires_at: datetime | None
    renewable: bool


class Credential(Record):
    """A credential that the gateway sends to a server, without its value."""

    kind: Literal["header", "oauth"]
    header: str
    subject: str | None
    origin: str
    key_id: str
    created_by: str
    created_at: datetime
    authorized: Authorized | None


class CredentialList(Record):
    """A server's credentials, by subject and header."""

    credentials: list[Credential]


class Login(Record):
    """An OAuth login that has begun."""

    authorization_url: str
    redirect_uri: str
    expires_at: datetime


class AuditRow(Record):
    """One row of the audit trail."""

    number: int
    at: datetime
    tenant_id: str
    actor: str
    action: str
    target: str
    outcome: str
    correlation_id: str | None
    detail: dict[str, Any]
    hash: str


class AuditPage(Record):
    """One page of the audit trail, newest first; ``next`` is the ``before`` of the next page."""

    rows: list[AuditRow]
    next: int | None


class AuditChain(Record):
    """The result of following the hash chain of the audit trail."""

    first: int
    last: int
    hash: str
    key_id: str
    hold: bool
    intact: bool
    row: int | None
    problem: str | None


class Stats(Record):
    """Counts of servers, sessions and calls."""

    total_servers: int
    servers_by_status: dict[str, int]
    servers_by_transport: dict[str, int]
    servers_by_health: dict[str, int]
    servers_by_state: dict[str, int]
    sessions: int
    active_requests: int


class Event(Record):
    """A change of a server; ``lagged`` says that some changes were missed."""

    type: Literal["server.registered", "server.updated", "server.removed", "server.discovered", "server.health", "lagged"]
    timestamp: datetime
    server_id: str | None
    name: str | None
    service: str | None
    status: Status | None
    health_status: HealthStatus | None
    revision: int | None
    to: HealthStatus | None


class Identity(Record):
    """The principal of a credential."""

    tenant: str
    subject: str
    role: Role
    scopes: list[str] | None
    expires_at: datetime | None
