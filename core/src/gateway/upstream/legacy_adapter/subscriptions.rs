//! Notifications of a modern server: streams of `subscriptions/listen`, which stand for the notifications of a legacy
//! session. They are opened again when they break, and then the client is notified of everything that it may have missed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::rounds::own;
use super::{AdapterState, granted, translate};
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::envelope::quote;
use crate::rpc::{Members, Message, Method, Shape};
use crate::tasks::Tasks;
use crate::transport::{Exchange, Outgoing};

/// Resources to which one client may be subscribed at one server.
const MOST: usize = 256;
/// Notifications that may wait for a client without a stream.
const WAITING: usize = 64;
/// The wait before a stream that broke is opened again, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Changes of a server's lists, as its shared watch is notified of them.
#[derive(Clone, Debug)]
pub(crate) struct Changes(broadcast::Sender<Message>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::channel(WAITING).0)
    }
}

/// The source of a link's list-change notifications.
#[derive(Clone, Debug)]
pub(crate) enum Watching {
    /// The link asks the server itself, and notifies the others.
    Opens(Changes),
    /// Another link has asked.
    Follows(Changes),
}

/// A link's subscriptions.
pub(super) struct Subscriptions {
    watching: Watching,
    tasks: Tasks,
    told: mpsc::Sender<Message>,
    unheard: Mutex<Option<mpsc::Receiver<Message>>>,
    /// Subscribed from the beginning, so that nothing is missed until the client listens.
    changed: Mutex<Option<broadcast::Receiver<Message>>>,
    /// By URI.
    open: Mutex<HashMap<String, CancellationToken>>,
    closed: CancellationToken,
}

impl Subscriptions {
    pub(super) fn new(watching: Watching, tasks: Tasks) -> Self {
        let (told, unheard) = mpsc::channel(WAITING);
        let changed = match &watching {
            Watching::Follows(changes) => Some(changes.0.subscribe()),
            Watching::Opens(_) => None,
        };
        Self {
            watching,
            tasks,
            told,
            unheard: Mutex::new(Some(unheard)),
            changed: Mutex::new(changed),
            open: Mutex::default(),
            closed: CancellationToken::new(),
        }
    }

    pub(super) fn close(&self) {
        self.closed.cancel();
        self.open().clear();
    }

    /// The messages for the client outside of its requests; returned once, as over stdio.
    pub(super) fn listen(bridge: &Arc<AdapterState>) -> Option<BoxStream<'static, Message>> {
        let this = &bridge.subscriptions;
        let mut unheard = this.unheard.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let updates = stream::poll_fn(move |context| unheard.poll_recv(context)).boxed();
        let changes = match &this.watching {
            Watching::Follows(changes) => {
                let changed = this.changed.lock().unwrap_or_else(PoisonError::into_inner).take();
                follow(changed.unwrap_or_else(|| changes.0.subscribe()))
            }
            Watching::Opens(changes) => match wanted_lists(bridge) {
                Some((wanted, again)) => {
                    let changes = changes.clone();
                    let standing = Standing::new(bridge, format!("{{{wanted}}}"), again);
                    standing
                        .messages()
                        // There may be no follower.
                        .inspect(move |message| drop(changes.0.send(message.clone())))
                        .boxed()
                }
                None => stream::pending().boxed(),
            },
        };
        Some(stream::select(updates, changes).take_until(this.closed.clone().cancelled_owned()).boxed())
    }

    /// `resources/subscribe`: a stream for this resource, in the client's name.
    pub(super) async fn subscribe(bridge: &Arc<AdapterState>, outgoing: Outgoing) -> Result<Exchange> {
        let this = &bridge.subscriptions;
        let Some(uri) = uri_of(&outgoing) else { return Err(no_uri()) };
        if this.open().len() >= MOST {
            let message = "the client is subscribed to as many resources of this server as it may be";
            return Err(Error::new(ErrorKind::RateLimited, message).with("limit", MOST).not_sent());
        }
        let wanted = format!(r#"{{"resourceSubscriptions":[{}]}}"#, quote(&uri));
        let updated = format!(r#"{{"uri":{}}}"#, quote(&uri));
        let again = Message::request(None, Method::ResourceUpdated.as_str(), Some(&updated));
        let mut standing = Standing::new(bridge, wanted, vec![Message::parse(again)?]);
        match standing.open().await? {
            Opened::Granted => {}
            Opened::Refused(Some(refusal)) => {
                let body = refusal.with_id(outgoing.id.to_string()).apply(refusal.bytes());
                return Message::parse(body).map(Exchange::One);
            }
            Opened::Refused(None) => {
                let message = "the server does not send notifications of changes of this resource";
                return Err(Error::new(ErrorKind::MethodNotFound, message));
            }
        }
        let ended = this.closed.child_token();
        if let Some(before) = this.open().insert(uri, ended.clone()) {
            before.cancel();
        }
        let told = this.told.clone();
        this.tasks.spawn(async move {
            let mut messages = standing.messages().take_until(ended.cancelled_owned()).boxed();
            while let Some(message) = messages.next().await {
                // A client that does not listen loses messages.
                let _ = told.try_send(message);
            }
        });
        own(outgoing.id, "{}")
    }

    pub(super) fn unsubscribe(&self, outgoing: &Outgoing) -> Result<Exchange> {
        let Some(uri) = uri_of(outgoing) else { return Err(no_uri()) };
        if let Some(ended) = self.open().remove(&uri) {
            ended.cancel();
        }
        own(outgoing.id, "{}")
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a stream was opened.
enum Opened {
    /// The server grants at least some of the requested notifications.
    Granted,
    /// The server grants none; its error response if it sent one.
    Refused(Option<Message>),
}

/// A stream of `subscriptions/listen` that is opened again when it ends.
struct Standing {
    bridge: Arc<AdapterState>,
    /// The raw `notifications` of the request.
    wanted: String,
    /// The notifications for the client once the stream is open anew.
    again: Vec<Message>,
    due: Vec<Message>,
    messages: Option<BoxStream<'static, Result<Message>>>,
    pause: Duration,
}

impl Standing {
    fn new(bridge: &Arc<AdapterState>, wanted: String, again: Vec<Message>) -> Self {
        let bridge = Arc::clone(bridge);
        Self { bridge, wanted, again, due: Vec::new(), messages: None, pause: Duration::ZERO }
    }

    /// Asks for the stream and waits until the server has acknowledged it.
    async fn open(&mut self) -> Result<Opened> {
        let params = format!(r#"{{"notifications":{}}}"#, self.wanted);
        let outgoing = self.bridge.request_for(&Method::Listen, &params)?;
        let mut messages = match self.bridge.session.request(outgoing).await? {
            Exchange::One(answer) => {
                return Ok(Opened::Refused(Some(answer).filter(|answer| answer.error().is_some())));
            }
            Exchange::Many(messages) => messages,
        };
        let cut = || {
            Error::new(
                ErrorKind::BadUpstream,
                "the server ended the subscription's stream before it acknowledged it",
            )
        };
        let first = messages.next().await.ok_or_else(cut)??;
        if first.shape() == Shape::Response {
            return Ok(Opened::Refused(Some(first).filter(|answer| answer.error().is_some())));
        }
        let nothing = granted(&first)
            .is_some_and(|granted| granted.iter().all(|(_, value)| matches!(value, "false" | "null" | "[]")));
        if nothing {
            return Ok(Opened::Refused(None));
        }
        self.messages = Some(messages);
        Ok(Opened::Granted)
    }

    /// The server's notifications; ends when the server will send no more, or the connection was closed.
    fn messages(self) -> impl futures_util::Stream<Item = Message> + Send {
        stream::unfold(self, |mut this| async move { Some((this.next().await?, this)) })
    }

    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.due.pop() {
                return Some(message);
            }
            let Some(messages) = &mut self.messages else {
                if !self.reopen().await {
                    return None;
                }
                continue;
            };
            match messages.next().await {
                Some(Ok(message)) if message.shape() == Shape::Notification => {
                    self.pause = PAUSE;
                    match translate::notification(&message) {
                        Ok(message) => return Some(message),
                        Err(error) => tracing::debug!(%error, "a notification of a server cannot be read"),
                    }
                }
                // Ended by the server, or cut.
                _ => self.messages = None,
            }
        }
    }

    /// Tries to open the stream again; false if it cannot be opened any more.
    async fn reopen(&mut self) -> bool {
        let first = self.pause.is_zero();
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).clamp(PAUSE, LONGEST_PAUSE);
        if !self.bridge.session.is_open() {
            return false;
        }
        match self.open().await {
            Ok(Opened::Granted) => {
                if !first {
                    self.due.clone_from(&self.again);
                }
                true
            }
            Ok(Opened::Refused(_)) => false,
            Err(error) => {
                tracing::debug!(%error, "a server's stream of changes cannot be opened yet");
                true
            }
        }
    }
}

/// The earlier notifications, each kind once, and those from now on.
fn follow(mut receiver: broadcast::Receiver<Message>) -> BoxStream<'static, Message> {
    use broadcast::error::{RecvError, TryRecvError};
    let mut before: Vec<Message> = Vec::new();
    loop {
        match receiver.try_recv() {
            Ok(message) if before.iter().all(|one| one.method() != message.method()) => before.push(message),
            Ok(_) | Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    let later = stream::unfold(receiver, |mut receiver| async move {
        loop {
            match receiver.recv().await {
                Ok(message) => return Some((message, receiver)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    stream::iter(before).chain(later).boxed()
}

/// The members of `notifications` for the lists whose changes the server says that it announces, and the notification
/// for each.
fn wanted_lists(bridge: &AdapterState) -> Option<(String, Vec<Message>)> {
    let said = Members::parse(bridge.session.initialize_result()).ok()?;
    let capabilities = Members::parse(said.get("capabilities")?).ok()?;
    let (mut wanted, mut again) = (Vec::new(), Vec::new());
    for (capability, member, method) in [
        ("tools", "toolsListChanged", Method::ToolsChanged),
        ("resources", "resourcesListChanged", Method::ResourcesChanged),
        ("prompts", "promptsListChanged", Method::PromptsChanged),
    ] {
        let tells = capabilities
            .get(capability)
            .and_then(|raw| Members::parse(raw).ok()?.get("listChanged"))
            .is_some_and(|raw| raw == "true");
        if tells {
            wanted.push(format!(r#""{member}":true"#));
            again.push(Message::parse(Message::request(None, method.as_str(), None)).ok()?);
        }
    }
    (!wanted.is_empty()).then(|| (wanted.join(","), again))
}

fn uri_of(outgoing: &Outgoing) -> Option<String> {
    translate::uri(&Message::parse(outgoing.body.clone()).ok()?)
}

fn no_uri() -> Error {
    Error::new(ErrorKind::InvalidParams, "`params.uri` must be a string").not_sent()
}
