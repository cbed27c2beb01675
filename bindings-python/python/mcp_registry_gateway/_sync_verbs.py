"""The verbs, for threads that wait."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from ._verbs import Verbs

P = ParamSpec("P")
T = TypeVar("T")


def _waited(verb: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Any, P], T]:
    """The verb, whose only step is done when it is begun: whoever performs it has waited."""

    @functools.wraps(verb)
    def wait(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            verb(self, *args, **kwargs).send(None)
        except StopIteration as answered:
            return answered.value  # type: ignore[no-any-return]
        raise AssertionError("a verb for threads has waited for an event loop")

    return wait


class SyncVerbs:
    """What can be asked of a gateway with one document."""

    async def _perform(self, verb: str, members: dict[str, Any]) -> Any:
        raise NotImplementedError

    _listed = Verbs._listed
    _converse = Verbs._converse

    register = _waited(Verbs.register)
    update = _waited(Verbs.update)
    remove = _waited(Verbs.remove)
    approve = _waited(Verbs.approve)
    get = _waited(Verbs.get)
    list = _waited(Verbs.list)
    find_tools = _waited(Verbs.find_tools)
    find_resources = _waited(Verbs.find_resources)
    find_prompts = _waited(Verbs.find_prompts)
    search = _waited(Verbs.search)
    capabilities = _waited(Verbs.capabilities)
    discover = _waited(Verbs.discover)
    health = _waited(Verbs.health)
    diagnose = _waited(Verbs.diagnose)
    health_history = _waited(Verbs.health_history)
    call_tool = _waited(Verbs.call_tool)
    read_resource = _waited(Verbs.read_resource)
    get_prompt = _waited(Verbs.get_prompt)
    complete = _waited(Verbs.complete)
    list_tools = _waited(Verbs.list_tools)
    list_resources = _waited(Verbs.list_resources)
    list_resource_templates = _waited(Verbs.list_resource_templates)
    list_prompts = _waited(Verbs.list_prompts)
    request = _waited(Verbs.request)
    create_key = _waited(Verbs.create_key)
    get_key = _waited(Verbs.get_key)
    list_keys = _waited(Verbs.list_keys)
    rotate_key = _waited(Verbs.rotate_key)
    revoke_key = _waited(Verbs.revoke_key)
    create_tenant = _waited(Verbs.create_tenant)
    get_tenant = _waited(Verbs.get_tenant)
    list_tenants = _waited(Verbs.list_tenants)
    update_tenant = _waited(Verbs.update_tenant)
    delete_tenant = _waited(Verbs.delete_tenant)
    set_credential = _waited(Verbs.set_credential)
    list_credentials = _waited(Verbs.list_credentials)
    remove_credential = _waited(Verbs.remove_credential)
    begin_login = _waited(Verbs.begin_login)
    finish_login = _waited(Verbs.finish_login)
    search_audit = _waited(Verbs.search_audit)
    verify_audit = _waited(Verbs.verify_audit)
    stats = _waited(Verbs.stats)
    metrics = _waited(Verbs.metrics)
    active_requests = _waited(Verbs.active_requests)
    cancel_request = _waited(Verbs.cancel_request)
    authenticate = _waited(Verbs.authenticate)
    authorize = _waited(Verbs.authorize)
