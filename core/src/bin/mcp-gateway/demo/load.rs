//! Real clients at work: several sessions, each sending its next call when it has the answer to the last.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use mcp_registry_gateway::clock::Clock;
use serde_json::json;

use super::client::{Answer, Sent, Session};
use super::screen::Screen;

/// The outcome of one call.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The right answer, from this replica.
    By(String),
    /// An error after which only the ledger tells whether the call was executed.
    Unknown(String),
    /// An error that says that no server has seen the call.
    NotSent(String),
    /// Any other error, or a wrong answer.
    Failed(String),
}

/// Calls `echo` and checks every part of the answer.
pub(super) async fn echo(session: &mut Session, call_id: &str, text: &str, hold_ms: u64) -> Outcome {
    let arguments = json!({"call_id": call_id, "text": text, "hold_ms": hold_ms});
    match session.call("echo", &arguments).await {
        Ok(Answer::Result(result)) => {
            let content = &result["structuredContent"];
            let right = result["content"][0]["text"] == text && content["call_id"] == call_id;
            match content["replica"].as_str() {
                Some(replica) if right => Outcome::By(replica.to_owned()),
                _ => Outcome::Failed(format!("a wrong answer to {call_id}: {result}")),
            }
        }
        Ok(Answer::Failure { message, sent: Sent::Unknown }) => Outcome::Unknown(message),
        Ok(Answer::Failure { message, sent: Sent::No }) => Outcome::NotSent(message),
        Ok(Answer::Failure { message, sent: Sent::Answered }) => Outcome::Failed(message),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Sends `calls` calls over all sessions at once and counts them in `row` of the screen.
pub(super) async fn run(
    sessions: &mut [Session],
    calls: u64,
    prefix: &str,
    clock: &Arc<dyn Clock>,
    screen: &Screen,
    row: usize,
) {
    let next = AtomicU64::new(0);
    // A tenth of the keys comes twice, which shows whether a key stays where it was.
    let keys = (calls * 9 / 10).max(1);
    let homes: Mutex<HashMap<u64, String>> = Mutex::default();
    let (next, homes) = (&next, &homes);
    let workers = sessions.iter_mut().map(|session| async move {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= calls {
                return;
            }
            let key = number % keys;
            let start = clock.now();
            let outcome = echo(session, &format!("{prefix}-{number}"), &format!("key-{key}"), 0).await;
            let time = clock.now().since(start);
            let moved = match &outcome {
                Outcome::By(replica) => {
                    match homes.lock().unwrap_or_else(PoisonError::into_inner).entry(key) {
                        Entry::Occupied(home) if home.get() != replica => {
                            Some(format!("key-{key} from {} to {replica}", home.get()))
                        }
                        Entry::Occupied(_) => None,
                        Entry::Vacant(home) => {
                            home.insert(replica.clone());
                            None
                        }
                    }
                }
                _ => None,
            };
            screen.update(|board| {
                let counts = &mut board.rows[row].counts;
                counts.calls += 1;
                match outcome {
                    Outcome::By(replica) => {
                        *counts.per_server.entry(replica).or_default() += 1;
                        counts.times.push(time);
                        counts.moved_keys.extend(moved);
                    }
                    Outcome::Unknown(reason) | Outcome::NotSent(reason) | Outcome::Failed(reason) => {
                        counts.errors += 1;
                        counts.first_error.get_or_insert(reason);
                    }
                }
            });
        }
    });
    join_all(workers).await;
}
