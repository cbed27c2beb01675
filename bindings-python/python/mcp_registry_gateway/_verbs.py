"""The operations of a gateway, for tasks that wait."""

# The methods stand in the order of the verbs of the core's facade.
from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

from .errors import ToolError
from .models import (
    ApiKey,
    ApiKeyPage,
    AuditChain,
    AuditPage,
    Credential,
    CredentialList,
    Definitions,
    Diagnosis,
    Found,
    Health,
    HealthHistory,
    Identity,
    Login,
    NewApiKey,
    SearchResults,
    Server,
    ServerPage,
    Stats,
    Tenant,
    TenantList,
)
from .results import (
    Completion,
    PromptList,
    PromptResult,
    ResourceList,
    ResourceResult,
    ResourceTemplateList,
    ToolList,
    ToolResult,
)
from .servers import ServerDefinition

if TYPE_CHECKING:
    from ._conversation import Elicitation, Log, Progress, Sampling
    from .types import Arguments, HealthStatus, Role, Status, Transport

T = TypeVar("T")
_Texts: TypeAlias = Sequence[str]


def _given(**members: Any) -> dict[str, Any]:
    """The members that have a value."""
    return {name: value for name, value in members.items() if value is not None}


def _texts(name: str, values: Sequence[str] | None) -> builtins.list[str] | None:
    if isinstance(values, str):
        raise TypeError(f"`{name}` is a list of texts; write {name}=[{values!r}]")
    return None if values is None else builtins.list(values)


def _registration(server: ServerDefinition | None, members: dict[str, Any]) -> dict[str, Any]:
    if server is not None and not isinstance(server, ServerDefinition):
        raise TypeError(
            f"`server` is Http(…), Sse(…), WebSocket(…) or Stdio(…), not {type(server).__name__}; "
            "`register_inprocess` takes a server of this process"
        )
    return {**(server.registration() if server else {}), **members}


def _arguments(arguments: Any) -> Any:
    if arguments is None or isinstance(arguments, Mapping) or hasattr(arguments, "model_dump"):
        return arguments
    if hasattr(arguments, "__dataclass_fields__"):
        return arguments
    raise TypeError(f"`arguments` is a mapping, a pydantic model or a dataclass, not {type(arguments).__name__}")


def _time(moment: datetime | str | None) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment


class Verbs:
    """The operations of a gateway."""

    async def _perform(self, verb: str, members: dict[str, Any]) -> Any:
        raise NotImplementedError

    async def _converse(self, name: str, members: dict[str, Any], handlers: dict[str, Any]) -> dict[str, Any]:
        raise TypeError("`progress`, `log`, `elicitation` and `sampling` need the asynchronous gateway: `async with Gateway(…)`")

    async def register(
        self,
        name: str,
        server: ServerDefinition | None = None,
        *,
        endpoint_url: str | None = None,
        command: str | None = None,
        args: Sequence[object] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        transport_type: Transport | None = None,
        service: str | None = None,
        version: str | None = None,
        display_name: str | None = None,
        description: str | None = None,
        capabilities: Mapping[str, Any] | None = None,
        tags: _Texts | None = None,
        weight: int | None = None,
        auto_discover: bool | None = None,
        health_check: Mapping[str, Any] | None = None,
        configuration: Mapping[str, Any] | None = None,
    ) -> Server:
        """Registers a server. The gateway discovers its capabilities in the background.

        Parameters
        ----------
        name
            The name, unique within the tenant.
        server
            The server: ``Http(…)``, ``Sse(…)``, ``WebSocket(…)`` or ``Stdio(…)``; keywords override its members.
        endpoint_url
            The URL, instead of ``server``.
        command, args, env, cwd
            The program and its environment, instead of ``server``.
        transport_type
            ``http``, ``sse``, ``websocket`` or ``stdio``; by default ``http`` with a URL and ``stdio`` with a command.
        service
            The service of which the server is a replica; by default the server's own name.
        version, display_name, description, tags
            For people, search and filters.
        capabilities
            Names of tools, resources and prompts, for a server that is not asked.
        weight
            The share under ``weighted`` and ``consistent_hash``; 0 is drained; by default 1.
        auto_discover
            Whether the gateway asks the server for its capabilities; by default ``True``.
        health_check, configuration
            Their members stand in the reference of settings.

        Raises
        ------
        ConflictError
            The name is taken.
        InvalidParamsError
            A member is wrong; ``context["field"]`` names it.

        Examples
        --------
        >>> await gateway.register("docs", Http("http://127.0.0.1:9000/mcp"))  # doctest: +SKIP
        """
        members = _given(
            endpoint_url=endpoint_url,
            command=command,
            args=None if args is None else [str(argument) for argument in args],
            env=env,
            cwd=cwd,
            transport_type=transport_type,
            service=service,
            version=version,
            display_name=display_name,
            description=description,
            capabilities=capabilities,
            tags=_texts("tags", tags),
            weight=weight,
            auto_discover=auto_discover,
            health_check=health_check,
            configuration=configuration,
        )
        return Server(await self._perform("register", {"name": name, **_registration(server, members)}))

    async def update(
        self,
        server: str,
        *,
        revision: int | None = None,
        endpoint_url: str | None = None,
        command: str | None = None,
        args: Sequence[object] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        transport_type: Transport | None = None,
        service: str | None = None,
        version: str | None = None,
        display_name: str | None = None,
        description: str | None = None,
        capabilities: Mapping[str, Any] | None = None,
        tags: _Texts | None = None,
        weight: int | None = None,
        auto_discover: bool | None = None,
        health_check: Mapping[str, Any] | None = None,
        configuration: Mapping[str, Any] | None = None,
        status: Status | None = None,
    ) -> Server:
        """Changes a server, named by its id or its name; a keyword that is left out changes nothing.

        Parameters
        ----------
        server
            The id or the name.
        revision
            Change it only if this is still its revision; else :class:`ConflictError`.
        status
            ``active``, ``inactive`` or ``maintenance``.

        The other keywords are those of :meth:`register`.
        """
        changes = _given(
            endpoint_url=endpoint_url,
            command=command,
            args=None if args is None else [str(argument) for argument in args],
            env=env,
            cwd=cwd,
            transport_type=transport_type,
            service=service,
            version=version,
            display_name=display_name,
            description=description,
            capabilities=capabilities,
            tags=_texts("tags", tags),
            weight=weight,
            auto_discover=auto_discover,
            health_check=health_check,
            configuration=configuration,
            status=status,
        )
        return Server(await self._perform("update", {"server": server, "changes": changes, "revision": revision}))

    async def remove(self, server: str, *, revision: int | None = None) -> None:
        """Removes a server, named by its id or its name; its calls end and its name is free again.

        With ``revision`` it is removed only if this is still its revision; else :class:`ConflictError`.
        """
        await self._perform("remove", {"server": server, "revision": revision})

    async def approve(self, server: str) -> Server:
        """Approves the changed definitions of a server that wait for approval (``configuration.drift = "pin"``)."""
        return Server(await self._perform("approve", {"server": server}))

    async def get(self, server: str) -> Server:
        """Returns one server, named by its id or its name. Raises :class:`NotFoundError`."""
        return Server(await self._perform("get", {"server": server}))

    async def list(
        self,
        *,
        page: int | None = None,
        limit: int | None = None,
        status: Status | None = None,
        health_status: HealthStatus | None = None,
        tags: _Texts = (),
        search: str | None = None,
        include_tools: bool = False,
        include_resources: bool = False,
    ) -> ServerPage:
        """Lists the registered servers, ordered by name.

        Parameters
        ----------
        page, limit
            The page, from 1, and its size: 50 by default, 200 at most.
        status, health_status, tags
            Only servers that have all of these.
        search
            Only servers whose name, service or description contains this text.
        include_tools, include_resources
            Whether each server comes with its definitions.
        """
        members = {
            "page": page,
            "limit": limit,
            "status": status,
            "health_status": health_status,
            "tags": _texts("tags", tags),
            "search": search,
            "include_tools": include_tools,
            "include_resources": include_resources,
        }
        return ServerPage(await self._perform("list", members))

    async def find_tools(self, *names: str) -> Found:
        """Finds the servers that offer all of these tools, healthy or not, with the matching definitions."""
        return Found(await self._perform("find", {"tools": names}))

    async def find_resources(self, *uris: str) -> Found:
        """Finds the servers that offer all of these resources, healthy or not, with the matching definitions."""
        return Found(await self._perform("find", {"resources": uris}))

    async def find_prompts(self, *names: str) -> Found:
        """Finds the servers that offer all of these prompts, healthy or not, with the matching definitions."""
        return Found(await self._perform("find", {"prompts": names}))

    async def search(self, query: str, *, limit: int | None = None) -> SearchResults:
        """Searches names, descriptions and tags of servers, tools, resources and prompts; the best matches come first."""
        return SearchResults(await self._perform("search", {"query": query, "limit": limit}))

    async def capabilities(self, server: str) -> Definitions:
        """Returns the definitions of a server's tools, resources and prompts, as far as they are known."""
        return Definitions(await self._perform("capabilities", {"server": server}))

    async def discover(self, server: str) -> Definitions:
        """Asks a server for its definitions now, and returns them."""
        return Definitions(await self._perform("discover", {"server": server}))

    async def health(self, server: str) -> Health:
        """Probes a server now, and returns the result."""
        return Health(await self._perform("health", {"server": server}))

    async def diagnose(self, server: str) -> Diagnosis:
        """Examines a server step by step (address, connection, start, ``initialize``, lists, ping), and says what to do."""
        return Diagnosis(await self._perform("diagnose", {"server": server}))

    async def health_history(self, server: str, *, limit: int | None = None) -> HealthHistory:
        """Returns the last probes of a server, newest first."""
        return HealthHistory(await self._perform("health_history", {"server": server, "limit": limit}))

    @overload
    async def call_tool(
        self,
        name: str,
        arguments: Arguments | None = None,
        *,
        timeout: float | None = None,
        service: str | None = None,
        progress: Progress | None = None,
        log: Log | None = None,
        elicitation: Elicitation | None = None,
        sampling: Sampling | None = None,
        meta: Mapping[str, Any] | None = None,
        authorization: str | None = None,
        preferred_servers: _Texts | None = None,
        required_tools: _Texts | None = None,
        required_resources: _Texts | None = None,
        raise_on_error: bool = True,
        raw: Literal[False] = False,
    ) -> ToolResult: ...

    @overload
    async def call_tool(
        self,
        name: str,
        arguments: Arguments | None = None,
        *,
        timeout: float | None = None,
        service: str | None = None,
        progress: Progress | None = None,
        log: Log | None = None,
        elicitation: Elicitation | None = None,
        sampling: Sampling | None = None,
        meta: Mapping[str, Any] | None = None,
        authorization: str | None = None,
        preferred_servers: _Texts | None = None,
        required_tools: _Texts | None = None,
        required_resources: _Texts | None = None,
        raise_on_error: bool = True,
        raw: Literal[True],
    ) -> dict[str, Any]: ...

    async def call_tool(
        self,
        name: str,
        arguments: Arguments | None = None,
        *,
        timeout: float | None = None,
        service: str | None = None,
        progress: Progress | None = None,
        log: Log | None = None,
        elicitation: Elicitation | None = None,
        sampling: Sampling | None = None,
        meta: Mapping[str, Any] | None = None,
        authorization: str | None = None,
        preferred_servers: _Texts | None = None,
        required_tools: _Texts | None = None,
        required_resources: _Texts | None = None,
        raise_on_error: bool = True,
        raw: bool = False,
    ) -> ToolResult | dict[str, Any]:
        """Calls a tool.

        Parameters
        ----------
        name
            ``service__tool``, or the tool's own name together with ``service``.
        arguments
            A mapping, a pydantic model or a dataclass; values are written as pydantic writes them.
        timeout
            Seconds that the call may take; by default the server's ``timeout_seconds``.
        service
            The service that has the tool.
        progress
            Called with ``(progress, total, message)`` for each progress notification.
        log
            Called with ``(level, data, logger)`` for each log message of the server during the call.
        elicitation
            Called with the parameters of a question of the server; returns the content, or a mapping with ``action``.
        sampling
            Called with the parameters of a sampling request; returns the text, or the whole result.
        meta
            The request's ``_meta``.
        authorization
            The credential to call with, such as ``Bearer mcp_…``; by default the program's own rights.
        preferred_servers
            Servers, by id or name, that take the call if they can.
        required_tools, required_resources
            Only replicas that offer all of these take the call.
        raise_on_error
            Whether a result with ``isError`` raises :class:`ToolError`.
        raw
            Whether the result comes as a plain dictionary.

        Raises
        ------
        ToolError
            The tool reported an error.
        NotFoundError, InvalidParamsError
            The tool or the service is unknown, or an argument is wrong.
        CallTimeout
            The server did not answer in time.
        UnavailableError
            No replica can take the call now; ``context["retry_after_seconds"]`` is the time to wait.
        BadUpstreamError
            The server broke the connection or answered with an error of its own.

        Examples
        --------
        >>> result = await gateway.call_tool("calc__add", {"a": 1, "b": 2}, timeout=5)  # doctest: +SKIP
        >>> result.data  # doctest: +SKIP
        3
        """
        members = _given(
            name=name,
            arguments=_arguments(arguments),
            _meta=meta,
            service=service,
            timeout_seconds=timeout,
            authorization=authorization,
            preferred_servers=_texts("preferred_servers", preferred_servers),
            required_tools=_texts("required_tools", required_tools),
            required_resources=_texts("required_resources", required_resources),
        )
        handlers = _given(progress=progress, log=log, elicitation=elicitation, sampling=sampling)
        if handlers:
            answered = await self._converse("tools/call", members, handlers)
        else:
            answered = await self._perform("call_tool", members)
        if raise_on_error and answered.get("isError"):
            result = ToolResult(answered)
            raise ToolError(result.text or "the tool reported an error without a text", tool=name, result=result)
        return answered if raw else ToolResult(answered)

    async def read_resource(
        self,
        uri: str,
        *,
        timeout: float | None = None,
        service: str | None = None,
        meta: Mapping[str, Any] | None = None,
        authorization: str | None = None,
        preferred_servers: _Texts | None = None,
    ) -> ResourceResult:
        """Reads a resource; ``service`` names the server where several have the URI. Keywords as in :meth:`call_tool`."""
        members = _given(uri=str(uri), _meta=meta, service=service, timeout_seconds=timeout, authorization=authorization)
        members |= _given(preferred_servers=_texts("preferred_servers", preferred_servers))
        return ResourceResult(await self._perform("read_resource", members))

    async def get_prompt(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        service: str | None = None,
        meta: Mapping[str, Any] | None = None,
        authorization: str | None = None,
        preferred_servers: _Texts | None = None,
    ) -> PromptResult:
        """Gets a prompt. Arguments that are no texts are passed as JSON, as FastMCP does. Keywords as in :meth:`call_tool`."""
        members = _given(
            name=name,
            arguments=None if arguments is None else {key: _prompt_argument(value) for key, value in arguments.items()},
            _meta=meta,
            service=service,
            timeout_seconds=timeout,
            authorization=authorization,
            preferred_servers=_texts("preferred_servers", preferred_servers),
        )
        return PromptResult(await self._perform("get_prompt", members))

    async def complete(
        self,
        ref: Mapping[str, Any],
        argument: Mapping[str, str],
        *,
        context: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        service: str | None = None,
        authorization: str | None = None,
    ) -> Completion:
        """Completes an argument of a prompt (``{"type": "ref/prompt", "name": …}``) or of a resource template.

        Parameters
        ----------
        ref
            The prompt or the template.
        argument
            ``{"name": …, "value": …}``: the argument and its beginning.
        context
            ``{"arguments": {…}}``: arguments that are known already.
        """
        members = _given(
            ref=ref, argument=argument, context=context, service=service, timeout_seconds=timeout, authorization=authorization
        )
        return Completion(await self._perform("complete", members))

    async def list_tools(
        self,
        *,
        cursor: str | None = None,
        service: str | None = None,
        timeout: float | None = None,
        authorization: str | None = None,
    ) -> ToolList:
        """Lists the tools of all services, named ``service__tool``, or of one ``service`` with its own names."""
        return ToolList(await self._listed("list_tools", cursor, service, timeout, authorization))

    async def list_resources(
        self,
        *,
        cursor: str | None = None,
        service: str | None = None,
        timeout: float | None = None,
        authorization: str | None = None,
    ) -> ResourceList:
        """Lists the resources of all services, or of one ``service``."""
        return ResourceList(await self._listed("list_resources", cursor, service, timeout, authorization))

    async def list_resource_templates(
        self,
        *,
        cursor: str | None = None,
        service: str | None = None,
        timeout: float | None = None,
        authorization: str | None = None,
    ) -> ResourceTemplateList:
        """Lists the resource templates of all services, or of one ``service``."""
        return ResourceTemplateList(await self._listed("list_resource_templates", cursor, service, timeout, authorization))

    async def list_prompts(
        self,
        *,
        cursor: str | None = None,
        service: str | None = None,
        timeout: float | None = None,
        authorization: str | None = None,
    ) -> PromptList:
        """Lists the prompts of all services, named ``service__prompt``, or of one ``service`` with its own names."""
        return PromptList(await self._listed("list_prompts", cursor, service, timeout, authorization))

    async def _listed(
        self, verb: str, cursor: str | None, service: str | None, timeout: float | None, authorization: str | None
    ) -> dict[str, Any]:
        members = _given(cursor=cursor, service=service, timeout_seconds=timeout, authorization=authorization)
        listed: dict[str, Any] = await self._perform(verb, members)
        return listed

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        service: str | None = None,
        authorization: str | None = None,
        preferred_servers: _Texts | None = None,
    ) -> dict[str, Any]:
        """Sends any MCP request and returns its result as it came, such as ``request("ping", service="docs")``."""
        members = _given(
            method=method,
            params=params,
            service=service,
            timeout_seconds=timeout,
            authorization=authorization,
            preferred_servers=_texts("preferred_servers", preferred_servers),
        )
        answered: dict[str, Any] = await self._perform("request", members)
        return answered

    async def create_key(
        self,
        name: str,
        *,
        role: Role | None = None,
        scopes: _Texts | None = None,
        server_id: str | None = None,
        expires_in_days: int | None = None,
        requests_per_minute: int | None = None,
    ) -> NewApiKey:
        """Creates an API key. ``key`` of the answer is the secret, which no later answer has.

        Parameters
        ----------
        name
            For people.
        role
            ``admin``, ``manager``, ``developer``, ``analyst``, ``viewer`` (the default) or ``guest``.
        scopes
            Scopes that the key is narrowed to; by default everything that the role may.
        server_id
            The only server for which the key can be used.
        expires_in_days
            Days that the key lives; by default 90.
        requests_per_minute
            The limit of the key, instead of the one of its role.
        """
        members = _given(
            name=name,
            role=role,
            scopes=_texts("scopes", scopes),
            server_id=server_id,
            expires_in_days=expires_in_days,
            requests_per_minute=requests_per_minute,
        )
        return NewApiKey(await self._perform("create_key", members))

    async def get_key(self, key: str) -> ApiKey:
        """Returns the record of an API key, by its id."""
        return ApiKey(await self._perform("get_key", {"key": key}))

    async def list_keys(self, *, page: int | None = None, limit: int | None = None) -> ApiKeyPage:
        """Lists the API keys, newest first."""
        return ApiKeyPage(await self._perform("list_keys", {"page": page, "limit": limit}))

    async def rotate_key(self, key: str) -> NewApiKey:
        """Replaces an API key, by its id; the old key is accepted for another 24 hours."""
        return NewApiKey(await self._perform("rotate_key", {"key": key}))

    async def revoke_key(self, key: str) -> None:
        """Revokes an API key, by its id, at once."""
        await self._perform("revoke_key", {"key": key})

    async def create_tenant(self, id: str, *, display_name: str | None = None) -> Tenant:
        """Creates a tenant; the id of a deleted tenant stays taken."""
        return Tenant(await self._perform("create_tenant", {"id": id, "display_name": display_name}))

    async def get_tenant(self, tenant: str) -> Tenant:
        """Returns one tenant, by its id."""
        return Tenant(await self._perform("get_tenant", {"tenant": tenant}))

    async def list_tenants(self) -> TenantList:
        """Lists the tenants, ordered by id."""
        return TenantList(await self._perform("list_tenants", {}))

    async def update_tenant(
        self, tenant: str, *, display_name: str | None = None, enabled: bool | None = None
    ) -> Tenant:
        """Changes a tenant; ``enabled=False`` refuses its principals and closes their streams."""
        changes = _given(display_name=display_name, enabled=enabled)
        return Tenant(await self._perform("update_tenant", {"tenant": tenant, "changes": changes}))

    async def delete_tenant(self, tenant: str) -> None:
        """Deletes a tenant with its servers; its audit trail stays."""
        await self._perform("delete_tenant", {"tenant": tenant})

    async def set_credential(self, server: str, header: str, value: str, *, subject: str | None = None) -> Credential:
        """Sets a header that the gateway sends to a server with every request, or with those of one caller; the value is sealed.

        Parameters
        ----------
        server
            The id or the name of the server.
        header, value
            Such as ``Authorization`` and ``Bearer …``.
        subject
            The caller for whose calls the header is sent; by default for all.
        """
        credential = {"header": header, "value": value, "subject": subject}
        return Credential(await self._perform("set_credential", {"server": server, "credential": credential}))

    async def list_credentials(self, server: str) -> CredentialList:
        """Lists the credentials that the gateway sends to a server, without their values."""
        return CredentialList(await self._perform("list_credentials", {"server": server}))

    async def remove_credential(self, server: str, header: str, *, subject: str | None = None) -> None:
        """Removes a credential; the gateway no longer sends this header to the server."""
        await self._perform("remove_credential", {"server": server, "header": header, "subject": subject})

    async def begin_login(
        self,
        server: str,
        *,
        redirect_uri: str,
        subject: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        client_metadata_url: str | None = None,
        scopes: _Texts | None = None,
    ) -> Login:
        """Begins an OAuth login of the gateway at a server; send the person to ``authorization_url`` of the answer.

        Parameters
        ----------
        redirect_uri
            A page of the program. The authorization server sends the browser back to the ``redirect_uri`` of the answer, which is
            below this page and for this authorization server alone; pass its query to :meth:`finish_login`.
        subject
            The caller for whom the login is; by default for all calls.
        client_id, client_secret, client_metadata_url
            The gateway's identity at the authorization server; by default it is discovered or registered.
        scopes
            The scopes to ask for; by default those that the server names.
        """
        members = _given(
            server=server,
            redirect_uri=redirect_uri,
            subject=subject,
            client_id=client_id,
            client_secret=client_secret,
            client_metadata_url=client_metadata_url,
            scopes=_texts("scopes", scopes),
        )
        return Login(await self._perform("begin_login", members))

    async def finish_login(
        self, *, state: str, code: str, iss: str | None = None, redirect_uri: str | None = None
    ) -> Credential:
        """Completes a login with the query that the browser brought to ``redirect_uri``, the one that :meth:`begin_login` returned."""
        answer = {"state": state, "code": code, "iss": iss, "redirect_uri": redirect_uri}
        return Credential(await self._perform("finish_login", answer))

    async def search_audit(
        self,
        *,
        before: int | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        outcome: str | None = None,
        limit: int | None = None,
    ) -> AuditPage:
        """Searches the audit trail, newest rows first.

        Parameters
        ----------
        before
            Only rows with a smaller number: ``next`` of the page before.
        since, until
            The first and the last time, as a :class:`datetime.datetime` with a time zone, or as RFC 3339 text.
        actor, action, target, outcome
            Only rows with exactly this.
        limit
            The size of the page: 50 by default, 200 at most.
        """
        members = _given(
            before=before, to=_time(until), actor=actor, action=action, target=target, outcome=outcome, limit=limit
        )
        if since is not None:
            members["from"] = _time(since)
        return AuditPage(await self._perform("audit", members))

    async def verify_audit(self) -> AuditChain:
        """Follows the hash chain of the audit trail from the first kept row to its signed end."""
        return AuditChain(await self._perform("verify_audit", {}))

    async def stats(self) -> Stats:
        """Counts servers, sessions and calls."""
        return Stats(await self._perform("stats", {}))

    async def metrics(self) -> dict[str, Any]:
        """Returns calls, latency and breaker of each server, by its id."""
        counted: dict[str, Any] = await self._perform("metrics", {})
        return counted

    async def active_requests(self) -> dict[str, Any]:
        """Lists the calls in progress."""
        active: dict[str, Any] = await self._perform("active_requests", {})
        return active

    async def cancel_request(self, request_id: str) -> None:
        """Cancels a call in progress, by its id of :meth:`active_requests`."""
        await self._perform("cancel_request", {"request_id": request_id})

    async def authenticate(self, authorization: str | None = None) -> Identity:
        """Returns the principal of a credential, such as ``Bearer mcp_…``. Raises :class:`UnauthenticatedError`."""
        return Identity(await self._perform("authenticate", {"authorization": authorization}))

    async def authorize(self, operation: str, *, authorization: str | None = None) -> Identity:
        """Returns the principal of a credential if it may do an operation, such as ``tools.call``.

        Raises :class:`PermissionDeniedError` or :class:`UnauthenticatedError`.
        """
        return Identity(await self._perform("authorize", {"operation": operation, "authorization": authorization}))


def _prompt_argument(value: Any) -> str:
    if isinstance(value, str):
        return value
    from ._json import document

    return document({"value": value}).decode()[len('{"value":') : -1]
