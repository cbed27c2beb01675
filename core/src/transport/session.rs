//! A link over which both sides have introduced themselves: the legacy handshake, and requests of the gateway's own. Sessions
//! with servers of the modern era are in `session/modern.rs`.

mod modern;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use super::{Connector, Exchange, Link, Outgoing};
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::rpc::envelope::quote;
use crate::rpc::object::text;
use crate::rpc::version::{Era, LEGACY};
use crate::rpc::{Members, Message, Method, Shape};

/// The id of the `initialize` request; later ids count on from it.
const INITIALIZE_ID: u64 = 1;

/// How the gateway introduces itself.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The revision that it asks for.
    pub version: String,
    /// The capabilities that it declares: a raw JSON object.
    pub capabilities: String,
    /// Its identity: a raw JSON object.
    pub client_info: String,
}

/// An initialized session with a server.
pub struct Session {
    link: Arc<dyn Link>,
    own: bool,
    answer: Message,
    version: String,
    era: Era,
    /// The gateway's introduction in each modern request of its own.
    hello: Option<Hello>,
    declared: Vec<Box<str>>,
    ids: Arc<AtomicU64>,
    closed: CancellationToken,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("link", &self.link)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// How a session is opened.
#[derive(Clone, Copy, Debug)]
enum HandshakeMode {
    Legacy,
    Modern,
    Either,
}

impl Session {
    /// Opens a link and introduces the gateway on it. `own`: it will carry one client's messages only.
    ///
    /// [`ErrorKind::Timeout`] after `timeout`; [`ErrorKind::UnsupportedVersion`], naming both, if the server speaks
    /// no revision that this gateway does; [`ErrorKind::BadUpstream`] if it refuses or does not answer as the
    /// specification says. The link is closed after an error.
    pub async fn open(
        connector: &dyn Connector,
        hello: &Hello,
        own: bool,
        timeout: Duration,
    ) -> Result<Arc<Self>> {
        Self::open_as(HandshakeMode::Legacy, connector, hello, own, timeout).await
    }

    /// Opens a link and makes a session of it in this mode; closes it if that fails, or takes longer than `timeout`.
    async fn open_as(
        way: HandshakeMode,
        connector: &dyn Connector,
        hello: &Hello,
        own: bool,
        timeout: Duration,
    ) -> Result<Arc<Self>> {
        let late = || {
            let message =
                format!("the server did not answer `initialize` within {} s", timeout.as_secs_f64());
            Error::new(ErrorKind::Timeout, message).because(Cause::StartTimeout)
        };
        let mut opened = None;
        let begun = async {
            let link = connector.connect(own).await?;
            let link = opened.insert(link);
            match way {
                HandshakeMode::Legacy => {
                    let (answer, version) = handshake(link.as_ref(), hello).await?;
                    Ok(Self::legacy(link, own, answer, version, INITIALIZE_ID))
                }
                HandshakeMode::Modern => Self::introduced(link, own, hello).await,
                HandshakeMode::Either => Self::probed(link, connector, own, hello).await,
            }
        };
        let outcome = tokio::time::timeout(timeout, begun).await.unwrap_or_else(|_| Err(late()));
        if let (Err(_), Some(link)) = (&outcome, opened) {
            link.close().await;
        }
        outcome
    }

    fn legacy(link: &Arc<dyn Link>, own: bool, answer: Message, version: String, last_id: u64) -> Arc<Self> {
        let declared = declared(&answer);
        let ids = Arc::new(AtomicU64::new(last_id + 1));
        let link = Arc::clone(link);
        let (era, closed) = (Era::Legacy, CancellationToken::new());
        Arc::new(Self { link, own, answer, version, era, hello: None, declared, ids, closed })
    }

    /// The raw result of `initialize`, or of `server/discover`, byte for byte.
    pub fn initialize_result(&self) -> &str {
        self.answer.result().unwrap_or("{}")
    }

    /// The negotiated revision.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The era of that revision: how requests must be made, and whether the server may ask.
    pub fn era(&self) -> Era {
        self.era
    }

    /// Whether the server declared this capability, such as `tools`.
    pub fn declares(&self, capability: &str) -> bool {
        self.declared.iter().any(|name| **name == *capability)
    }

    /// The names of the declared capabilities, in the server's order.
    pub fn declared(&self) -> impl Iterator<Item = &str> {
        self.declared.iter().map(AsRef::as_ref)
    }

    /// An id that no other request of this session has.
    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request; see [`Link::request`]. Its id is one that [`Session::next_id`] returned.
    pub async fn request(&self, outgoing: Outgoing) -> Result<Exchange> {
        self.link.request(outgoing).await
    }

    /// Sends a notification, or the response to a request of the server's.
    pub async fn notify(&self, message: Bytes) -> Result<()> {
        self.link.notify(message).await
    }

    /// Sends the server a request of the gateway's own and returns the response, which may be an error response. A `ping` of the
    /// server's in between is answered, other requests of its are refused, notifications passed over.
    ///
    /// [`ErrorKind::Timeout`] after `timeout`, or as [`Link::request`] says.
    pub async fn ask(&self, method: &Method, params: Option<&str>, timeout: Duration) -> Result<Message> {
        let id = self.next_id();
        let dressed = self.hello.as_ref().map(|hello| hello.dress(params)).transpose()?;
        let body = Message::request(Some(id), method.as_str(), dressed.as_deref().or(params));
        let outgoing = Outgoing {
            id,
            method: method.clone(),
            body,
            correlation_id: None,
            headers: None,
            pauses: None,
            queued: None,
            call: None,
        };
        let late = || {
            let message = format!("the server did not answer {method} within {} s", timeout.as_secs_f64());
            Error::new(ErrorKind::Timeout, message)
        };
        let answer = ask(self.link.as_ref(), outgoing);
        tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| Err(late()))
    }

    /// The messages that the server sends outside any exchange; see [`Link::listen`]. They end with the session, whatever the
    /// server does.
    pub async fn listen(&self) -> Option<BoxStream<'static, Message>> {
        let messages = tokio::select! {
            biased;
            () = self.closed.cancelled() => return None,
            messages = self.link.listen() => messages?,
        };
        Some(messages.take_until(self.closed.clone().cancelled_owned()).boxed())
    }

    /// Whether giving up a request is itself told to the server; otherwise `notifications/cancelled` is the caller's.
    pub fn cancels_when_dropped(&self) -> bool {
        self.link.cancels_when_dropped()
    }

    /// Whether streams that the server ends can be taken up again; see [`Link::numbers`].
    pub fn numbers(&self) -> bool {
        self.link.numbers()
    }

    /// Whether it can still carry messages, as far as is known without trying.
    pub fn is_open(&self) -> bool {
        self.link.is_open()
    }

    /// Whether it carries one client's messages only.
    pub fn is_own(&self) -> bool {
        self.own
    }

    /// Ends it at the server too.
    pub async fn close(&self) {
        self.closed.cancel();
        self.link.close().await;
    }

    /// Waits until it is closed from this side.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

async fn handshake(link: &dyn Link, hello: &Hello) -> Result<(Message, String)> {
    let params = format!(
        r#"{{"protocolVersion":{},"capabilities":{},"clientInfo":{}}}"#,
        quote(&hello.version),
        hello.capabilities,
        hello.client_info
    );
    let method = Method::Initialize;
    let body = Message::request(Some(INITIALIZE_ID), method.as_str(), Some(&params));
    let outgoing = Outgoing {
        id: INITIALIZE_ID,
        method,
        body,
        correlation_id: None,
        headers: None,
        pauses: None,
        queued: None,
        call: None,
    };
    let answer = ask(link, outgoing).await.map_err(|error| about(&Method::Initialize, error))?;
    let Some(result) = answer.result() else { return Err(refused(&answer, hello)) };
    let version =
        Members::parse(result).ok().and_then(|members| members.text("protocolVersion").map(String::from));
    let Some(version) = version else {
        let message = "the server's answer to initialize names no protocolVersion";
        return Err(Error::new(ErrorKind::BadUpstream, message));
    };
    if !LEGACY.contains(&&*version) {
        return Err(unsupported(&version, hello));
    }
    link.set_version(&version);
    let initialized = Message::request(None, Method::Initialized.as_str(), None);
    link.notify(initialized).await.map_err(|error| about(&Method::Initialized, error))?;
    Ok((answer, version))
}

/// An error of the handshake that says which message failed.
fn about(method: &Method, error: Error) -> Error {
    let message = match error.upstream_status() {
        Some(status) => format!("the server answered `{method}` with HTTP {status}: {}", error.message()),
        None => format!("`{method}` failed: {}", error.message()),
    };
    let kind = error.kind();
    error.recast(kind, message)
}

/// Sends a request and waits for its response.
async fn ask(link: &dyn Link, outgoing: Outgoing) -> Result<Message> {
    let mut messages = match link.request(outgoing).await? {
        Exchange::One(response) => return Ok(response),
        Exchange::Many(messages) => messages,
    };
    while let Some(message) = messages.next().await {
        let message = message?;
        match message.shape() {
            Shape::Response => return Ok(message),
            Shape::Request => link.notify(reply(&message)).await?,
            Shape::Notification => {}
        }
    }
    Err(Error::new(ErrorKind::BadUpstream, "the server ended its stream without an answer"))
}

/// The answer to a request of the server's during a request of the gateway's own.
fn reply(request: &Message) -> Bytes {
    let id = request.id().unwrap_or("null");
    if request.method() == Some(&Method::Ping) {
        return crate::rpc::answer::result_response(id, "{}");
    }
    let code = ErrorKind::MethodNotFound.row().rpc;
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"this request has no client that could answer"}}}}"#
    )
    .into()
}

/// The names of the capabilities in an answer to `initialize`.
fn declared(answer: &Message) -> Vec<Box<str>> {
    let result = answer.result().and_then(|result| Members::parse(result).ok());
    let capabilities = result.and_then(|result| Members::parse(result.get("capabilities")?).ok());
    capabilities.map(|members| members.iter().map(|(name, _)| name.into()).collect()).unwrap_or_default()
}

/// The error response to `initialize` as an error.
fn refused(answer: &Message, hello: &Hello) -> Error {
    let error = answer.error().and_then(|error| Members::parse(error).ok());
    let code = error.as_ref().and_then(|error| error.get("code"));
    if code == Some("-32022") {
        let data = error.as_ref().and_then(|error| Members::parse(error.get("data")?).ok());
        let supported = data.and_then(|data| data.get("supported")).unwrap_or("others");
        return unsupported(supported, hello);
    }
    let said = error.as_ref().and_then(|error| text(error.get("message")?)).unwrap_or_default();
    let said: String = said.chars().take(200).collect();
    Error::new(ErrorKind::BadUpstream, "the server refused to initialize a session")
        .because(Cause::Refused)
        .with("code", code.unwrap_or("none"))
        .with("message", said)
}

fn unsupported(offered: &str, hello: &Hello) -> Error {
    let offered: String = offered.chars().take(200).collect();
    let message = format!(
        "the server speaks protocol version {offered}; the gateway asked for {} and speaks {}",
        hello.version,
        LEGACY.join(", ")
    );
    Error::new(ErrorKind::UnsupportedVersion, message)
}

#[cfg(test)]
mod tests;
