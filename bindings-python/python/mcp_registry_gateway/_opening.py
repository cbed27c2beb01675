"""How a gateway is opened: its configuration, its store and its servers, as Python programs name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any, TypeAlias

from .servers import Http, ServerDefinition, Stdio

__all__ = ["Config", "Servers", "Url", "in_process", "members", "store_url"]

Config: TypeAlias = "PathLike[str] | str | Mapping[str, Any] | None"
Url: TypeAlias = "PathLike[str] | str | None"
Servers: TypeAlias = "Sequence[Mapping[str, Any]] | Mapping[str, Any] | None"


def store_url(url: Url) -> str | None:
    """The store's URL as the core reads it. ``sqlite:`` URLs mean what they mean in SQLAlchemy.

    ``gateway.db`` and ``sqlite:///gateway.db`` are a file in the working directory, ``sqlite:////var/gateway.db`` is an absolute
    path, ``sqlite://`` and ``sqlite:///:memory:`` and ``:memory:`` are in memory.
    """
    if url is None:
        return None
    text = fspath(url)
    if text in (":memory:", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite::memory:"):
        return "memory:"
    if text.startswith("sqlite:///"):
        return f"sqlite:{text[len('sqlite:///') :]}"
    if ":" not in text.split("/")[0] or (len(text) > 2 and text[1] == ":"):
        return f"sqlite:{text}"
    return text


def _registration(name: str, server: Any) -> dict[str, Any]:
    if isinstance(server, ServerDefinition):
        return {"name": name, **server.registration()}
    if isinstance(server, str):
        return _registration(name, Http(server) if "://" in server else Stdio(*server.split()))
    return {"name": name, **server}


def _is_definition(server: Any) -> bool:
    return isinstance(server, (ServerDefinition, str, Mapping))


def in_process(servers: Servers) -> dict[str, Any]:
    """The servers of this process among them, by name."""
    if not isinstance(servers, Mapping) or "mcpServers" in servers:
        return {}
    return {name: server for name, server in servers.items() if not _is_definition(server)}


def members(config: Config, url: Url, data_dir: Url, servers: Servers, accept_data_loss: bool) -> dict[str, Any]:
    """The document that opens the gateway."""
    if config is not None and not isinstance(config, (str, PathLike, Mapping)):
        raise TypeError(f"`config` is a path or a mapping, not {type(config).__name__}")
    if isinstance(config, Mapping):
        told: Any = dict(config)
    else:
        told = None if config is None else fspath(config)
    listed: Any = servers
    if isinstance(servers, Mapping) and "mcpServers" not in servers:
        listed = [_registration(name, server) for name, server in servers.items() if _is_definition(server)]
    return {
        "config": told,
        "url": store_url(url),
        "data_dir": None if data_dir is None else fspath(data_dir),
        "servers": listed,
        "accept_data_loss": accept_data_loss,
    }

