//! Servers that an operator declares, in a configuration or on a command line, rather than registers: each gets the declared
//! values, and values that are not declared stay as they were set since.
//!
//! Servers that the embedding program registers by its own code are trusted as those of the operator's configuration are. With
//! authentication configured a gateway is shared, and what its users register is held to `[outbound]` and `[stdio]`; the program's
//! own code is none of its users, and whoever could change it could change the configuration as well. That trust is kept in
//! memory, for the endpoint that the program named: a program that keeps its register in a database names its servers again when
//! it starts, by the builder's `servers` or by registering them again.

use crate::error::{ErrorKind, Result};
use crate::gateway::{Caller, Gateway};
use crate::model::{Patch, Registration, Server, ServerEndpoint, TenantId};
use crate::registry::validate;

impl Gateway {
    /// Registers every one of `servers`, and changes those that are registered and differ. All are checked before the first is
    /// written, so that a bad one leaves everything as it was. An error has the `server`.
    pub async fn declare(&self, caller: &Caller, servers: &[Registration]) -> Result<()> {
        let (tenant, now) = (&caller.principal.tenant, self.0.clock.timestamp());
        for server in servers {
            validate::registration(tenant, server.clone(), now)
                .map_err(|error| error.with("server", &server.name))?;
        }
        for server in servers {
            let outcome = match self.register(caller, server.clone()).await {
                Err(error) if error.kind() == ErrorKind::Conflict => self.redeclare(caller, server).await,
                outcome => outcome.map(|registered| self.0.await_first_discovery(&registered)),
            };
            outcome.map_err(|error| error.with("server", &server.name))?;
        }
        Ok(())
    }

    async fn redeclare(&self, caller: &Caller, wanted: &Registration) -> Result<()> {
        let Some(current) = self.0.registry.find(&caller.principal.tenant, &wanted.name) else {
            return Ok(());
        };
        match patch(&current, wanted) {
            Some(patch) => self.update(caller, current.id, patch, None).await.map(|_| ()),
            None => Ok(()),
        }
    }
}

/// The trust that was given for an operation of the program, and the one before it.
pub(crate) struct Vouched {
    tenant: TenantId,
    name: String,
    endpoint: ServerEndpoint,
    before: Option<ServerEndpoint>,
}

impl Gateway {
    /// Trusts `endpoint` under this name if the program itself names it; nothing for any other caller.
    pub(crate) fn vouch(
        &self,
        caller: &Caller,
        name: &str,
        endpoint: Option<ServerEndpoint>,
    ) -> Option<Vouched> {
        let endpoint = endpoint.filter(|_| caller.is_program())?;
        let tenant = caller.principal.tenant.clone();
        let before = self.0.settings.guard.vouch(&tenant, name, Some(&endpoint));
        Some(Vouched { tenant, name: name.to_owned(), endpoint, before })
    }

    /// Takes the trust back if the operation failed, unless the server is there as the program names it: it was registered before.
    pub(crate) fn vouched<T>(&self, vouched: Option<Vouched>, outcome: Result<T>) -> Result<T> {
        if let (Err(_), Some(Vouched { tenant, name, endpoint, before })) = (&outcome, vouched)
            && self.0.registry.find(&tenant, &name).is_none_or(|there| there.endpoint != endpoint)
        {
            self.0.settings.guard.vouch(&tenant, &name, before.as_ref());
        }
        outcome
    }
}

/// The changes that turn `current` into `wanted`; `None` if there are none. Values that `wanted` leaves out stay as they are:
/// they may have been set since.
fn patch(current: &Server, wanted: &Registration) -> Option<Patch> {
    fn differing<T: PartialEq + Clone>(wanted: Option<&T>, current: &T) -> Option<T> {
        wanted.filter(|wanted| *wanted != current).cloned()
    }
    fn text(wanted: Option<&String>, current: Option<&str>) -> Option<String> {
        wanted.filter(|wanted| Some(wanted.as_str()) != current).cloned()
    }
    let mut patch = Patch {
        transport_type: differing(wanted.transport_type.as_ref(), &current.transport_type),
        service: text(wanted.service.as_ref(), Some(current.service.as_str())),
        version: text(wanted.version.as_ref(), current.version.as_deref()),
        display_name: text(wanted.display_name.as_ref(), current.display_name.as_deref()),
        description: text(wanted.description.as_ref(), current.description.as_deref()),
        tags: (!wanted.tags.is_empty() && wanted.tags != current.tags).then(|| wanted.tags.clone()),
        weight: differing(wanted.weight.as_ref(), &current.weight),
        auto_discover: differing(wanted.auto_discover.as_ref(), &current.auto_discover),
        health_check: differing(wanted.health_check.as_ref(), &current.health_check),
        configuration: differing(wanted.configuration.as_ref(), &current.configuration),
        // Compared where the server's own declarations are known: the register writes nothing if they are the same.
        capabilities: wanted.capabilities.clone(),
        status: differing(wanted.status.as_ref(), &current.status),
        ..Patch::default()
    };
    if wanted.endpoint().is_some_and(|endpoint| endpoint != current.endpoint) {
        patch.endpoint_url.clone_from(&wanted.endpoint_url);
        patch.command.clone_from(&wanted.command);
        if wanted.command.is_some() {
            patch.args = Some(wanted.args.clone());
            patch.env = Some(wanted.env.clone());
            patch.cwd.clone_from(&wanted.cwd);
        }
    }
    let says_nothing = serde_json::to_value(&patch).is_ok_and(|patch| {
        patch.as_object().is_some_and(|members| members.values().all(serde_json::Value::is_null))
    });
    (!says_nothing).then_some(patch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::model::TenantId;

    fn server(registration: &Registration) -> Server {
        let tenant = TenantId::default_tenant();
        validate::registration(&tenant, registration.clone(), SystemClock::shared().timestamp())
            .unwrap()
            .server
    }

    #[test]
    fn a_server_that_is_as_wanted_is_not_touched() {
        let wanted = Registration {
            name: "a".into(),
            command: Some("x".into()),
            args: vec!["y".into()],
            ..Registration::default()
        };
        assert!(patch(&server(&wanted), &wanted).is_none());
    }

    #[test]
    fn only_what_differs_is_changed() {
        let old = Registration {
            name: "a".into(),
            endpoint_url: Some("http://127.0.0.1:1/".into()),
            weight: Some(3),
            ..Registration::default()
        };
        let wanted =
            Registration { endpoint_url: Some("http://127.0.0.1:2/".into()), weight: None, ..old.clone() };
        let patch = patch(&server(&old), &wanted).unwrap();
        assert_eq!(
            (patch.endpoint_url.as_deref(), patch.weight, patch.args),
            (Some("http://127.0.0.1:2/"), None, None)
        );
    }
}
