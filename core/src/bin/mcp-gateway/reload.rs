//! What a running gateway takes up from outside: signals, and a changed configuration, as a whole or not at all.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mcp_registry_gateway::config::{self, Config};
use mcp_registry_gateway::gateway::{Caller, Gateway};
use mcp_registry_gateway::model::{Patch, Registration, Server, TenantId};
use mcp_registry_gateway::registry::Filter;
use mcp_registry_gateway::registry::validate::registration;
use mcp_registry_gateway::server::Service;
use mcp_registry_gateway::server::tls::{self, Certificate};
use mcp_registry_gateway::transport::guard::Guard;
use mcp_registry_gateway::{Error, ErrorKind};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Failure;
use super::import::servers_of;
use super::logging::{self, Level};
use super::wiring::Common;

/// How often the configuration's files are looked at. Asking for two times of change costs microseconds.
const LOOK: Duration = Duration::from_secs(2);

/// The signals that `serve` heeds.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or Ctrl-C.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A gateway that serves, with what it was started from.
pub(crate) struct Running {
    pub(crate) common: Common,
    pub(crate) options: Vec<(&'static str, &'static str, Option<String>)>,
    /// Servers of the command line.
    pub(crate) own: Vec<Registration>,
    pub(crate) config: Config,
    pub(crate) level: Level,
    pub(crate) gateway: Gateway,
    /// The HTTP surface, if there is one.
    pub(crate) service: Option<Service>,
    /// What its TLS shows, if it speaks TLS.
    pub(crate) certificate: Option<Certificate>,
    pub(crate) caller: Caller,
}

impl Running {
    /// Takes up changes until the gateway is told to stop.
    pub(crate) async fn watch(&mut self, signals: &mut Signals) {
        let mut seen = self.stamps();
        loop {
            tokio::select! {
                () = async {
                    tokio::select! {
                        _ = signals.terminate.recv() => {}
                        _ = signals.interrupt.recv() => {}
                    }
                } => return,
                _ = signals.hangup.recv() => {
                    seen = self.stamps();
                    self.reload().await;
                }
                () = tokio::time::sleep(LOOK) => {
                    let now = self.stamps();
                    if now != seen {
                        seen = now;
                        self.reload().await;
                    }
                }
            }
        }
    }

    async fn reload(&mut self) {
        match self.try_reload().await {
            Ok(()) => tracing::info!("the configuration was taken up"),
            Err(failure) => tracing::error!("nothing of the changed configuration was taken up: {failure}"),
        }
    }

    async fn try_reload(&mut self) -> Result<(), Failure> {
        let config = config::load(&self.common.sources(&self.options)?)?;
        let fixed = fixed(&self.config, &config);
        if !fixed.is_empty() {
            return Err(Failure::usage(format!("{} changed, which takes a restart", fixed.join(", "))));
        }
        let filter = logging::parse(&config.log.level)?;
        let servers = wanted(&config, &self.own)?;
        if let Some(certificate) = &self.certificate {
            certificate.reload(&config.server.tls)?;
        }
        let old = std::mem::replace(&mut self.config, config);
        self.trust(&servers);
        if let Err(error) = self.apply(&servers).await {
            self.config = old;
            self.trust(&wanted(&self.config, &self.own)?);
            return Err(error.into());
        }
        if let Some(service) = &self.service {
            service.reload(&self.config.server);
        }
        if self.config.access != old.access {
            self.gateway.set_access(self.config.access.clone());
        }
        self.level.reload(filter).map_err(|error| Failure::failed(error.to_string()))
    }

    /// Registers every server of the configuration and of the command line, and changes those that differ.
    pub(crate) async fn register_all(&self) -> Result<(), Failure> {
        let servers = wanted(&self.config, &self.own)?;
        Ok(self.apply(&servers).await?)
    }

    fn trust(&self, servers: &[Registration]) {
        trust(self.gateway.guard(), &self.caller.principal.tenant, servers);
    }

    async fn apply(&self, servers: &[Registration]) -> Result<(), Error> {
        // All are checked before the first is written, so that a bad one leaves everything as it was.
        let now = self.gateway.clock().timestamp();
        for server in servers {
            registration(&self.caller.principal.tenant, server.clone(), now)
                .map_err(|error| error.with("server", &server.name))?;
        }
        for server in servers {
            let outcome = match self.gateway.register(&self.caller, server.clone()).await {
                Err(error) if error.kind() == ErrorKind::Conflict => self.change(server).await,
                outcome => outcome.map(|_| ()),
            };
            outcome.map_err(|error| error.with("server", &server.name))?;
        }
        Ok(())
    }

    async fn change(&self, wanted: &Registration) -> Result<(), Error> {
        let Some(current) = self.named(&wanted.name)? else { return Ok(()) };
        match patch(&current, wanted) {
            Some(patch) => self.gateway.update(&self.caller, current.id, patch, None).await.map(|_| ()),
            None => Ok(()),
        }
    }

    fn named(&self, name: &str) -> Result<Option<Arc<Server>>, Error> {
        for page in 1.. {
            let filter =
                Filter { search: Some(name.to_owned()), page, limit: Filter::MAX_LIMIT, ..Filter::default() };
            let found = self.gateway.list(&self.caller, &filter)?.servers;
            let last = found.len() < Filter::MAX_LIMIT as usize;
            if let Some(server) = found.into_iter().find(|server| server.name == name) {
                return Ok(Some(server));
            }
            if last {
                break;
            }
        }
        Ok(None)
    }

    /// When the files that the configuration comes from last changed.
    fn stamps(&self) -> Vec<(PathBuf, Option<SystemTime>)> {
        let file = self.common.sources(&[]).ok().and_then(|sources| sources.file).map(|(path, _)| path);
        let files = file.into_iter().chain(self.common.config.clone()).chain(self.config.import.clone());
        let files = files.chain(tls::files(&self.config.server.tls));
        let stamp = |path: PathBuf| {
            let changed = std::fs::metadata(&path).and_then(|data| data.modified()).ok();
            (path, changed)
        };
        files.map(stamp).collect()
    }
}

/// The servers that `config` and the command line name.
pub(crate) fn wanted(config: &Config, own: &[Registration]) -> Result<Vec<Registration>, Failure> {
    let mut servers = config.servers.clone();
    if let Some(path) = &config.import {
        let import = servers_of(path)?;
        for note in &import.notes {
            tracing::warn!(file = %path.display(), "{note}");
        }
        servers.extend(import.registrations);
    }
    servers.extend(own.iter().cloned());
    Ok(servers)
}

/// Where the operator says that servers are, connections may be opened.
pub(crate) fn trust(guard: &Guard, tenant: &TenantId, servers: &[Registration]) {
    let endpoints =
        servers.iter().filter_map(|server| Some((tenant.clone(), server.name.clone(), server.endpoint()?)));
    guard.trust(endpoints);
}

/// Keys that differ and cannot change while the gateway runs.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let (was, is) = (&old.server, &new.server);
    let differ = [
        ("`server.host`", was.host != is.host),
        ("`server.port`", was.port != is.port),
        ("`server.legacy`", was.legacy != is.legacy),
        ("`server.sse`", was.sse != is.sse),
        ("`server.workers`", was.workers != is.workers),
        ("`server.max_body_bytes`", was.max_body_bytes != is.max_body_bytes),
        ("`server.grace_seconds`", was.grace != is.grace),
        ("whether `[server.tls]` is set", was.tls.is_on() != is.tls.is_on()),
        ("`[auth]`", old.auth != new.auth),
        ("`[session]`", old.session != new.session),
        ("`[upstream]`", old.upstream != new.upstream),
        ("`[store]`", old.store != new.store),
        ("`log.format`", old.log.format != new.log.format),
        ("`[health]`", old.health != new.health),
        ("`[breaker]`", old.breaker != new.breaker),
        ("`[limits]`", old.limits != new.limits),
        ("`[audit]`", old.audit != new.audit),
        ("`[outbound]`", old.outbound != new.outbound),
        ("`[stdio]`", old.stdio != new.stdio),
        ("`[credentials]`", old.credentials != new.credentials),
    ];
    differ.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// What has to change of `current` so that it is what `wanted` says; `None` if it is that already. What `wanted` does
/// not say stays as it is: it may have been set since.
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
        // Compared where what the server said of itself is known: the register writes nothing if it is the same.
        capabilities: wanted.capabilities.clone(),
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
    use mcp_registry_gateway::clock::SystemClock;
    use mcp_registry_gateway::registry::validate;

    use super::*;

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

    #[test]
    fn keys_that_take_a_restart_are_named() {
        let mut new = Config::default();
        new.server.port = 1;
        new.server.allowed_hosts = vec!["a".into()];
        new.log.level = "debug".into();
        assert_eq!(fixed(&Config::default(), &new), ["`server.port`"]);
    }
}
