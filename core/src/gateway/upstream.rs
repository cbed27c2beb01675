//! One registered server as the gateway reaches it: its connector, the session that is shared, and sessions that
//! belong to one client.
//!
//! The shared session declares no client capability: a server cannot ask anything of everybody. It carries probes,
//! calls without a session and, where the server is a child process, calls of clients of which it has nothing to remember. Discovery opens a
//! session for itself that declares everything, since some servers offer some tools only to clients that can be asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::bridge::upward;
use super::reach::{Reach, hello};
use crate::discovery::{self, Fetched};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Listing, ProbeKind, Server};
use crate::rpc::{Members, Method};
use crate::tasks::Tasks;
use crate::transport::{Connector, Hello, Session};

type Opening = Shared<BoxFuture<'static, Result<Arc<Session>, Arc<Error>>>>;

/// A server and the ways to it.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Differs between any two of this process: a server whose endpoint changed has another.
    pub(super) number: u64,
    pub(super) server: Arc<Server>,
    reach: Arc<Reach>,
    shared: Mutex<SharedState>,
    tasks: Tasks,
}

#[derive(Default)]
enum SharedState {
    #[default]
    None,
    /// All who need it wait for the one attempt, and share its failure: a server that hangs is not asked again by each.
    Opening(Opening),
    Open(Arc<Session>),
}

impl std::fmt::Debug for SharedState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Opening(_) => "Opening",
            Self::Open(_) => "Open",
        })
    }
}

impl Upstream {
    pub(super) fn new(server: Arc<Server>, connector: Arc<dyn Connector>, tasks: Tasks) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let reach = Reach::new(&server, connector, tasks.clone());
        Arc::new(Self { number, server, reach, shared: Mutex::default(), tasks })
    }

    /// The shared session, opened if need be. `opened` is called once for each session that is opened.
    pub(super) async fn shared(&self, opened: impl FnOnce(&Arc<Session>)) -> Result<Arc<Session>> {
        let opening = {
            let mut state = self.state();
            match &*state {
                SharedState::Open(session) if session.is_open() => return Ok(Arc::clone(session)),
                SharedState::Opening(opening) if !matches!(opening.peek(), Some(Err(_))) => opening.clone(),
                _ => {
                    let reach = Arc::clone(&self.reach);
                    let opening = async move { reach.legacy(&hello("{}"), false).await.map_err(Arc::new) }
                        .boxed()
                        .shared();
                    *state = SharedState::Opening(opening.clone());
                    // Goes on although whoever wanted it gives up: others may wait, and it is of use anyway.
                    let driven = opening.clone();
                    self.tasks.spawn(async move { drop(driven.await) });
                    opening
                }
            }
        };
        let result = opening.clone().await;
        let mut state = self.state();
        if matches!(&*state, SharedState::Opening(current) if current.ptr_eq(&opening)) {
            match &result {
                Ok(session) => {
                    *state = SharedState::Open(Arc::clone(session));
                    opened(session);
                }
                Err(_) => *state = SharedState::None,
            }
        }
        result.map_err(|error| error.repeat())
    }

    /// A session that belongs to one client.
    pub(super) async fn own(&self, hello: &Hello) -> Result<Arc<Session>> {
        self.reach.legacy(hello, true).await
    }

    /// The session of the modern era that all share, opened if need be; `None` if the server only speaks legacy.
    /// `opened` as for [`Upstream::shared`].
    pub(super) async fn modern(&self, opened: impl FnOnce(&Arc<Session>)) -> Result<Option<Arc<Session>>> {
        if let Some(session) = self.reach.modern_session() {
            return Ok(Some(session));
        }
        // Whoever comes first finds out the era; all wait for that.
        self.shared(opened).await?;
        self.reach.modern().await
    }

    /// The session of the modern era that all share, if it is open: nearly every modern call finds it so.
    pub(super) fn modern_session(&self) -> Option<Arc<Session>> {
        self.reach.modern_session()
    }

    /// Forgets the shared session if it is this one: the server has forgotten it, or the link is broken.
    pub(super) fn forget(&self, lost: &Arc<Session>) {
        let mut state = self.state();
        if matches!(&*state, SharedState::Open(session) if Arc::ptr_eq(session, lost)) {
            *state = SharedState::None;
            // Its stream ends with it, and so does whoever listens to that.
            let lost = Arc::clone(lost);
            self.tasks.spawn(async move { lost.close().await });
        }
    }

    /// Asks the server everything that it offers, as a client that can be asked anything.
    pub(super) async fn discover(&self) -> Result<Listing> {
        let capabilities =
            r#"{"roots":{"listChanged":true},"sampling":{},"elicitation":{"form":{},"url":{}}}"#;
        let hello = hello(capabilities);
        let fetched = if let Some(modern) = self.reach.modern_alone().await? {
            self.fetch_modern(&modern, &hello).await
        } else {
            let session = self.own(&hello).await?;
            let fetched = self.fetch(&session, &hello).await;
            session.close().await;
            fetched
        };
        let fetched = fetched?;
        self.learn(&fetched.listing);
        for item in &fetched.excluded {
            tracing::warn!(server = self.server.name, ?item, "something that a server offers is left out");
        }
        Ok(fetched.listing)
    }

    /// Which arguments of its tools are repeated in headers.
    pub(super) fn mirrors(&self) -> &super::bridge::upward::Mirrors {
        &self.reach.mirrors
    }

    async fn fetch(&self, session: &Session, hello: &Hello) -> Result<Fetched> {
        let timeout = self.server.configuration.timeout;
        match self.reach.modern().await? {
            Some(modern) => {
                // Of both eras: legacy clients are told what the server itself tells them.
                let mut fetched = self.fetch_modern(&modern, hello).await?;
                fetched.listing.initialize = Some(session.initialize_result().to_owned());
                Ok(fetched)
            }
            None => discovery::fetch(&Asking { session, timeout }, session.initialize_result()).await,
        }
    }

    async fn fetch_modern(&self, session: &Session, hello: &Hello) -> Result<Fetched> {
        let (session, timeout) = (session.introduced_as(hello), self.server.configuration.timeout);
        let mut fetched = discovery::fetch_modern(&Asking { session: &session, timeout }).await?;
        if let Some(modern) = &fetched.listing.modern {
            fetched.listing.initialize = Some(upward::introduction(&modern.discover)?);
        }
        Ok(fetched)
    }

    /// Takes note of what the server offers, as far as calls depend on it.
    pub(super) fn learn(&self, listing: &Listing) {
        self.reach.mirrors.learn(listing);
    }

    /// Asks the server whether it is there.
    pub(super) async fn probe(&self, kind: ProbeKind, opened: impl FnOnce(&Arc<Session>)) -> Result<()> {
        if kind == ProbeKind::Connect {
            return self.reach.connector.check().await;
        }
        let session = self.shared(opened).await?;
        // The monitor bounds the whole probe; this only keeps a forgotten request from staying for ever.
        let patience = Duration::from_secs(60);
        let answer = match self.reach.modern_session() {
            Some(modern) => {
                let answer = modern.ask(&Method::Discover, None, patience).await;
                // Every server of the modern era answers this: one that does not is asked anew what it is.
                if answer.as_ref().is_ok_and(|answer| answer.error().is_some()) {
                    modern.close().await;
                }
                answer
            }
            None => session.ask(&Method::Ping, None, patience).await,
        };
        if answer.is_err() {
            self.forget(&session);
        }
        answer.map(drop)
    }

    /// Ends the shared session.
    pub(super) async fn close(&self) {
        let state = std::mem::take(&mut *self.state());
        if let SharedState::Open(session) = state {
            session.close().await;
        }
        self.reach.close().await;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, SharedState> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Asking<'a> {
    session: &'a Session,
    timeout: Duration,
}

#[async_trait]
impl discovery::Ask for Asking<'_> {
    async fn ask(&self, method: &str, params: Option<String>) -> Result<String> {
        let answer = self.session.ask(&Method::of(method), params.as_deref(), self.timeout).await?;
        match answer.result() {
            Some(result) => Ok(result.to_owned()),
            None => Err(refused(answer.error().unwrap_or("{}"))),
        }
    }
}

/// What a server's error response to a list means for discovery.
fn refused(error: &str) -> Error {
    let code = Members::parse(error).ok().and_then(|members| members.get("code").map(str::to_owned));
    let kind =
        if code.as_deref() == Some("-32601") { ErrorKind::MethodNotFound } else { ErrorKind::BadUpstream };
    Error::new(kind, "the server refused to list what it offers").with("code", code.as_deref().unwrap_or("?"))
}
