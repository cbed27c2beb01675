//! The inputs that a running gateway takes up: signals, and a changed configuration, as a whole or not at all.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mcp_registry_gateway::Error;
use mcp_registry_gateway::config::{self, Config, Sources};
use mcp_registry_gateway::gateway::{Caller, Gateway};
use mcp_registry_gateway::model::Registration;
use mcp_registry_gateway::server::Service;
use mcp_registry_gateway::server::tls::{self, Certificate};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Failure;
use super::logging;
use super::logging::Level;
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

/// A gateway that serves, with its sources.
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
    /// The certificate of its TLS, if it speaks TLS.
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
        let sources = self.common.sources(&self.options)?;
        let config = config::load(&sources)?;
        let fixed = fixed(&self.config, &config);
        if !fixed.is_empty() {
            return Err(Failure::usage(format!("{} changed, which takes a restart", fixed.join(", "))));
        }
        let filter = logging::parse(&config.log.level)?;
        let servers = wanted(&config, &self.own)?;
        if let Some(certificate) = &self.certificate {
            certificate.reload(&config.server.tls)?;
        }
        tell(&sources);
        tell_of_import(&config);
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
        tell_of_import(&self.config);
        Ok(self.apply(&servers).await?)
    }

    fn trust(&self, servers: &[Registration]) {
        self.gateway.guard().trust_declared(&self.caller.principal.tenant, servers);
    }

    async fn apply(&self, servers: &[Registration]) -> Result<(), Error> {
        self.gateway.declare(&self.caller, servers).await
    }

    /// When the files that the configuration comes from last changed.
    fn stamps(&self) -> Vec<(PathBuf, Option<SystemTime>)> {
        let files = self.common.files().into_iter().chain(self.config.import.clone());
        let files = files.chain(tls::files(&self.config.server.tls));
        let stamp = |path: PathBuf| {
            let changed = std::fs::metadata(&path).and_then(|data| data.modified()).ok();
            (path, changed)
        };
        files.map(stamp).collect()
    }
}

/// Logs facts about the origin of the configuration for the operator.
pub(crate) fn tell(sources: &Sources) {
    let (used, _) = sources.dotenv_names();
    if let (Some(dotenv), false) = (&sources.dotenv, used.is_empty()) {
        tracing::info!("{} gives {}", dotenv.path().display(), used.join(", "));
    }
    for warning in sources.warnings() {
        tracing::warn!("{warning}");
    }
}

/// Logs what became of the file of servers that `config` names.
fn tell_of_import(config: &Config) {
    // A fault that makes the whole file unreadable is reported where the file is used.
    if let Ok(declared) = config.declared() {
        declared.tell();
    }
}

/// The servers that `config` and the command line name. Nothing is logged: this is asked several times.
pub(crate) fn wanted(config: &Config, own: &[Registration]) -> Result<Vec<Registration>, Failure> {
    let declared = config.declared().map_err(|error| Failure::usage(error.to_string()))?;
    let mut servers = declared.registrations;
    servers.extend(own.iter().cloned());
    Ok(servers)
}

/// Keys that differ and cannot change while the gateway runs.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let (was, is) = (&old.server, &new.server);
    let differ = [
        ("`server.host`", was.host != is.host),
        ("`server.port`", was.port != is.port),
        ("`server.legacy`", was.legacy != is.legacy),
        ("`server.builtin_service`", was.builtin_service != is.builtin_service),
        ("`server.builtin_commands`", was.builtin_commands != is.builtin_commands),
        ("`server.sse`", was.sse != is.sse),
        ("`server.trusted_proxies`", was.trusted_proxies != is.trusted_proxies),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_take_a_restart_are_named() {
        let mut new = Config::default();
        new.server.port = 1;
        new.server.allowed_hosts = vec!["a".into()];
        new.log.level = "debug".into();
        assert_eq!(fixed(&Config::default(), &new), ["`server.port`"]);
    }
}
