//! What servers tell sessions of the pool outside of any call: one reader for each session, for all clients that listen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::broadcast::{self, Receiver, Sender};

use super::super::Inner;
use crate::rpc::answer::result_response;
use crate::rpc::{Message, Method, Shape};
use crate::transport::Session;

/// Messages that a client that listens may be behind.
const WAITING: usize = 256;
/// The wait before a stream that the server ended is opened again.
const PAUSE: Duration = Duration::from_secs(5);

/// The sessions that are listened to, by address.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Ears(Mutex<HashMap<usize, Ear>>);

#[derive(Debug)]
struct Ear {
    sender: Sender<Message>,
    /// How many clients want to hear of each resource.
    resources: HashMap<String, usize>,
}

fn address(session: &Arc<Session>) -> usize {
    Arc::as_ptr(session).addr()
}

impl Ears {
    /// Tells those who listen to a session what the server said in the middle of a call.
    pub(in crate::gateway) fn tell(&self, session: &Arc<Session>, message: &Message) {
        if let Some(ear) = self.table().get(&address(session)) {
            // Perhaps nobody listens just now.
            let _ = ear.sender.send(message.clone());
        }
    }

    /// Counts one more who wants to hear of a resource. Whether it is the first.
    pub(super) fn want(&self, session: &Arc<Session>, uri: &str) -> bool {
        let mut table = self.table();
        let Some(ear) = table.get_mut(&address(session)) else { return true };
        let count = ear.resources.entry(uri.to_owned()).or_default();
        *count += 1;
        *count == 1
    }

    /// Counts one less. Whether it was the last.
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

    fn table(&self) -> MutexGuard<'_, HashMap<usize, Ear>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What a session hears from now on; ends with the session.
    pub(super) fn hear(self: &Arc<Self>, session: &Arc<Session>) -> Receiver<Message> {
        let mut table = self.modern.ears.table();
        if let Some(ear) = table.get(&address(session)) {
            return ear.sender.subscribe();
        }
        let (sender, receiver) = broadcast::channel(WAITING);
        table.insert(address(session), Ear { sender: sender.clone(), resources: HashMap::new() });
        drop(table);
        let (this, session) = (Arc::clone(self), Arc::clone(session));
        self.tasks.spawn(async move {
            // Some sessions can be heard once only, so this goes on as long as the session does.
            while session.is_open() {
                if let Some(mut messages) = session.listen().await {
                    while let Some(message) = messages.next().await {
                        if message.shape() == Shape::Request {
                            let _ = session.notify(refusal(&message)).await;
                        } else {
                            let _ = sender.send(message);
                        }
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
            this.modern.ears.table().remove(&address(&session));
        });
        receiver
    }
}

/// The answer to a question that belongs to no call: a modern client can only be asked in the answer to a request.
fn refusal(question: &Message) -> bytes::Bytes {
    let id = question.id().unwrap_or("null");
    if question.method() == Some(&Method::Ping) {
        return result_response(id, "{}");
    }
    let error = r#"{"code":-32601,"message":"no client can be asked outside of its requests"}"#;
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into()
}
