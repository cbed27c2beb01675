//! A legacy client at a modern server: a link that looks to the gateway like a session with a legacy server.
//!
//! The session is emulated here: this link keeps the state that a legacy server would keep (the client's identity and
//! capabilities, its log level, its subscriptions) and sends it along with every request. Below it is a session of the modern
//! era, which many clients may share, since it keeps no state for any of them.

mod mirror;
mod rounds;
mod subscriptions;
mod translate;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::oneshot;

pub(crate) use self::mirror::Mirrors;
use self::rounds::{Rounds, own};
use self::subscriptions::Subscriptions;
pub(crate) use self::subscriptions::{Changes, Watching};
pub(crate) use self::translate::introduction;
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::{Members, Message, Method, Shape, meta, version};
use crate::tasks::Tasks;
use crate::transport::{Exchange, Hello, Link, Outgoing, Session};

/// A legacy client's link to a modern server.
pub(crate) struct LegacyAdapter(Arc<AdapterState>);

/// The state that the link, its requests in flight and its subscriptions share.
struct AdapterState {
    session: Arc<Session>,
    hello: Hello,
    /// The level that the client set, a raw JSON string.
    level: ArcSwapOption<String>,
    questions: Mutex<HashMap<u64, oneshot::Sender<Message>>>,
    next_question: AtomicU64,
    subscriptions: Subscriptions,
    mirrors: Arc<Mirrors>,
    open: AtomicBool,
    /// The session below is this link's own and ends with it.
    owns: bool,
}

/// The parts of a `LegacyAdapter`.
pub(crate) struct Parts {
    /// The modern session below.
    pub(crate) session: Arc<Session>,
    /// The client's statements in `initialize`.
    pub(crate) hello: Hello,
    /// Whether the session below ends with the link.
    pub(crate) owns: bool,
    /// The source of its list-change notifications.
    pub(crate) watching: Watching,
    /// The arguments that are repeated in headers.
    pub(crate) mirrors: Arc<Mirrors>,
    pub(crate) tasks: Tasks,
}

impl LegacyAdapter {
    /// A session that speaks legacy over `parts.session`. `own`: it belongs to one client, which can be asked.
    ///
    /// [`ErrorKind::BadUpstream`] if the server's introduction cannot be read.
    pub(crate) fn open(parts: Parts, own: bool) -> Result<Arc<Session>> {
        let Parts { session, hello, owns, watching, mirrors, tasks } = parts;
        let said = introduction(session.initialize_result())?;
        let introduction = Message::parse(crate::rpc::answer::result_response("1", &said))?;
        let ids = session.ids();
        let inner = Arc::new(AdapterState {
            session,
            hello,
            level: ArcSwapOption::empty(),
            questions: Mutex::default(),
            next_question: AtomicU64::new(1),
            subscriptions: Subscriptions::new(watching, tasks),
            mirrors,
            open: AtomicBool::new(true),
            owns,
        });
        Ok(Session::over(Arc::new(Self(inner)), own, introduction, version::LATEST_LEGACY, ids))
    }
}

impl AdapterState {
    fn questions(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Message>>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_answer(&self) -> (u64, oneshot::Receiver<Message>) {
        let id = self.next_question.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.questions().insert(id, sender);
        (id, receiver)
    }

    /// The request in the form that the server below expects.
    fn dressed(&self, outgoing: Outgoing) -> Result<Outgoing> {
        let message = Message::parse(outgoing.body).map_err(Error::not_sent)?;
        let level = self.level.load_full();
        let mut members = self.hello.meta().to_vec();
        if let Some(level) = &level {
            members.push((meta::LOG_LEVEL, level));
        }
        let body = translate::request(&message, &members).map_err(Error::not_sent)?;
        let headers = self.mirrors.headers(&message).or(outgoing.headers);
        Ok(Outgoing { body, headers, ..outgoing })
    }

    /// A request that this link makes in the client's name.
    fn request_for(&self, method: &Method, params: &str) -> Result<Outgoing> {
        let id = self.session.next_id();
        let body = Message::request(Some(id), method.as_str(), Some(params));
        self.dressed(Outgoing {
            id,
            method: method.clone(),
            body,
            correlation_id: None,
            headers: None,
            pauses: None,
            queued: None,
            call: None,
        })
    }

    fn set_level(&self, outgoing: &Outgoing) -> Result<Exchange> {
        let message = Message::parse(outgoing.body.clone())?;
        let level = message.params_members()?.get("level").map(|raw| Arc::new(raw.to_owned()));
        self.level.store(level);
        own(outgoing.id, "{}")
    }
}

impl fmt::Debug for LegacyAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upward").field(&self.0.session).finish()
    }
}

#[async_trait]
impl Link for LegacyAdapter {
    async fn request(&self, outgoing: Outgoing) -> Result<Exchange> {
        if !self.is_open() {
            return Err(Error::new(ErrorKind::SessionNotFound, "the session was ended").not_sent());
        }
        match outgoing.method {
            Method::Ping => own(outgoing.id, "{}"),
            Method::SetLevel => self.0.set_level(&outgoing),
            Method::ResourcesSubscribe => Box::pin(Subscriptions::subscribe(&self.0, outgoing)).await,
            Method::ResourcesUnsubscribe => self.0.subscriptions.unsubscribe(&outgoing),
            _ => Rounds::begin(Arc::clone(&self.0), self.0.dressed(outgoing)?).await,
        }
    }

    async fn notify(&self, message: Bytes) -> Result<()> {
        let message = Message::parse(message)?;
        match (message.shape(), message.method()) {
            (Shape::Response, _) => {
                let asked = message.id_number().and_then(|id| self.0.questions().remove(&id));
                if let Some(asked) = asked {
                    // The receiver may have given up.
                    let _ = asked.send(message);
                }
                Ok(())
            }
            (_, Some(Method::Cancelled)) => self.0.session.notify(message.bytes().clone()).await,
            // Nothing else is sent to a modern server: there is no session in which it could mean anything.
            _ => Ok(()),
        }
    }

    async fn listen(&self) -> Option<BoxStream<'static, Message>> {
        Subscriptions::listen(&self.0)
    }

    fn set_version(&self, _version: &str) {}

    fn cancels_when_dropped(&self) -> bool {
        self.0.session.cancels_when_dropped()
    }

    fn is_open(&self) -> bool {
        self.0.open.load(Ordering::Acquire) && self.0.session.is_open()
    }

    async fn close(&self) {
        self.0.open.store(false, Ordering::Release);
        self.0.subscriptions.close();
        self.0.questions().clear();
        if self.0.owns {
            self.0.session.close().await;
        }
    }
}

/// The grants in the acknowledgement of a `subscriptions/listen`: the raw members of `params.notifications`.
fn granted(message: &Message) -> Option<Members<'_>> {
    Members::parse(Members::parse(message.params()?).ok()?.get("notifications")?).ok()
}

#[cfg(test)]
mod tests;
