"""The verbs, for tasks that wait."""

# The methods stand in the order of the verbs of the core's facade.
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .types import (
        ApiKey,
        ApiKeyPage,
        Arguments,
        AuditChain,
        AuditPage,
        AuditSearch,
        CallWishes,
        Changes,
        Credential,
        CredentialList,
        Definitions,
        Diagnosis,
        Found,
        Health,
        HealthHistory,
        HealthStatus,
        Identity,
        KeyMembers,
        Login,
        LoginWish,
        NewApiKey,
        RegistrationMembers,
        Result,
        SearchResults,
        Server,
        ServerPage,
        Stats,
        Status,
        Tenant,
        TenantChanges,
        TenantList,
    )


class Verbs:
    """What can be asked of a gateway with one document."""

    async def _perform(self, verb: str, members: dict[str, Any]) -> Any:
        raise NotImplementedError

    async def register(self, name: str, /, **members: Unpack[RegistrationMembers]) -> Server:
        """Registers a server; it is asked what it offers in the background."""
        return await self._perform("register", {"name": name, **members})  # type: ignore[no-any-return]

    async def update(self, server: str, /, *, revision: int | None = None, **changes: Unpack[Changes]) -> Server:
        """Changes a server, named by its id or its name; with ``revision``, only if it is still that."""
        return await self._perform("update", {"server": server, "changes": changes, "revision": revision})  # type: ignore[no-any-return]

    async def remove(self, server: str, /, *, revision: int | None = None) -> None:
        """Removes a server; its calls end and its name is free again."""
        await self._perform("remove", {"server": server, "revision": revision})

    async def approve(self, server: str, /) -> Server:
        """Takes up definitions of a server that wait for approval."""
        return await self._perform("approve", {"server": server})  # type: ignore[no-any-return]

    async def get(self, server: str, /) -> Server:
        """One server."""
        return await self._perform("get", {"server": server})  # type: ignore[no-any-return]

    async def list(self, *, page: int | None = None, limit: int | None = None, status: Status | None = None, health_status: HealthStatus | None = None, tags: Sequence[str] = (), search: str | None = None, include_tools: bool = False, include_resources: bool = False) -> ServerPage:
        """A page of the registered servers, ordered by name."""
        return await self._perform("list", {"page": page, "limit": limit, "status": status, "health_status": health_status, "tags": tags, "search": search, "include_tools": include_tools, "include_resources": include_resources})  # type: ignore[no-any-return]

    async def find_tools(self, *names: str) -> Found:
        """The servers that offer all of these tools, healthy or not."""
        return await self._perform("find", {"tools": names})  # type: ignore[no-any-return]

    async def find_resources(self, *uris: str) -> Found:
        """The servers that offer all of these resources, healthy or not."""
        return await self._perform("find", {"resources": uris})  # type: ignore[no-any-return]

    async def find_prompts(self, *names: str) -> Found:
        """The servers that offer all of these prompts, healthy or not."""
        return await self._perform("find", {"prompts": names})  # type: ignore[no-any-return]

    async def search(self, query: str, /, *, limit: int | None = None) -> SearchResults:
        """Searches names, descriptions and tags; the best come first."""
        return await self._perform("search", {"query": query, "limit": limit})  # type: ignore[no-any-return]

    async def capabilities(self, server: str, /) -> Definitions:
        """What a server offers, as far as it is known."""
        return await self._perform("capabilities", {"server": server})  # type: ignore[no-any-return]

    async def discover(self, server: str, /) -> Definitions:
        """Asks a server now what it offers."""
        return await self._perform("discover", {"server": server})  # type: ignore[no-any-return]

    async def health(self, server: str, /) -> Health:
        """Probes a server now."""
        return await self._perform("health", {"server": server})  # type: ignore[no-any-return]

    async def diagnose(self, server: str, /) -> Diagnosis:
        """Examines a server step by step, and says what to do."""
        return await self._perform("diagnose", {"server": server})  # type: ignore[no-any-return]

    async def health_history(self, server: str, /, *, limit: int | None = None) -> HealthHistory:
        """What probes of a server found, newest first."""
        return await self._perform("health_history", {"server": server, "limit": limit})  # type: ignore[no-any-return]

    async def call_tool(self, name: str, arguments: Arguments | None = None, /, **wishes: Unpack[CallWishes]) -> Result:
        """Calls a tool: ``service__tool``, or the tool's own name with ``service``."""
        return await self._perform("call_tool", {"name": name, "arguments": arguments, **wishes})  # type: ignore[no-any-return]

    async def read_resource(self, uri: str, /, **wishes: Unpack[CallWishes]) -> Result:
        """Reads a resource."""
        return await self._perform("read_resource", {"uri": uri, **wishes})  # type: ignore[no-any-return]

    async def get_prompt(self, name: str, arguments: Arguments | None = None, /, **wishes: Unpack[CallWishes]) -> Result:
        """Gets a prompt."""
        return await self._perform("get_prompt", {"name": name, "arguments": arguments, **wishes})  # type: ignore[no-any-return]

    async def complete(self, ref: dict[str, Any], argument: dict[str, str], /, *, context: dict[str, Any] | None = None, **wishes: Unpack[CallWishes]) -> Result:
        """Completes an argument of a prompt or of a resource template."""
        return await self._perform("complete", {"ref": ref, "argument": argument, "context": context, **wishes})  # type: ignore[no-any-return]

    async def list_tools(self, *, cursor: str | None = None, **wishes: Unpack[CallWishes]) -> Result:
        """The tools of all services, or of one."""
        return await self._perform("list_tools", {"cursor": cursor, **wishes})  # type: ignore[no-any-return]

    async def list_resources(self, *, cursor: str | None = None, **wishes: Unpack[CallWishes]) -> Result:
        """The resources of all services, or of one."""
        return await self._perform("list_resources", {"cursor": cursor, **wishes})  # type: ignore[no-any-return]

    async def list_resource_templates(self, *, cursor: str | None = None, **wishes: Unpack[CallWishes]) -> Result:
        """The resource templates of all services, or of one."""
        return await self._perform("list_resource_templates", {"cursor": cursor, **wishes})  # type: ignore[no-any-return]

    async def list_prompts(self, *, cursor: str | None = None, **wishes: Unpack[CallWishes]) -> Result:
        """The prompts of all services, or of one."""
        return await self._perform("list_prompts", {"cursor": cursor, **wishes})  # type: ignore[no-any-return]

    async def request(self, method: str, params: dict[str, Any] | None = None, /, **wishes: Unpack[CallWishes]) -> Result:
        """Sends any MCP request."""
        return await self._perform("request", {"method": method, "params": params, **wishes})  # type: ignore[no-any-return]

    async def create_key(self, name: str, /, **members: Unpack[KeyMembers]) -> NewApiKey:
        """Makes an API key, which is in the answer and nowhere else."""
        return await self._perform("create_key", {"name": name, **members})  # type: ignore[no-any-return]

    async def get_key(self, key: str, /) -> ApiKey:
        """The record of an API key, by its id."""
        return await self._perform("get_key", {"key": key})  # type: ignore[no-any-return]

    async def list_keys(self, *, page: int | None = None, limit: int | None = None) -> ApiKeyPage:
        """A page of the API keys, newest first."""
        return await self._perform("list_keys", {"page": page, "limit": limit})  # type: ignore[no-any-return]

    async def rotate_key(self, key: str, /) -> NewApiKey:
        """Replaces an API key; the old one holds for another 24 hours."""
        return await self._perform("rotate_key", {"key": key})  # type: ignore[no-any-return]

    async def revoke_key(self, key: str, /) -> None:
        """Revokes an API key: it does not hold any more."""
        await self._perform("revoke_key", {"key": key})

    async def create_tenant(self, id: str, /, *, display_name: str | None = None) -> Tenant:
        """Makes a tenant; an id that was taken once stays taken."""
        return await self._perform("create_tenant", {"id": id, "display_name": display_name})  # type: ignore[no-any-return]

    async def get_tenant(self, tenant: str, /) -> Tenant:
        """One tenant, by its id."""
        return await self._perform("get_tenant", {"tenant": tenant})  # type: ignore[no-any-return]

    async def list_tenants(self) -> TenantList:
        """The tenants, ordered by id."""
        return await self._perform("list_tenants", {})  # type: ignore[no-any-return]

    async def update_tenant(self, tenant: str, /, **changes: Unpack[TenantChanges]) -> Tenant:
        """Changes a tenant; of one that is disabled nobody is let in."""
        return await self._perform("update_tenant", {"tenant": tenant, "changes": changes})  # type: ignore[no-any-return]

    async def delete_tenant(self, tenant: str, /) -> None:
        """Deletes a tenant with its servers; its audit trail stays."""
        await self._perform("delete_tenant", {"tenant": tenant})

    async def set_credential(self, server: str, header: str, value: str, /, *, subject: str | None = None) -> Credential:
        """Sets what a server is shown in a header of every request, or of those for one caller; the value is kept sealed."""
        return await self._perform("set_credential", {"server": server, "credential": {"header": header, "value": value, "subject": subject}})  # type: ignore[no-any-return]

    async def list_credentials(self, server: str, /) -> CredentialList:
        """What a server is shown, without the values."""
        return await self._perform("list_credentials", {"server": server})  # type: ignore[no-any-return]

    async def remove_credential(self, server: str, header: str, /, *, subject: str | None = None) -> None:
        """Shows a server nothing in this header any more."""
        await self._perform("remove_credential", {"server": server, "header": header, "subject": subject})

    async def begin_login(self, server: str, /, **wish: Unpack[LoginWish]) -> Login:
        """Begins to let the gateway into a server by OAuth: a person goes to ``authorization_url`` and is sent back to
        the ``redirect_uri`` of the answer, which is below the page that was named and for this authorization server alone."""
        return await self._perform("begin_login", {"server": server, **wish})  # type: ignore[no-any-return]

    async def finish_login(
        self, *, state: str, code: str, iss: str | None = None, redirect_uri: str | None = None
    ) -> Credential:
        """Ends a login with what the browser brought to ``redirect_uri``, the one that ``begin_login`` answered."""
        return await self._perform(  # type: ignore[no-any-return]
            "finish_login", {"state": state, "code": code, "iss": iss, "redirect_uri": redirect_uri}
        )

    async def audit(self, **search: Unpack[AuditSearch]) -> AuditPage:
        """A page of the audit trail, newest first."""
        return await self._perform("audit", {**search})  # type: ignore[no-any-return]

    async def verify_audit(self) -> AuditChain:
        """Follows the chain of the audit trail from the first row that is kept to its signed end."""
        return await self._perform("verify_audit", {})  # type: ignore[no-any-return]

    async def stats(self) -> Stats:
        """Counts over the register."""
        return await self._perform("stats", {})  # type: ignore[no-any-return]

    async def metrics(self) -> dict[str, Any]:
        """What routing knows of each server, by its id."""
        return await self._perform("metrics", {})  # type: ignore[no-any-return]

    async def active_requests(self) -> dict[str, Any]:
        """The calls under way."""
        return await self._perform("active_requests", {})  # type: ignore[no-any-return]

    async def cancel_request(self, request_id: str, /) -> None:
        """Cancels a call under way."""
        await self._perform("cancel_request", {"request_id": request_id})

    async def authenticate(self, authorization: str | None = None, /) -> Identity:
        """Whom a credential stands for, such as ``Bearer mcp_…``."""
        return await self._perform("authenticate", {"authorization": authorization})  # type: ignore[no-any-return]

    async def authorize(self, operation: str, /, *, authorization: str | None = None) -> Identity:
        """The same, if it may do this, such as ``tools.call``."""
        return await self._perform("authorize", {"operation": operation, "authorization": authorization})  # type: ignore[no-any-return]
