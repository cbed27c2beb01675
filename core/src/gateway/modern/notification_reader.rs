//! Reads the servers' messages to sessions of the pool outside of any call: one reader for each session, for all clients that
//! listen.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio::sync::oneshot;

use crate::gateway::Core;
use crate::gateway::bridge::modern_to_legacy::translate::Question;
use crate::rpc::answer::result_response;
use crate::rpc::{Message, Method, Shape};
use crate::transport::Session;

/// Messages that a listening client may be behind.
const WAITING: usize = 256;
/// Server requests that wait for a client that can answer them.
const MOST_ASKED: usize = 16;
/// The wait before a stream that the server ended is opened again.
const PAUSE: Duration = Duration::from_secs(5);

/// The sessions that have a reader, by address.
#[derive(Debug, Default)]
pub(crate) struct NotificationReader(Mutex<HashMap<usize, Ear>>);

#[derive(Debug)]
struct Ear {
    sender: Sender<Message>,
    /// How many clients subscribed to each resource.
    resources: HashMap<String, usize>,
    /// The requests that the server sent outside of any call, oldest first.
    asked: Vec<ReaderRequest>,
}

#[derive(Debug)]
struct ReaderRequest {
    /// Differs from that of any other such request.
    key: String,
    /// The server's id, byte for byte.
    raw_id: String,
    question: Question,
}

fn address(session: &Arc<Session>) -> usize {
    Arc::as_ptr(session).addr()
}

impl NotificationReader {
    /// Passes on a message that the server sent in the middle of a call to the listeners of its session.
    pub(crate) fn tell(&self, session: &Arc<Session>, message: &Message) {
        if let Some(ear) = self.table().get(&address(session)) {
            // Perhaps nobody listens just now.
            let _ = ear.sender.send(message.clone());
        }
    }

    /// Counts one more subscriber of a resource. Whether it is the first.
    pub(super) fn want(&self, session: &Arc<Session>, uri: &str) -> bool {
        let mut table = self.table();
        let Some(ear) = table.get_mut(&address(session)) else { return true };
        let count = ear.resources.entry(uri.to_owned()).or_default();
        *count += 1;
        *count == 1
    }

    /// Counts one subscriber less. Whether it was the last.
    pub(super) fn leave(&self, session: &Arc<Session>, uri: &str) -> bool {
        let mut table = self.table();
        let Some(ear) = table.get_mut(&address(session)) else { return false };
        let Some(count) = ear.resources.get_mut(uri) else { return false };
        *count -= 1;
        let last = *count == 0;
        if last {
            ear.resources.remove(uri);
        }
        last
    }

    /// Whether the server sent a request outside of any call that was not answered yet.
    pub(crate) fn has_questions(&self, session: &Arc<Session>) -> bool {
        self.table().get(&address(session)).is_some_and(|ear| !ear.asked.is_empty())
    }

    /// Those requests, by key.
    pub(crate) fn questions(&self, session: &Arc<Session>) -> Vec<(String, Question)> {
        let table = self.table();
        let asked = table.get(&address(session)).map_or(&[][..], |ear| &ear.asked);
        asked.iter().map(|asked| (asked.key.clone(), asked.question.clone())).collect()
    }

    /// Takes the request of this key; returns the id that the server gave it.
    pub(crate) fn answered(&self, session: &Arc<Session>, key: &str) -> Option<String> {
        let mut table = self.table();
        let asked = &mut table.get_mut(&address(session))?.asked;
        let replica = asked.iter().position(|asked| asked.key == key)?;
        Some(asked.remove(replica).raw_id)
    }

    /// Keeps a request until a client can answer it; false if there are too many.
    pub(crate) fn keep(&self, session: &Arc<Session>, raw_id: &str, question: Question) -> bool {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut table = self.table();
        let Some(ear) = table.get_mut(&address(session)).filter(|ear| ear.asked.len() < MOST_ASKED) else {
            return false;
        };
        let key = format!("s{}", NEXT.fetch_add(1, Ordering::Relaxed));
        ear.asked.push(ReaderRequest { key, raw_id: raw_id.to_owned(), question });
        true
    }

    /// Forgets the request that the server withdraws.
    fn withdraw(&self, session: &Arc<Session>, message: &Message) {
        let params = message.params_members().ok();
        let raw_id = params.as_ref().and_then(|params| params.get("requestId"));
        if let (Some(raw_id), Some(ear)) = (raw_id, self.table().get_mut(&address(session))) {
            ear.asked.retain(|asked| asked.raw_id != raw_id);
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<usize, Ear>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// The messages of a session of the pool from now on; ends with the session. Requests of its server are kept until the
    /// client, which declared `capabilities`, can answer them. `opening` is dropped as soon as the session is read, or cannot
    /// be.
    pub(crate) fn hear(
        self: &Arc<Self>,
        session: &Arc<Session>,
        capabilities: &str,
        mut opening: Option<oneshot::Sender<()>>,
    ) -> Receiver<Message> {
        let mut table = self.modern.ears.table();
        if let Some(ear) = table.get(&address(session)) {
            return ear.sender.subscribe();
        }
        let (sender, receiver) = broadcast::channel(WAITING);
        table.insert(
            address(session),
            Ear { sender: sender.clone(), resources: HashMap::new(), asked: Vec::new() },
        );
        drop(table);
        let (this, session, capabilities) = (Arc::clone(self), Arc::clone(session), capabilities.to_owned());
        self.tasks.spawn(async move {
            // Some sessions can be read once only, so this goes on as long as the session does.
            while session.is_open() {
                let stream = session.listen().await;
                drop(opening.take());
                if let Some(mut messages) = stream {
                    while let Some(message) = messages.next().await {
                        match message.method() {
                            Some(Method::Cancelled) => this.modern.ears.withdraw(&session, &message),
                            _ if message.shape() == Shape::Request => {
                                let (id, question) = (message.id().unwrap_or("null"), Question::of(&message));
                                let able = matches!(question.missing(&capabilities), Ok(None));
                                if !able || !this.modern.ears.keep(&session, id, question) {
                                    let _ = session.notify(refusal(&message)).await;
                                }
                            }
                            // Perhaps nobody listens just now.
                            _ => drop(sender.send(message)),
                        }
                    }
                }
                tokio::select! {
                    () = session.closed() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
            this.modern.ears.table().remove(&address(&session));
        });
        receiver
    }
}

/// The answer to a request that belongs to no call: a modern client can only get it in the answer to a request of its own.
fn refusal(question: &Message) -> bytes::Bytes {
    let id = question.id().unwrap_or("null");
    if question.method() == Some(&Method::Ping) {
        return result_response(id, "{}");
    }
    let error = r#"{"code":-32601,"message":"no client can be asked outside of its requests"}"#;
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into()
}
