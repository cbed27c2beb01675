//! The era in which the gateway speaks to one server: found out by one probe, remembered, and found out anew when the server
//! turns out to have changed.
//!
//! A server that speaks both eras is sent each client's messages in the client's own era, so that nothing has to be translated.
//! A server that only speaks the modern era has a single session without any state, which all clients share; each legacy client
//! reaches it through a link of its own (`legacy_adapter.rs`). Over HTTP a modern server is tried for the legacy era when the
//! first legacy client wants it, and not before: in its own era no client sends it `initialize`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use arc_swap::ArcSwapOption;

use super::legacy_adapter::{Changes, LegacyAdapter, Mirrors, Parts, Watching};
use super::startup::Startup;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::model::{EraWish, Server};
use crate::rpc::version::{self, Era};
use crate::tasks::Tasks;
use crate::transport::{Connector, Hello, Session};

const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

/// The path to one server, in the eras that it speaks.
#[derive(Debug)]
pub(crate) struct EraNegotiator {
    pub(crate) connector: Arc<dyn Connector>,
    wish: EraWish,
    legacy: AtomicU8,
    modern: AtomicU8,
    /// Whether a legacy client wants the server, so that it matters whether it speaks legacy.
    legacy_wanted: AtomicBool,
    raw: ArcSwapOption<Session>,
    /// Held while `raw` is opened: of two child processes each would send one half of the notifications.
    opening: tokio::sync::Mutex<()>,
    changes: Changes,
    pub(crate) mirrors: Arc<Mirrors>,
    pub(crate) startup: Arc<Startup>,
    tasks: Tasks,
}

/// How the next session is opened.
#[derive(Debug, PartialEq, Eq)]
enum OpenMode {
    Legacy,
    /// The server speaks modern, and has not been tried for legacy, although a client wants it.
    Trial,
    Modern,
    Probe,
}

impl EraNegotiator {
    pub(crate) fn new(
        server: &Server,
        connector: Arc<dyn Connector>,
        startup: Arc<Startup>,
        tasks: Tasks,
    ) -> Arc<Self> {
        let wish = server.configuration.era;
        let known = |era| match wish {
            EraWish::Auto => AtomicU8::new(UNKNOWN),
            wish => AtomicU8::new(if wish == era { YES } else { NO }),
        };
        Arc::new(Self {
            wish,
            legacy: known(EraWish::Legacy),
            modern: known(EraWish::Modern),
            legacy_wanted: AtomicBool::new(connector.is_duplex()),
            connector,
            raw: ArcSwapOption::empty(),
            opening: tokio::sync::Mutex::default(),
            changes: Changes::default(),
            mirrors: Arc::default(),
            startup,
            tasks,
        })
    }

    /// Another path to the same server, with the eras that were found out so far.
    pub(crate) fn with(&self, connector: Arc<dyn Connector>) -> Arc<Self> {
        let known = |era: &AtomicU8| AtomicU8::new(era.load(Ordering::Acquire));
        Arc::new(Self {
            connector,
            wish: self.wish,
            legacy: known(&self.legacy),
            modern: known(&self.modern),
            legacy_wanted: AtomicBool::new(self.legacy_wanted.load(Ordering::Acquire)),
            raw: ArcSwapOption::empty(),
            opening: tokio::sync::Mutex::default(),
            changes: Changes::default(),
            mirrors: Arc::clone(&self.mirrors),
            startup: Arc::clone(&self.startup),
            tasks: self.tasks.clone(),
        })
    }

    /// The session for modern requests, if it is open.
    pub(crate) fn modern_session(&self) -> Option<Arc<Session>> {
        self.raw.load_full().filter(|session| session.is_open())
    }

    /// Notes that a legacy client wants the server. True if the server is modern and it is not known yet whether it speaks
    /// legacy, too: then the next session that is opened finds out.
    pub(crate) fn want_legacy(&self) -> bool {
        self.legacy_wanted.store(true, Ordering::Release);
        self.way() == OpenMode::Trial
    }

    /// A session in which the server seems to speak legacy, in whichever era it is. `own`: it belongs to one client.
    ///
    /// Errors as [`Session::open`]'s.
    pub(crate) async fn legacy(&self, hello: &Hello, own: bool) -> Result<Arc<Session>> {
        let mut anew = false;
        loop {
            let outcome = match self.way() {
                OpenMode::Legacy => {
                    let (connector, limit) = (&*self.connector, self.startup.limit());
                    self.startup.run(connector, Session::open(connector, hello, own, limit)).await
                }
                OpenMode::Trial => {
                    match Session::open(&*self.connector, hello, own, self.startup.trial_limit()).await {
                        Ok(session) => {
                            self.legacy.store(YES, Ordering::Release);
                            return Ok(session);
                        }
                        Err(error) if error.delivery() == crate::error::Delivery::NotSent => {
                            return Err(error);
                        }
                        Err(error) => {
                            tracing::debug!(?self.connector, %error, "a modern server does not speak legacy");
                            self.legacy.store(NO, Ordering::Release);
                        }
                    }
                    continue;
                }
                OpenMode::Modern => self.bridged(hello, own).await,
                OpenMode::Probe => {
                    let (connector, limit) = (&*self.connector, self.startup.limit());
                    let probing = Session::probe(connector, hello, own, limit);
                    let session = self.startup.run(connector, probing).await?;
                    let is_modern = session.era() == Era::Modern;
                    self.modern.store(if is_modern { YES } else { NO }, Ordering::Release);
                    if !is_modern {
                        self.legacy.store(YES, Ordering::Release);
                        return Ok(session);
                    }
                    self.keep(session, own).await;
                    continue;
                }
            };
            match outcome {
                Err(error) if !anew && self.wish == EraWish::Auto && is_refusal(&error) => {
                    anew = true;
                    self.forget();
                }
                outcome => return outcome,
            }
        }
    }

    /// The session for modern requests, opened if need be; `None` if the server is not of that era.
    pub(crate) async fn modern(&self) -> Result<Option<Arc<Session>>> {
        if self.modern.load(Ordering::Acquire) != YES {
            return Ok(None);
        }
        match self.raw().await {
            Err(error) if self.wish == EraWish::Auto && is_refusal(&error) => {
                self.forget();
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }

    /// As [`EraNegotiator::modern`]; `None` also unless the server is known to speak nothing else.
    pub(crate) async fn modern_alone(&self) -> Result<Option<Arc<Session>>> {
        match self.way() {
            OpenMode::Modern => self.modern().await,
            _ => Ok(None),
        }
    }

    /// Ends the shared session.
    pub(crate) async fn close(&self) {
        if let Some(session) = self.raw.swap(None) {
            session.close().await;
        }
    }

    fn way(&self) -> OpenMode {
        // Over HTTP a modern session never ends by itself: one that is closed was closed because the server had changed.
        let changed = !self.connector.starts_process()
            && self.raw.load().as_ref().is_some_and(|session| !session.is_open());
        if changed {
            self.raw.store(None);
            if self.wish == EraWish::Auto {
                self.forget();
            }
        }
        match (self.legacy.load(Ordering::Acquire), self.modern.load(Ordering::Acquire)) {
            (YES, _) => OpenMode::Legacy,
            (UNKNOWN, YES) if self.legacy_wanted.load(Ordering::Acquire) => OpenMode::Trial,
            (_, YES) => OpenMode::Modern,
            _ => OpenMode::Probe,
        }
    }

    fn forget(&self) {
        self.legacy.store(UNKNOWN, Ordering::Release);
        self.modern.store(UNKNOWN, Ordering::Release);
    }

    /// Keeps a modern session that a probe opened, if it can be shared.
    async fn keep(&self, session: Arc<Session>, own: bool) {
        let session = session.introduced_as(&hello("{}"));
        let turn = self.opening.lock().await;
        if self.modern_session().is_none() && !(own && self.connector.starts_process()) {
            self.raw.store(Some(session));
        } else {
            drop(turn);
            session.close().await;
        }
    }

    async fn raw(&self) -> Result<Arc<Session>> {
        if let Some(session) = self.modern_session() {
            return Ok(session);
        }
        let _turn = self.opening.lock().await;
        if let Some(session) = self.modern_session() {
            return Ok(session);
        }
        let session = self.open_modern(false).await?;
        self.raw.store(Some(Arc::clone(&session)));
        Ok(session)
    }

    async fn open_modern(&self, own: bool) -> Result<Arc<Session>> {
        let (connector, hello) = (&*self.connector, hello("{}"));
        let opening = Session::open_modern(connector, &hello, own, self.startup.limit());
        self.startup.run(connector, opening).await
    }

    async fn bridged(&self, said: &Hello, own: bool) -> Result<Arc<Session>> {
        let alone = if own && self.connector.starts_process() {
            match self.open_modern(true).await {
                Ok(session) => Some(session),
                // Only the log messages of a modern server belong to one client. Without them every client can still be served.
                Err(error) if is_crowded(&error) => None,
                Err(error) => return Err(error),
            }
        } else {
            None
        };
        let apart = alone.is_some();
        let (session, watching) = if let Some(session) = alone {
            (session, Watching::Opens(Changes::default()))
        } else {
            let changes = self.changes.clone();
            let watching = if own { Watching::Follows(changes) } else { Watching::Opens(changes) };
            (self.raw().await?, watching)
        };
        let parts = Parts {
            session,
            hello: said.clone(),
            owns: apart || !own,
            watching,
            mirrors: Arc::clone(&self.mirrors),
            tasks: self.tasks.clone(),
        };
        LegacyAdapter::open(parts, own)
    }
}

/// The gateway's introduction when it speaks for itself.
pub(crate) fn hello(capabilities: &str) -> Hello {
    Hello {
        version: version::LATEST_LEGACY.into(),
        capabilities: capabilities.into(),
        client_info: format!(r#"{{"name":"mcp-gateway","version":"{}"}}"#, env!("CARGO_PKG_VERSION")),
    }
}

/// Whether the pool is full, so that no other process of the server can start.
fn is_crowded(error: &Error) -> bool {
    *error.cause() == Cause::PoolExhausted
}

/// Whether a server refused a session of this kind, as opposed to being unreachable.
fn is_refusal(error: &Error) -> bool {
    let by_status = matches!(error.upstream_status(), Some(400 | 404 | 405 | 406 | 415 | 422));
    match error.kind() {
        ErrorKind::UnsupportedVersion | ErrorKind::SessionNotFound => true,
        ErrorKind::BadUpstream => by_status || *error.cause() == Cause::Refused,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream() -> Error {
        Error::new(ErrorKind::BadUpstream, "m")
    }

    #[test]
    fn a_server_is_met_anew_after_a_refusal_and_not_for_the_words_of_an_error() {
        assert!(is_refusal(&upstream().with("answered", "x").status(405)));
        assert!(is_refusal(&upstream().because(Cause::Refused)));
        assert!(!is_refusal(&upstream().status(503)));
        assert!(!is_refusal(&upstream().with("status", 405)));
        assert!(!is_refusal(&upstream().with("code", -32601)));
    }

    #[test]
    fn a_full_pool_is_told_by_its_cause() {
        let unavailable = || Error::new(ErrorKind::Unavailable, "m");
        assert!(is_crowded(&unavailable().because(Cause::PoolExhausted)));
        assert!(!is_crowded(&unavailable().with("max_connections", 1)));
    }
}
