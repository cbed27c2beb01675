//! One registered server as the gateway reaches it: its connector, the shared session, and sessions that belong to one
//! client.
//!
//! The shared session declares no client capability: a server cannot ask anything of everybody. It carries probes, calls
//! without a session and, where the server is a child process, calls of clients for which the server keeps no state, and
//! discovery. Elsewhere discovery opens a session for itself that declares everything, since some servers offer some tools only
//! to clients that can be asked.

pub(super) mod outcome;
pub(super) mod starts;
pub(super) mod startup;
mod probing;
pub(super) mod overrides;
pub(super) mod credential_cache;
#[cfg(feature = "oauth")]
pub(super) mod granted;
#[cfg(not(feature = "oauth"))]
pub(super) mod ungranted;
pub(super) mod legacy_adapter;
pub(super) mod era_negotiator;
pub(super) mod per_caller;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use self::era_negotiator::{EraNegotiator, hello};
use self::per_caller::PerCallerUpstreams;
use self::startup::{Starting, Startup};
use crate::clock::Clock;
use crate::discovery::{self, Fetched, Heard};
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::model::{Listing, Server};
use crate::rpc::{Members, Method};
use crate::tasks::Tasks;
use crate::tasks::awaited::{Awaited, promise};
use crate::transport::{Connector, ExaminedStep, Hello, QueueStats, Session};

/// How long an opening continues once the upstream is retired: a session that the server opens in that time is closed there.
const LINGER: Duration = Duration::from_secs(2);

/// How long a list may take once another list of the server was not answered in time.
const AFTER_A_LATE_LIST: Duration = Duration::from_secs(5);

/// A server and the paths to it.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Unique in this process: a server whose endpoint changed has another number.
    pub(crate) number: u64,
    pub(crate) server: Arc<Server>,
    negotiator: Arc<EraNegotiator>,
    shared: Mutex<SharedState>,
    /// Cancelled when the server must no longer be reached over this upstream.
    retired: CancellationToken,
    tasks: Tasks,
    /// The upstreams of callers that send the server credentials of their own: then this one is the gateway's alone.
    pub(crate) callers: Option<PerCallerUpstreams>,
}

#[derive(Debug, Default)]
enum SharedState {
    #[default]
    None,
    /// All callers that need it wait for the one attempt, and share its failure: a server that hangs is not asked again by each.
    Opening(Awaited<Arc<Session>>),
    Open(Arc<Session>),
    /// The upstream was closed; a task that opens a session now closes it again.
    Closed,
}

impl Upstream {
    /// The way to `server`; `start_timeout`: the time that a program has for its start, unless its registration says otherwise.
    pub(crate) fn new(
        server: Arc<Server>,
        connector: Arc<dyn Connector>,
        clock: Arc<dyn Clock>,
        start_timeout: Duration,
        tasks: Tasks,
    ) -> Arc<Self> {
        let number = next_number();
        let retired = CancellationToken::new();
        let startup = Startup::new(&server, &*connector, clock, start_timeout);
        let negotiator = EraNegotiator::new(&server, connector, startup, tasks.clone());
        let callers = (!server.configuration.credentials.is_shared()).then(PerCallerUpstreams::default);
        Arc::new(Self { number, server, negotiator, shared: Mutex::default(), retired, tasks, callers })
    }

    /// Whether all messages of a session pass over one connection; see [`Connector::is_duplex`].
    pub(crate) fn is_duplex(&self) -> bool {
        self.negotiator.connector.is_duplex()
    }

    /// The connections in use and the queue for them; see [`Connector::queue`].
    pub(crate) fn queue(&self) -> Option<QueueStats> {
        self.negotiator.connector.queue()
    }

    /// Whether each client has a session of its own by default; see [`Connector::remembers_clients`].
    pub(crate) fn remembers_clients(&self) -> bool {
        self.negotiator.connector.remembers_clients()
    }

    /// The upstream of one caller, which carries only that caller's messages.
    ///
    /// [`ErrorKind::InvalidParams`] if no credentials are sent over the server's transport.
    pub(crate) fn for_caller(&self, subject: &Arc<str>) -> Result<Arc<Self>> {
        let connector = self.negotiator.connector.for_caller(subject).ok_or_else(|| {
            let message = "callers cannot have credentials of their own for a server of this transport";
            Error::new(ErrorKind::InvalidParams, message).with("server", &self.server.name)
        })?;
        Ok(Arc::new(Self {
            number: next_number(),
            server: Arc::clone(&self.server),
            negotiator: self.negotiator.with(connector),
            shared: Mutex::default(),
            retired: self.retired.child_token(),
            tasks: self.tasks.clone(),
            callers: None,
        }))
    }

    /// Refuses to carry a caller's call, if this upstream is the gateway's alone.
    pub(crate) fn for_all(&self) -> Result<()> {
        if self.callers.is_none() {
            return Ok(());
        }
        let message = "a call was about to reach a server as the gateway itself does";
        Err(Error::new(ErrorKind::Internal, message).with("server", &self.server.name).not_sent())
    }

    /// Whether a session with the server is a program that the gateway starts; see [`Connector::starts_process`].
    pub(crate) fn starts_process(&self) -> bool {
        self.negotiator.connector.starts_process()
    }

    /// Examines the way to the server step by step; see [`Connector::examine`].
    pub(crate) async fn examine(&self) -> Vec<ExaminedStep> {
        self.negotiator.connector.examine().await
    }

    /// The starts of the server.
    pub(crate) fn startup(&self) -> &Startup {
        &self.negotiator.startup
    }

    /// The start of the server's program that is under way.
    pub(crate) fn starting(&self) -> Option<Starting> {
        self.startup().under_way()
    }

    /// The shared session, if it is open.
    pub(crate) fn shared_session(&self) -> Option<Arc<Session>> {
        match &*self.state() {
            SharedState::Open(session) if session.is_open() => Some(Arc::clone(session)),
            _ => None,
        }
    }

    /// The shared session, opened if need be. `opened` is called if this call has it opened.
    pub(crate) async fn shared(
        self: &Arc<Self>,
        opened: impl FnOnce(&Arc<Session>) + Send + 'static,
    ) -> Result<Arc<Session>> {
        let opening = {
            let mut state = self.state();
            match &*state {
                SharedState::Open(session) if session.is_open() => return Ok(Arc::clone(session)),
                SharedState::Opening(opening) => opening.clone(),
                SharedState::Closed => return Err(replaced()),
                SharedState::Open(_) | SharedState::None => {
                    let (promise, opening) = promise();
                    let before = std::mem::replace(&mut *state, SharedState::Opening(opening.clone()));
                    drop(state);
                    // Continues when the caller gives up: others may wait, and an opened session is used or closed.
                    let (this, mine) = (Arc::clone(self), opening.clone());
                    self.tasks.spawn_to_end(async move {
                        promise.keep(this.open_shared(&mine, opened).await);
                        if let SharedState::Open(broken) = before {
                            broken.close().await;
                        }
                    });
                    opening
                }
            }
        };
        opening.outcome().await
    }

    async fn open_shared(
        &self,
        opening: &Awaited<Arc<Session>>,
        opened: impl FnOnce(&Arc<Session>),
    ) -> Result<Arc<Session>> {
        let outcome = self.open(&hello("{}"), false).await;
        {
            let mut state = self.state();
            if matches!(&*state, SharedState::Opening(current) if current.is(opening)) {
                match &outcome {
                    Ok(session) => {
                        *state = SharedState::Open(Arc::clone(session));
                        opened(session);
                    }
                    Err(_) => *state = SharedState::None,
                }
                return outcome;
            }
        }
        if let Ok(session) = outcome {
            session.close().await;
        }
        Err(replaced())
    }

    /// A session that belongs to one client. The future must run to completion, so that an opened session is used or closed.
    pub(crate) async fn own(&self, hello: &Hello) -> Result<Arc<Session>> {
        self.open(hello, true).await
    }

    /// The shared session of the modern era, opened if need be; `None` if the server only speaks legacy. `opened` as for
    /// [`Upstream::shared`].
    pub(crate) async fn modern(
        self: &Arc<Self>,
        opened: impl FnOnce(&Arc<Session>) + Send + 'static,
    ) -> Result<Option<Arc<Session>>> {
        if let Some(session) = self.negotiator.modern_session() {
            return Ok(Some(session));
        }
        // The first caller finds out the era; all callers wait for that.
        self.shared(opened).await?;
        self.negotiator.modern().await
    }

    /// The shared session of the modern era, if it is open: nearly every modern call finds it open.
    pub(crate) fn modern_session(&self) -> Option<Arc<Session>> {
        self.negotiator.modern_session()
    }

    async fn open(&self, hello: &Hello, own: bool) -> Result<Arc<Session>> {
        let given_up = async {
            self.retired.cancelled().await;
            tokio::time::sleep(LINGER).await;
        };
        let session = tokio::select! {
            biased;
            session = self.negotiator.legacy(hello, own) => session?,
            () = given_up => return Err(replaced()),
        };
        if self.is_closed() {
            session.close().await;
            return Err(replaced());
        }
        Ok(session)
    }

    /// Forgets the shared session if it is this one: the server has forgotten it, or does not answer in it.
    pub(crate) fn forget(&self, lost: &Arc<Session>) {
        let mut state = self.state();
        if !matches!(&*state, SharedState::Open(session) if Arc::ptr_eq(session, lost)) {
            return;
        }
        *state = SharedState::None;
        drop(state);
        let (lost, retired) = (Arc::clone(lost), self.retired.clone());
        let time_limit = self.server.configuration.timeout;
        self.tasks.spawn_to_end(async move {
            // A server that is only busy may still answer the calls that it has: they get the time that every call gets.
            if lost.is_open() {
                tokio::select! {
                    () = retired.cancelled() => {}
                    () = tokio::time::sleep(time_limit) => {}
                }
            }
            lost.close().await;
        });
    }

    /// Asks the server for everything that it offers: a program in the shared session, which calls will use, since another start
    /// would be for this alone; any other server as a client that can be asked anything. `heard` is told after each list, and
    /// `opened` as for [`Upstream::shared`]. The future must run to completion.
    pub(crate) async fn discover(
        self: &Arc<Self>,
        heard: Heard<'_>,
        opened: impl FnOnce(&Arc<Session>) + Send + 'static,
    ) -> Result<Fetched> {
        let capabilities =
            r#"{"roots":{"listChanged":true},"sampling":{},"elicitation":{"form":{},"url":{}}}"#;
        let hello = hello(capabilities);
        if let Some(modern) = self.negotiator.modern_alone().await? {
            return self.unless_retired(self.fetch_modern(&modern, &hello, heard)).await;
        }
        if self.starts_process() {
            let session = self.shared(opened).await?;
            return Box::pin(self.unless_retired(self.fetch(&session, &hello, heard))).await;
        }
        let session = self.own(&hello).await?;
        let fetched = Box::pin(self.unless_retired(self.fetch(&session, &hello, heard))).await;
        session.close().await;
        fetched
    }

    /// As [`EraNegotiator::want_legacy`].
    pub(crate) fn want_legacy(&self) -> bool {
        self.negotiator.want_legacy()
    }

    /// The arguments of its tools that are repeated in headers.
    pub(crate) fn mirrors(&self) -> &self::legacy_adapter::Mirrors {
        &self.negotiator.mirrors
    }

    async fn unless_retired(&self, work: impl Future<Output = Result<Fetched>>) -> Result<Fetched> {
        tokio::select! {
            biased;
            fetched = work => fetched,
            () = self.retired.cancelled() => Err(replaced()),
        }
    }

    async fn fetch(&self, session: &Session, hello: &Hello, heard: Heard<'_>) -> Result<Fetched> {
        let timeout = self.server.configuration.timeout;
        match self.negotiator.modern().await? {
            Some(modern) => {
                // The server speaks both eras: legacy clients are sent the server's own introduction.
                let mut fetched = self.fetch_modern(&modern, hello, heard).await?;
                fetched.listing.initialize = Some(session.initialize_result().to_owned());
                Ok(fetched)
            }
            None => discovery::fetch(&Asking::of(session, timeout), session.initialize_result(), heard).await,
        }
    }

    async fn fetch_modern(&self, session: &Session, hello: &Hello, heard: Heard<'_>) -> Result<Fetched> {
        let (session, timeout) = (session.introduced_as(hello), self.server.configuration.timeout);
        // Its introduction is made once its lists are known.
        let heard = |part: &Fetched| part.listing.initialize.iter().for_each(|_| heard(part));
        let mut fetched = discovery::fetch_modern(&Asking::of(&session, timeout), &heard).await?;
        if let Some(modern) = &fetched.listing.modern {
            fetched.listing.initialize = Some(legacy_adapter::introduction(&modern.discover)?);
        }
        Ok(fetched)
    }

    /// Records the parts of the server's listing on which calls depend.
    pub(crate) fn learn(&self, listing: &Listing) {
        self.negotiator.mirrors.learn(listing);
    }

    /// No session is opened from now on, and none that is being opened stays open.
    pub(crate) fn retire(&self) {
        self.retired.cancel();
    }

    /// Whether it was retired.
    pub(crate) fn is_closed(&self) -> bool {
        self.retired.is_cancelled()
    }

    /// Retires it and ends the shared session.
    pub(crate) async fn close(&self) {
        self.retire();
        if let Some(callers) = &self.callers {
            // None of them has callers of its own.
            join_all(callers.take_all().iter().map(|way| Box::pin(way.close()))).await;
        }
        let before = std::mem::replace(&mut *self.state(), SharedState::Closed);
        match before {
            SharedState::Open(session) => session.close().await,
            // The task that opens it finds that it must be closed.
            SharedState::Opening(opening) => drop(opening.outcome().await),
            SharedState::None | SharedState::Closed => {}
        }
        self.negotiator.close().await;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, SharedState> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The error for a caller that still uses a retired upstream.
pub(crate) fn replaced() -> Error {
    Error::new(ErrorKind::Unavailable, "the server's registration has changed or ended; try again").not_sent()
}

struct Asking<'a> {
    session: &'a Session,
    timeout: Duration,
    /// Set once a list was not answered in time.
    is_late: AtomicBool,
}

impl<'a> Asking<'a> {
    fn of(session: &'a Session, timeout: Duration) -> Self {
        Self { session, timeout, is_late: AtomicBool::new(false) }
    }
}

#[async_trait]
impl discovery::ListSource for Asking<'_> {
    async fn ask(&self, method: &str, params: Option<String>) -> Result<String> {
        let late = self.is_late.load(Ordering::Relaxed);
        let timeout = if late { self.timeout.min(AFTER_A_LATE_LIST) } else { self.timeout };
        let answer = self.session.ask(&Method::of(method), params.as_deref(), timeout).await;
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout) {
            self.is_late.store(true, Ordering::Relaxed);
        }
        let answer = answer?;
        match answer.result() {
            Some(result) => Ok(result.to_owned()),
            None => Err(refused(answer.error().unwrap_or("{}"))),
        }
    }
}

/// The error for discovery from a server's error response to a list request.
fn refused(error: &str) -> Error {
    let code = Members::parse(error).ok().and_then(|members| members.get("code").map(str::to_owned));
    let kind =
        if code.as_deref() == Some("-32601") { ErrorKind::MethodNotFound } else { ErrorKind::BadUpstream };
    let message = Members::parse(error).ok().and_then(|members| members.text("message").map(String::from));
    let error = Error::new(kind, "the server refused to list what it offers")
        .because(Cause::Refused)
        .with("code", code.as_deref().unwrap_or("?"));
    match message {
        Some(message) => error.with("said", message.chars().take(200).collect::<String>()),
        None => error,
    }
}
