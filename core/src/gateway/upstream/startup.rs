//! The starts of one server: one at a time until one has succeeded, timed, and reported while they last.
//!
//! A program may be downloaded before it runs, and one that is stopped in the middle of that begins from nothing. So each start
//! has the time that the operator allows, whoever wanted it and however long that caller waits: discovery, probes and calls
//! share the start that is under way, and share its failure.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Tick};
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::model::Server;
use crate::registry::pins;
use crate::transport::{Connector, Session};

/// How long a server that is not a program of the gateway's may take to introduce itself, unless its registration says so.
const INTRODUCTION: Duration = Duration::from_secs(10);
/// How long a server that speaks modern may take to answer the trial whether it speaks legacy, too.
const TRIAL: Duration = Duration::from_secs(5);
/// The first report of a start that takes its time, and the longest pause before the next.
const FIRST_REPORT: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The starts of one server.
#[derive(Debug)]
pub(crate) struct Startup {
    name: String,
    limit: Duration,
    is_program: bool,
    /// The work of a command that fetches its program first, such as `npx is installing`.
    fetching: Option<String>,
    clock: Arc<dyn Clock>,
    /// Held during a start, as long as none has succeeded.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    under_way: u32,
    /// When the first of the starts under way began.
    since: Option<Tick>,
    took: Option<Duration>,
    failures: u64,
    failure: Option<StartFailure>,
}

/// The last start that failed.
#[derive(Debug)]
pub(crate) struct StartFailure {
    pub(crate) error: Error,
    /// The last lines of the program's standard error, redacted.
    pub(crate) output: Vec<String>,
}

/// A start that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starting {
    pub(crate) so_far: Duration,
    pub(crate) limit: Duration,
}

impl Starting {
    /// The error of a call that waited for the start as long as it could.
    pub(crate) fn still(&self, server: &str, waited: Duration) -> Error {
        let (so_far, limit, waited) = (self.so_far.as_secs(), self.limit.as_secs_f64(), waited.as_secs_f64());
        let message = format!(
            "`{server}` is still starting, for {so_far} s so far; it may take {limit} s (`start_timeout_seconds`), and this \
             call could wait {waited} s; call again once `mcp-gateway list` shows the server as ready"
        );
        Error::new(ErrorKind::Timeout, message).because(Cause::Starting).not_sent()
    }
}

impl Startup {
    /// No start yet. `allowed`: the time for a program whose registration has none.
    pub(crate) fn new(
        server: &Server,
        connector: &dyn Connector,
        clock: Arc<dyn Clock>,
        allowed: Duration,
    ) -> Arc<Self> {
        let is_program = connector.starts_process();
        let limit = if is_program { allowed } else { INTRODUCTION };
        Arc::new(Self {
            name: server.name.clone(),
            limit: server.configuration.start_timeout.unwrap_or(limit),
            is_program,
            fetching: pins::fetching(&server.endpoint),
            clock,
            turn: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        })
    }

    /// How long a start may take.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// How long the trial of a second era may take: the time of a start, and a little more.
    pub(crate) fn trial_limit(&self) -> Duration {
        let start = if self.is_program { self.state().took.unwrap_or_default() } else { Duration::ZERO };
        (start * 2 + TRIAL).min(self.limit.max(TRIAL))
    }

    /// The start that is under way, if the server is a program.
    pub(crate) fn under_way(&self) -> Option<Starting> {
        let since = self.state().since.filter(|_| self.is_program)?;
        Some(Starting { so_far: self.clock.now().since(since), limit: self.limit })
    }

    /// How long the last start took that succeeded.
    pub(crate) fn took(&self) -> Option<Duration> {
        self.state().took
    }

    /// Shows the last start to `look`, if it failed.
    pub(crate) fn failure<T>(&self, look: impl FnOnce(&StartFailure) -> T) -> Option<T> {
        self.state().failure.as_ref().map(look)
    }

    /// Opens a session with `opening`, which starts the server over `connector`. As long as no start of a program has succeeded,
    /// one runs at a time; a start that was waited for and failed is not repeated by those who waited.
    pub(crate) async fn run(
        &self,
        connector: &dyn Connector,
        opening: impl Future<Output = Result<Arc<Session>>>,
    ) -> Result<Arc<Session>> {
        let _turn = self.turn().await?;
        let begun = self.begin();
        let outcome = tokio::select! {
            biased;
            outcome = opening => outcome,
            never = self.report() => match never {},
        };
        match outcome {
            Ok(session) => {
                self.succeeded(begun.at);
                Ok(session)
            }
            Err(error) => Err(self.failed(error, connector)),
        }
    }

    async fn turn(&self) -> Result<Option<tokio::sync::MutexGuard<'_, ()>>> {
        let failures = {
            let state = self.state();
            if !self.is_program || state.took.is_some() {
                return Ok(None);
            }
            state.failures
        };
        let turn = self.turn.lock().await;
        let state = self.state();
        if state.took.is_some() {
            return Ok(None);
        }
        match &state.failure {
            Some(failure) if state.failures != failures => Err(failure.error.repeat()),
            _ => Ok(Some(turn)),
        }
    }

    fn begin(&self) -> UnderWay<'_> {
        let at = self.clock.now();
        let mut state = self.state();
        state.under_way += 1;
        state.since.get_or_insert(at);
        UnderWay { startup: self, at }
    }

    fn succeeded(&self, begun: Tick) {
        let took = self.clock.now().since(begun);
        if self.is_program && took >= FIRST_REPORT {
            tracing::info!(server = self.name, "{}: ready after {} s", self.name, took.as_secs());
        }
        let mut state = self.state();
        state.took = Some(took);
        state.failure = None;
    }

    /// Remembers the failure; returns it with the server's name and the setting concerned.
    fn failed(&self, error: Error, connector: &dyn Connector) -> Error {
        let error = if *error.cause() == Cause::StartTimeout {
            let message = format!(
                "`{}` did not answer `initialize` within {} s; raise `start_timeout_seconds` if it needs longer to start",
                self.name,
                self.limit.as_secs_f64()
            );
            error.recast(ErrorKind::Timeout, message)
        } else {
            error
        };
        // A start that the gateway puts off says less than the one that failed before it.
        let put_off = matches!(error.cause(), Cause::PutOff | Cause::PoolExhausted);
        let mut state = self.state();
        if put_off && state.failure.is_some() {
            return error;
        }
        let output = if self.is_program && !put_off { connector.last_output() } else { Vec::new() };
        if !output.is_empty() {
            // Indented, so that no line of the program's looks like one of the gateway's.
            let lines = output.join("\n    | ");
            tracing::warn!(server = self.name, %error, "a program failed to start; its last lines:\n    | {lines}");
        }
        state.failures += 1;
        state.failure = Some(StartFailure { error: error.repeat(), output });
        error
    }

    /// Reports the start of a program from time to time.
    async fn report(&self) -> Infallible {
        let mut pause = FIRST_REPORT;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            if let Some(starting) = self.under_way() {
                tracing::info!(server = self.name, "{}: {}", self.name, self.words(starting));
            }
        }
    }

    /// The start of a program that is under way, such as `starting, 12 s, npx is installing`.
    pub(crate) fn progress(&self) -> Option<String> {
        Some(self.words(self.under_way()?))
    }

    fn words(&self, starting: Starting) -> String {
        let (comma, fetching) = self.fetching.as_deref().map_or(("", ""), |fetching| (", ", fetching));
        format!("starting, {} s{comma}{fetching}", starting.so_far.as_secs())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A start under way; it ends when this is dropped.
struct UnderWay<'a> {
    startup: &'a Startup,
    at: Tick,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.startup.state();
        state.under_way = state.under_way.saturating_sub(1);
        if state.under_way == 0 {
            state.since = None;
        }
    }
}
