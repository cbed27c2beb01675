//! Servers that live in the program which embeds the gateway, reached without a socket.
//!
//! The program settles a server under its tenant and name; each link to it is a visit. A visit carries messages both ways, as a
//! child's pipes do. A registration outlives the program, so a server may be registered and not be there: then a call finds it
//! unavailable.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use tokio::sync::mpsc;

use super::duplex::{Conversation, DuplexLink, Ending, Item, QUEUE, Receipt, Unreadable, deliver};
use super::{Connector, Link, TransportContext};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Server, TenantId};
use crate::rpc::answer::{error_response, result_response};
use crate::rpc::version::Era;
use crate::rpc::{Message, Shape};
use crate::tasks::Tasks;

/// How the URL of such a server begins; its own name follows.
pub const SCHEME: &str = "memory";

/// Visits that may wait to be received.
const VISITS: usize = 64;

type Key = (TenantId, String);

/// The servers of this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct InProcessServers(Arc<Mutex<HashMap<Key, mpsc::Sender<ServerConnection>>>>);

impl InProcessServers {
    /// Settles a server. [`ErrorKind::Conflict`] if one of this name lives here already.
    pub fn settle(&self, tenant: &TenantId, name: &str) -> Result<InProcessServer> {
        let (door, visits) = mpsc::channel(VISITS);
        let key = (tenant.clone(), name.to_owned());
        let mut all = self.lock();
        if all.get(&key).is_some_and(|door| !door.is_closed()) {
            let message = "a server of this name is in this process already; close it first";
            return Err(Error::new(ErrorKind::Conflict, message).with("server", name));
        }
        all.insert(key, door);
        Ok(InProcessServer { visits })
    }

    fn door(&self, key: &Key) -> Option<mpsc::Sender<ServerConnection>> {
        self.lock().get(key).filter(|door| !door.is_closed()).cloned()
    }

    /// A panic elsewhere cannot leave it half changed: every change is one insert.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, mpsc::Sender<ServerConnection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's side: receives the visits. Dropped, the server has left.
#[derive(Debug)]
pub struct InProcessServer {
    visits: mpsc::Receiver<ServerConnection>,
}

impl InProcessServer {
    /// The next visit; `None` once the gateway is gone.
    pub async fn receive(&mut self) -> Option<ServerConnection> {
        self.visits.recv().await
    }
}

/// One link to the server, from the server's side. Dropped, the server has hung up.
///
/// A server can answer requests one by one ([`ServerConnection::answer`]), be one that a library made, over [`ServerConnection::into_pipe`], or take
/// messages and send them as it likes:
///
/// ```
/// use mcp_registry_gateway::ServerConnection;
///
/// /// Gives the ids of requests back, as an empty answer each.
/// async fn serve(mut visit: ServerConnection) {
///     let answers = visit.answers();
///     while let Some(message) = visit.receive().await {
///         let message: serde_json::Value = serde_json::from_slice(&message).unwrap_or_default();
///         if let Some(id) = message.get("id") {
///             let answer = serde_json::json!({ "jsonrpc": "2.0", "id": id, "result": {} });
///             let _ = answers.send(answer.to_string().into()).await;
///         }
///     }
/// }
/// # let _ = serve;
/// ```
#[derive(Debug)]
pub struct ServerConnection {
    said: mpsc::Receiver<Bytes>,
    answers: mpsc::Sender<Bytes>,
}

impl ServerConnection {
    /// The next message of the gateway's; `None` once the link is closed.
    pub async fn receive(&mut self) -> Option<Bytes> {
        self.said.recv().await
    }

    /// The sender for the server's messages. It waits while 256 are unread.
    pub fn answers(&self) -> mpsc::Sender<Bytes> {
        self.answers.clone()
    }

    /// Answers requests, given as their method and their parameters, until the link is closed. At most 256 are at work at once;
    /// notifications are passed over. The value that `answer` returns is the result; its error goes to the client as such.
    pub async fn answer<F, Fut>(self, answer: F)
    where
        F: Fn(String, Value) -> Fut,
        Fut: Future<Output = Result<Value>>,
    {
        let (said, answers) = self.into_parts();
        let requests = stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
        let answer_one = |bytes: Bytes| {
            let request = Message::parse(bytes).ok().filter(|message| message.shape() == Shape::Request);
            let working = request.as_ref().map(|request| {
                let params = request.params().map(serde_json::from_str).and_then(std::result::Result::ok);
                let method = request.method().map(ToString::to_string).unwrap_or_default();
                answer(method, params.unwrap_or_default())
            });
            let answers = &answers;
            async move {
                let (Some(request), Some(working)) = (request, working) else { return };
                let Some(id) = request.id() else { return };
                let response = match working.await {
                    Ok(result) => result_response(id, &result.to_string()),
                    Err(error) => error_response(Some(id), &error, Era::Legacy),
                };
                // Nobody waits for it once the link is closed.
                let _ = answers.send(response).await;
            }
        };
        requests.for_each_concurrent(QUEUE, answer_one).await;
    }

    pub(super) fn into_parts(self) -> (mpsc::Receiver<Bytes>, mpsc::Sender<Bytes>) {
        (self.said, self.answers)
    }
}

/// Opens links to one server of this process.
pub struct ResidentConnector {
    key: Key,
    name: Arc<str>,
    residents: InProcessServers,
    tasks: Tasks,
}

impl ResidentConnector {
    pub(super) fn with(server: &Server, means: &TransportContext) -> Self {
        Self {
            key: (server.tenant_id.clone(), server.name.clone()),
            name: server.name.as_str().into(),
            residents: means.residents.clone(),
            tasks: means.tasks.clone(),
        }
    }

    fn absent(&self) -> Error {
        let message = "the program that embeds this gateway has not put this server in place";
        Error::new(ErrorKind::Unavailable, message).with("server", &self.name).not_sent()
    }
}

impl fmt::Debug for ResidentConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResidentConnector({})", self.name)
    }
}

#[async_trait]
impl Connector for ResidentConnector {
    async fn connect(&self, own: bool) -> Result<Arc<dyn Link>> {
        let door = self.residents.door(&self.key).ok_or_else(|| self.absent())?;
        let (queue, queued) = mpsc::channel(QUEUE);
        let ((to_server, said), (answers, heard)) = (mpsc::channel(QUEUE), mpsc::channel(QUEUE));
        door.send(ServerConnection { said, answers }).await.map_err(|_| self.absent())?;
        let talk = Conversation::new(Arc::clone(&self.name), own, queue, Arc::default());
        // The asking task carries the request over, and the answering task the answer: there is no thread between the two to be
        // woken.
        self.tasks.spawn_near(converse(queued, to_server, heard, Arc::clone(&talk)));
        Ok(Arc::new(DuplexLink::new(talk)))
    }

    async fn check(&self) -> Result<()> {
        self.residents.door(&self.key).map(drop).ok_or_else(|| self.absent())
    }
}

/// Ends the exchanges also where the task is dropped without coming to an end.
struct PipeEnds(Arc<Conversation>);

impl Drop for PipeEnds {
    fn drop(&mut self) {
        let message = "the connection was closed".into();
        self.0.exchanges.end(Ending { message, status: None, last_words: None });
        self.0.finish();
    }
}

/// Carries messages until either side hangs up.
async fn converse(
    queued: mpsc::Receiver<Item>,
    to_server: mpsc::Sender<Bytes>,
    heard: mpsc::Receiver<Bytes>,
    talk: Arc<Conversation>,
) {
    let ends = PipeEnds(Arc::clone(&talk));
    // Side by side: a server that does not read must not keep the gateway from reading, or both would wait for ever.
    let why = tokio::select! {
        biased;
        () = talk.closing.cancelled() => None,
        why = read(heard, &talk) => Some(why),
        why = write(queued, to_server) => Some(why),
    };
    if let Some(message) = why {
        talk.exchanges.end(Ending { message: message.into(), status: None, last_words: None });
    }
    drop(ends);
}

async fn read(mut heard: mpsc::Receiver<Bytes>, talk: &Conversation) -> String {
    while let Some(bytes) = heard.recv().await {
        let told = deliver(&talk.exchanges, &bytes, |receipt| {
            if let Receipt::Overrun(id) = receipt {
                talk.cancel(id);
            }
        });
        match told {
            Ok(()) => {}
            Err(Unreadable { error, is_aside: true }) => {
                tracing::warn!(server = %talk.name, %error, "passed over a message that cannot be read");
            }
            Err(Unreadable { error, .. }) => {
                return format!("the server sent what is not an MCP message: {}", error.message());
            }
        }
    }
    "the server ended the conversation".to_owned()
}

async fn write(mut queued: mpsc::Receiver<Item>, to_server: mpsc::Sender<Bytes>) -> String {
    while let Some(item) = queued.recv().await {
        let Ok(room) = to_server.reserve().await else { break };
        if !item.slip.start() {
            continue;
        }
        // Nobody may wait for it: a notification that was given up.
        let _ = item.begun.send(());
        room.send(item.body);
    }
    "the server ended the conversation".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::error::Delivery;
    use crate::model::Registration;
    use crate::registry::validate;
    use crate::rpc::Method;
    use crate::transport::{Exchange, Outgoing};

    fn means() -> TransportContext {
        TransportContext::new(SystemClock::shared(), Tasks::default())
    }

    fn connector(means: &TransportContext) -> ResidentConnector {
        let registration = Registration {
            name: "own".into(),
            endpoint_url: Some("memory:own".into()),
            ..Registration::default()
        };
        let tenant = TenantId::default_tenant();
        let now = SystemClock::shared().timestamp();
        ResidentConnector::with(&validate::registration(&tenant, registration, now).unwrap().server, means)
    }

    fn ping() -> Outgoing {
        let body = Message::request(Some(1), "ping", None);
        Outgoing {
            id: 1,
            method: Method::Ping,
            body,
            correlation_id: None,
            headers: None,
            pauses: None,
            queued: None,
            call: None,
        }
    }

    #[tokio::test]
    async fn a_request_reaches_the_server_and_its_answer_the_gateway() {
        let means = means();
        let mut resident = means.residents.settle(&TenantId::default_tenant(), "own").unwrap();
        let link = connector(&means).connect(true).await.unwrap();
        let mut visit = resident.receive().await.unwrap();
        let (answer, ()) = tokio::join!(link.request(ping()), async {
            let asked = Message::parse(visit.receive().await.unwrap()).unwrap();
            let answer = crate::rpc::answer::result_response(asked.id().unwrap(), r#"{"b":1,"a":2}"#);
            visit.answers().send(answer).await.unwrap();
        });
        let Ok(Exchange::One(answer)) = answer else { panic!("one message") };
        assert_eq!(answer.result(), Some(r#"{"b":1,"a":2}"#));
        link.close().await;
        assert!(visit.receive().await.is_none());
    }

    #[tokio::test]
    async fn a_server_that_hangs_up_leaves_a_request_with_an_unknown_outcome_and_opens_a_new_link() {
        let means = means();
        let mut resident = means.residents.settle(&TenantId::default_tenant(), "own").unwrap();
        let connector = connector(&means);
        let link = connector.connect(true).await.unwrap();
        let mut visit = resident.receive().await.unwrap();
        let (answer, ()) = tokio::join!(link.request(ping()), async {
            visit.receive().await.unwrap();
            drop(visit);
        });
        assert_eq!(answer.err().unwrap().delivery(), Delivery::Unknown);
        assert!(!link.is_open() && connector.connect(true).await.is_ok());
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_unavailable_and_a_name_is_taken_once() {
        let means = means();
        let absent = connector(&means).connect(true).await.err().unwrap();
        assert_eq!((absent.kind(), absent.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
        let tenant = TenantId::default_tenant();
        let resident = means.residents.settle(&tenant, "own").unwrap();
        assert_eq!(means.residents.settle(&tenant, "own").unwrap_err().kind(), ErrorKind::Conflict);
        drop(resident);
        assert!(connector(&means).check().await.is_err());
        assert!(means.residents.settle(&tenant, "own").is_ok());
    }
}
