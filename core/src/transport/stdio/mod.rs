//! Servers that are child processes: one JSON-RPC message a line on standard input and output.
//!
//! A link is a child. It is started without a shell, as the leader of a process group of its own, with an environment that holds
//! the variables that programs need to run ([`INHERITED`]), those of its registration, and one by which it is known (`strays.rs`).
//!
//! - No child can hold up anything but itself: its standard error is always drained, what waits for it is bounded in
//!   number and time, a message that it does not read fails as `NotSent`.
//! - No child is left: closing a link, dropping it, and stopping the [`Tasks`] each end the whole group (end of input,
//!   2 s, SIGTERM, 2 s, SIGKILL), then what left the group on purpose (on Linux: SIGTERM, 2 s, SIGKILL), and reap the child. After a SIGKILL of the gateway the guardian ends the groups
//!   (`guardian.rs` says how, and what it cannot do).
//! - A server that keeps dying is not started again and again: see `backoff.rs`.

mod backoff;
mod budget;
mod child;
mod environment;
mod group;
mod guardian;
mod strays;
#[cfg(test)]
pub(crate) mod pipes;
mod tail;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use self::backoff::Backoff;
use self::budget::Budget;
use self::child::{GRACE, Supervisor};
pub use self::environment::{INHERITED, inherited};
use self::group::Group;
use self::strays::Mark;
use self::tail::Tail;
use crate::clock::Clock;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::model::redact::Secrets;
use crate::model::{Server, ServerEndpoint};
use crate::random::Random;
use crate::tasks::Tasks;
use crate::transport::duplex::{Conversation, DuplexLink, QUEUE};
use crate::transport::guard::Watch;
use crate::transport::{Connector, Link, TransportContext};

/// Lines of a child's standard error, and of complaints about it, that are logged in 10 s.
const LOG_LINES: u32 = 50;

/// Is notified of each program before it is started.
#[async_trait]
pub trait Starts: Send + Sync + fmt::Debug {
    /// `program` is about to be started for `server`. After an error it is not.
    async fn starting(&self, server: &Server, program: &Path) -> Result<()>;
}

/// Notifies nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unheard;

#[async_trait]
impl Starts for Unheard {
    async fn starting(&self, _: &Server, _: &Path) -> Result<()> {
        Ok(())
    }
}

/// Starts the children of one server.
pub struct StdioConnector {
    server: Server,
    watch: Watch,
    starts: Arc<dyn Starts>,
    name: Arc<str>,
    command: String,
    args: Vec<String>,
    cwd: Option<PathBuf>,
    environment: BTreeMap<OsString, OsString>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    backoff: Arc<Backoff>,
    limit: u32,
    free: Arc<Semaphore>,
    leaving: Arc<AtomicUsize>,
    /// Of the child that was started last.
    tail: Mutex<Tail>,
}

impl StdioConnector {
    /// A connector for `server`. [`ErrorKind::InvalidParams`] if it has no command.
    pub fn new(server: &Server, clock: Arc<dyn Clock>, tasks: Tasks, random: Arc<Random>) -> Result<Self> {
        Self::with(server, &TransportContext { random, ..TransportContext::new(clock, tasks) })
    }

    /// As [`StdioConnector::new`], with another context: a child is started only if the context's guard lets it, and after a
    /// notification.
    pub fn with(server: &Server, means: &TransportContext) -> Result<Self> {
        let ServerEndpoint::Command { command, args, env, cwd } = &server.endpoint else {
            return Err(Error::new(ErrorKind::InvalidParams, "a stdio server needs a `command`")
                .with("server", &server.name));
        };
        let limit = server.configuration.max_connections.max(1);
        Ok(Self {
            server: server.clone(),
            watch: means.guard.for_server(server),
            starts: Arc::clone(&means.starts),
            name: server.name.as_str().into(),
            command: command.clone(),
            args: args.clone(),
            cwd: cwd.as_ref().map(PathBuf::from),
            environment: environment::of_child(env),
            backoff: Arc::new(Backoff::new(means.clock.clone(), means.random.clone())),
            clock: means.clock.clone(),
            tasks: means.tasks.clone(),
            limit,
            free: Arc::new(Semaphore::new(limit as usize)),
            leaving: Arc::default(),
            tail: Mutex::default(),
        })
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_start(&self) -> Result<()> {
        self.watch.check_start(&self.server.endpoint).map_err(|error| error.with("server", &self.name))
    }

    fn program(&self) -> Result<PathBuf> {
        let path = self.environment.get(OsStr::new("PATH")).map(OsString::as_os_str);
        environment::find_program(&self.command, self.cwd.as_deref(), path)
            .map_err(|error| error.with("server", &self.name))
    }

    fn refused(&self, message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Unavailable, message).with("server", &self.name).not_sent()
    }

    /// A permit for one more child; waits for those that are leaving already.
    async fn room(&self) -> Result<OwnedSemaphorePermit> {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return Ok(permit);
        }
        if self.leaving.load(Ordering::Acquire) > 0 {
            let time_limit = 2 * GRACE + Duration::from_secs(1);
            let permit = tokio::time::timeout(time_limit, self.free.clone().acquire_owned());
            if let Ok(Ok(permit)) = permit.await {
                return Ok(permit);
            }
        }
        let (name, limit) = (&self.name, self.limit);
        let message = format!(
            "all {limit} processes of server `{name}` are in use; raise `configuration.max_connections`, or try again later"
        );
        Err(self
            .refused(message)
            .because(Cause::PoolExhausted)
            .with("max_connections", self.limit)
            .retry_after(Duration::from_secs(1)))
    }

    fn spawn(&self, program: &Path, mark: &Mark) -> Result<Child> {
        let mut command = Command::new(program);
        command
            .args(&self.args)
            .env_clear()
            .envs(&self.environment)
            .env(strays::VARIABLE, mark.value())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // For a runtime that is dropped without `Tasks::stop`.
            .kill_on_drop(true);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        #[cfg(unix)]
        command.process_group(0);
        command.spawn().map_err(|error| {
            let reason = error.to_string();
            self.refused("the server's process cannot be started").with("reason", reason).caused_by(error)
        })
    }

    /// Starts the tasks around `child`.
    fn attend(
        &self,
        mut child: Child,
        group: Group,
        own: bool,
        permit: OwnedSemaphorePermit,
    ) -> Arc<dyn Link> {
        let (queue, queued) = mpsc::channel(QUEUE);
        let (troubles, trouble) = mpsc::channel(4);
        let talk = Conversation::new(self.name.clone(), own, queue, self.leaving.clone());
        let tail = self.tail().clone();
        let heard = [CancellationToken::new(), CancellationToken::new()];
        let looked = CancellationToken::new();
        let budget = || Budget::new(self.clock.clone(), LOG_LINES);

        if let Some(input) = child.stdin.take() {
            let (talk, looked) = (talk.clone(), looked.clone());
            let writing = child::write(input, queued, troubles.clone());
            self.tasks.spawn_to_end(async move {
                let mut writing = std::pin::pin!(writing);
                tokio::select! {
                    () = talk.closing.cancelled() => looked.cancelled().await,
                    () = &mut writing => {}
                }
            });
        }
        if let Some(output) = child.stdout.take() {
            let reading = child::read(output, talk.clone(), troubles, budget());
            self.pump(&talk, &heard[0], reading);
        }
        if let Some(errors) = child.stderr.take() {
            let secrets = Secrets::of(&self.server);
            let draining = child::drain(errors, self.name.clone(), tail.clone(), secrets, budget());
            self.pump(&talk, &heard[1], draining);
        }
        let supervisor = Supervisor {
            child,
            group,
            talk: talk.clone(),
            troubles: trouble,
            stop: self.tasks.token().clone(),
            heard,
            looked,
            tail,
            backoff: self.backoff.clone(),
            started: self.clock.now(),
            permit,
        };
        self.tasks.spawn_to_end(supervisor.run());
        Arc::new(DuplexLink::new(talk))
    }

    /// Runs `work` until the child is reaped at the latest: a descendant may hold the pipe open for longer.
    fn pump(
        &self,
        talk: &Arc<Conversation>,
        heard: &CancellationToken,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let (talk, heard) = (talk.clone(), heard.clone());
        self.tasks.spawn_to_end(async move {
            tokio::select! { () = talk.ended.cancelled() => {}, () = work => {} }
            heard.cancel();
        });
    }
}

impl fmt::Debug for StdioConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments and environment often carry secrets.
        write!(f, "StdioConnector({}: {})", self.name, self.command)
    }
}

#[async_trait]
impl Connector for StdioConnector {
    async fn connect(&self, own: bool) -> Result<Arc<dyn Link>> {
        if self.tasks.token().is_cancelled() {
            return Err(self.refused("the gateway is shutting down"));
        }
        self.may_start()?;
        if let Some(wait) = self.backoff.remaining() {
            return Err(self
                .refused("the server keeps ending right after its start; it is started again later")
                .because(Cause::PutOff)
                .retry_after(wait));
        }
        let permit = self.room().await?;
        *self.tail() = Tail::default();
        let program = self.program().inspect_err(|_| self.backoff.failed_to_start())?;
        self.starts
            .starting(&self.server, &program)
            .await
            .map_err(|error| error.with("server", &self.name).not_sent())?;
        let guardian = guardian::Ready::new();
        let mark = Mark::new();
        let child = self.spawn(&program, &mark).inspect_err(|_| self.backoff.failed_to_start())?;
        tracing::info!(server = %self.name, pid = child.id(), "started the server's process");
        let group = Group::of(child.id(), mark);
        let link = self.attend(child, group, own, permit);
        drop(guardian);
        Ok(link)
    }

    async fn check(&self) -> Result<()> {
        self.may_start()?;
        self.program().map(drop)
    }

    fn remembers_clients(&self) -> bool {
        false
    }

    fn starts_process(&self) -> bool {
        true
    }

    fn last_output(&self) -> Vec<String> {
        self.tail().lines()
    }
}

#[cfg(test)]
mod tests;
