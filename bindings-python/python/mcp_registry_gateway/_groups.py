"""The operations of a gateway by subject: ``gateway.servers.list()``, ``gateway.keys.create("ci")``.

Each is the operation of the same meaning with a flat name, such as ``gateway.create_key``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._gateway import Gateway, SyncGateway

__all__ = ["Groups", "SyncGroups"]


class Servers:
    """Servers of the register."""

    def __init__(self, gateway: Gateway) -> None:
        self.register = gateway.register
        self.update = gateway.update
        self.remove = gateway.remove
        self.approve = gateway.approve
        self.get = gateway.get
        self.list = gateway.list
        self.search = gateway.search
        self.capabilities = gateway.capabilities
        self.discover = gateway.discover
        self.health = gateway.health
        self.diagnose = gateway.diagnose
        self.health_history = gateway.health_history


class Keys:
    """API keys."""

    def __init__(self, gateway: Gateway) -> None:
        self.create = gateway.create_key
        self.get = gateway.get_key
        self.list = gateway.list_keys
        self.rotate = gateway.rotate_key
        self.revoke = gateway.revoke_key


class Tenants:
    """Tenants."""

    def __init__(self, gateway: Gateway) -> None:
        self.create = gateway.create_tenant
        self.get = gateway.get_tenant
        self.list = gateway.list_tenants
        self.update = gateway.update_tenant
        self.delete = gateway.delete_tenant


class Credentials:
    """Credentials that the gateway sends to servers."""

    def __init__(self, gateway: Gateway) -> None:
        self.set = gateway.set_credential
        self.list = gateway.list_credentials
        self.remove = gateway.remove_credential
        self.begin_login = gateway.begin_login
        self.finish_login = gateway.finish_login


class Audit:
    """The audit trail."""

    def __init__(self, gateway: Gateway) -> None:
        self.search = gateway.search_audit
        self.verify = gateway.verify_audit


class Groups:
    """The operations by subject."""

    @property
    def servers(self: Gateway) -> Servers:  # type: ignore[misc]
        """Servers of the register."""
        return Servers(self)

    @property
    def keys(self: Gateway) -> Keys:  # type: ignore[misc]
        """API keys."""
        return Keys(self)

    @property
    def tenants(self: Gateway) -> Tenants:  # type: ignore[misc]
        """Tenants."""
        return Tenants(self)

    @property
    def credentials(self: Gateway) -> Credentials:  # type: ignore[misc]
        """Credentials that the gateway sends to servers."""
        return Credentials(self)

    @property
    def audit(self: Gateway) -> Audit:  # type: ignore[misc]
        """The audit trail."""
        return Audit(self)


class SyncServers:
    """Servers of the register."""

    def __init__(self, gateway: SyncGateway) -> None:
        self.register = gateway.register
        self.update = gateway.update
        self.remove = gateway.remove
        self.approve = gateway.approve
        self.get = gateway.get
        self.list = gateway.list
        self.search = gateway.search
        self.capabilities = gateway.capabilities
        self.discover = gateway.discover
        self.health = gateway.health
        self.diagnose = gateway.diagnose
        self.health_history = gateway.health_history


class SyncKeys:
    """API keys."""

    def __init__(self, gateway: SyncGateway) -> None:
        self.create = gateway.create_key
        self.get = gateway.get_key
        self.list = gateway.list_keys
        self.rotate = gateway.rotate_key
        self.revoke = gateway.revoke_key


class SyncTenants:
    """Tenants."""

    def __init__(self, gateway: SyncGateway) -> None:
        self.create = gateway.create_tenant
        self.get = gateway.get_tenant
        self.list = gateway.list_tenants
        self.update = gateway.update_tenant
        self.delete = gateway.delete_tenant


class SyncCredentials:
    """Credentials that the gateway sends to servers."""

    def __init__(self, gateway: SyncGateway) -> None:
        self.set = gateway.set_credential
        self.list = gateway.list_credentials
        self.remove = gateway.remove_credential
        self.begin_login = gateway.begin_login
        self.finish_login = gateway.finish_login


class SyncAudit:
    """The audit trail."""

    def __init__(self, gateway: SyncGateway) -> None:
        self.search = gateway.search_audit
        self.verify = gateway.verify_audit


class SyncGroups:
    """The operations by subject."""

    @property
    def servers(self: SyncGateway) -> SyncServers:  # type: ignore[misc]
        """Servers of the register."""
        return SyncServers(self)

    @property
    def keys(self: SyncGateway) -> SyncKeys:  # type: ignore[misc]
        """API keys."""
        return SyncKeys(self)

    @property
    def tenants(self: SyncGateway) -> SyncTenants:  # type: ignore[misc]
        """Tenants."""
        return SyncTenants(self)

    @property
    def credentials(self: SyncGateway) -> SyncCredentials:  # type: ignore[misc]
        """Credentials that the gateway sends to servers."""
        return SyncCredentials(self)

    @property
    def audit(self: SyncGateway) -> SyncAudit:  # type: ignore[misc]
        """The audit trail."""
        return SyncAudit(self)
