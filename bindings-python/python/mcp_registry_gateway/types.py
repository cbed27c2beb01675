"""The documents that the gateway takes and gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired, Required

__all__ = [
    "ApiKey",
    "Arguments",
    "AuditChain",
    "AuditPage",
    "AuditRow",
    "AuditSearch",
    "CallWishes",
    "Credential",
    "CredentialList",
    "Definitions",
    "Diagnosis",
    "Event",
    "Found",
    "Health",
    "HealthHistory",
    "Identity",
    "Login",
    "LoginWish",
    "NewApiKey",
    "Opened",
    "Page",
    "Part",
    "Problem",
    "Registration",
    "KeyMembers",
    "RegistrationMembers",
    "Result",
    "SearchResults",
    "Server",
    "ServerPage",
    "Stats",
    "Tenant",
    "TenantChanges",
    "TenantList",
]

Arguments = dict[str, Any]
Result = dict[str, Any]
"""What a server answered, member by member as it came."""

Transport = Literal["http", "sse", "websocket", "stdio", "memory"]
Status = Literal["active", "inactive", "maintenance", "error"]
ServerState = Literal["starting", "ready", "partial", "unreachable", "unauthorized", "paused"]
HealthStatus = Literal["healthy", "degraded", "unhealthy", "unreachable", "unknown"]
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


class KeyMembers(TypedDict, total=False):
    """What an API key is to be, besides its name; what is left out is as the REST API has it."""

    role: Role
    scopes: list[str] | None
    server_id: str | None
    expires_in_days: int
    requests_per_minute: int | None


class Registration(RegistrationMembers):
    """A registration."""

    name: Required[str]


class Changes(RegistrationMembers, total=False):
    """A change: what is absent stays as it is."""

    status: Status | None


class CallWishes(TypedDict, total=False):
    """How a call is made."""

    service: str | None
    """The service, whose own names are used then; without it, names are ``service__name``."""
    required_tools: list[str] | None
    required_resources: list[str] | None
    preferred_servers: list[str] | None
    timeout_seconds: float | None
    authorization: str | None
    """The credential to call with, such as ``Bearer mcp_…``; without it, the program's own rights."""


class Problem(TypedDict):
    """Something that is wrong with a server, or with a part of it."""

    what: Literal["server", "unauthorized", "list", "item", "repaired"]
    item: str | None
    reason: str
    since: str
    next_attempt: str | None


class Server(TypedDict):
    """A registered server. Secrets are shown as ``***``."""

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
    last_health_check: str | None
    created_at: str
    updated_at: str
    revision: int
    state: ServerState
    problems: list[Problem]
    last_start_ms: int | None
    size: dict[str, int]
    """``bytes``, and ``tokens`` as estimated."""
    last_error: str | None
    progress: NotRequired[str]
    last_output: NotRequired[list[str]]
    command: NotRequired[str]
    args: NotRequired[list[str]]
    env: NotRequired[dict[str, str]]
    cwd: NotRequired[str]
    warnings: NotRequired[list[str]]
    drift: NotRequired[dict[str, Any]]
    tools: NotRequired[list[dict[str, Any]]]
    resources: NotRequired[list[dict[str, Any]]]


class Diagnosis(TypedDict):
    """The examination of a server, step by step."""

    server_id: str
    name: str
    ok: bool
    state: ServerState
    steps: list[dict[str, Any]]
    """Each has ``step``, ``outcome``, ``took_ms``, ``found`` and ``advice``."""
    problems: list[Problem]
    last_output: list[str]


class Page(TypedDict):
    """Which part of a list this is."""

    total: int
    page: int
    limit: int


class ServerPage(Page):
    """One page of servers, ordered by name."""

    servers: list[Server]


class Found(TypedDict, total=False):
    """The servers that offer all of what was asked for, with the matches."""

    servers: Required[list[dict[str, Any]]]
    tools: list[str]
    resources: list[str]
    prompts: list[str]


class SearchResults(TypedDict):
    """What a search found, best first."""

    query: str
    results: list[dict[str, Any]]


class Definitions(TypedDict):
    """What a server offers, as it defines it."""

    tools: list[dict[str, Any]]
    resources: list[dict[str, Any]]
    resourceTemplates: list[dict[str, Any]]
    prompts: list[dict[str, Any]]


class Health(TypedDict):
    """What a probe found."""

    server_id: str
    health_status: HealthStatus
    response_time_ms: int
    checked_at: str
    error: str | None


class HealthHistory(TypedDict):
    """How a server was, newest first."""

    server_id: str
    history: list[dict[str, Any]]


class ApiKey(TypedDict):
    """An API key, without the key."""

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
    created_at: str
    expires_at: str
    last_used_at: str | None
    uses: int
    rotated_to: str | None
    revoked_at: str | None


class NewApiKey(ApiKey):
    """An API key that was just made, with the key, which is shown this once."""

    key: str


class ApiKeyPage(Page):
    """One page of API keys, newest first."""

    keys: list[ApiKey]


class TenantChanges(TypedDict, total=False):
    """What is to be changed of a tenant; what is left out stays as it is."""

    display_name: str
    enabled: bool


class Tenant(TypedDict):
    """A tenant."""

    id: str
    display_name: str | None
    status: Literal["active", "disabled", "deleted"]
    created_at: str
    updated_at: str


class TenantList(TypedDict):
    """The tenants, ordered by id."""

    tenants: list[Tenant]
    total: int


class Authorized(TypedDict):
    """What is told of an authorization by OAuth."""

    issuer: NotRequired[str]
    scopes: list[str]
    expires_at: NotRequired[str]
    renewable: bool


class Credential(TypedDict):
    """What is told of a credential: everything but its value."""

    kind: Literal["header", "oauth"]
    header: str
    subject: NotRequired[str]
    origin: str
    key_id: str
    created_by: str
    created_at: str
    authorized: NotRequired[Authorized]


class CredentialList(TypedDict):
    """A server's credentials, by subject and header."""

    credentials: list[Credential]


class LoginWish(TypedDict, total=False):
    """How to log in; the gateway finds out by itself what is left out."""

    redirect_uri: Required[str]
    subject: str | None
    client_id: str | None
    client_secret: str | None
    client_metadata_url: str | None
    scopes: list[str]


class Login(TypedDict):
    """A login that has begun."""

    authorization_url: str
    redirect_uri: str
    expires_at: str


# A keyword of the language can be no member of a class; `audit(**{"from": "2026-01-01T00:00:00Z"})` says it all the same.
_From = TypedDict("_From", {"from": "str | None"}, total=False)


class AuditSearch(_From, total=False):
    """Which rows are asked for, with ``from``; what is left out asks for all."""

    before: int | None
    to: str | None
    actor: str | None
    action: str | None
    target: str | None
    outcome: str | None
    limit: int | None


class AuditRow(TypedDict):
    """One row of the audit trail."""

    number: int
    at: str
    tenant_id: str
    actor: str
    action: str
    target: str
    outcome: str
    correlation_id: str | None
    detail: dict[str, Any]
    hash: str


class AuditPage(TypedDict):
    """One page of the audit trail, newest first."""

    rows: list[AuditRow]
    next: int | None


class AuditChain(TypedDict):
    """What following the chain of the audit trail found."""

    first: int
    last: int
    hash: str
    key_id: str
    hold: bool
    intact: bool
    row: int | None
    problem: str | None


class Stats(TypedDict):
    """Counts over the register."""

    total_servers: int
    servers_by_status: dict[str, int]
    servers_by_transport: dict[str, int]
    servers_by_health: dict[str, int]
    servers_by_state: dict[str, int]
    sessions: int
    active_requests: int


class Event(TypedDict):
    """A change of a server; ``lagged`` says that some were missed."""

    type: Literal[
        "server.registered", "server.updated", "server.removed", "server.discovered", "server.health", "lagged"
    ]
    timestamp: str
    server_id: NotRequired[str]
    name: NotRequired[str]
    service: NotRequired[str]
    status: NotRequired[Status]
    health_status: NotRequired[HealthStatus]
    revision: NotRequired[int]
    to: NotRequired[HealthStatus]


class Identity(TypedDict):
    """Whom a credential stands for."""

    tenant: str
    subject: str
    role: Role
    scopes: list[str] | None
    expires_at: str | None


class Opened(TypedDict, total=False):
    """The document that opens a gateway."""

    config: Any
    url: str | None
    data_dir: str | None
    servers: Any
