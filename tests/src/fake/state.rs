//! What a fake server remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::{broadcast, oneshot};

use super::ledger::{Entry, Ledger};
use super::plan::{Plan, plan};
use super::script::Script;
use super::tools;

/// One fake server, whatever carries its messages.
#[derive(Debug)]
pub(super) struct State {
    pub name: String,
    pub ledger: Ledger,
    pub script: Script,
    /// Messages for whoever listens outside an exchange.
    pub news: broadcast::Sender<Value>,
    tools: Mutex<(Vec<Value>, usize)>,
    sessions: Mutex<BTreeSet<String>>,
    asked: Mutex<BTreeMap<String, oneshot::Sender<Value>>>,
    next: AtomicU64,
}

/// What a message calls for.
pub(super) enum Reaction {
    /// A request: do this.
    Do(Plan),
    /// A notification or a response: taken.
    Taken,
}

impl State {
    pub(super) fn new(name: &str, ledger: Ledger) -> Self {
        Self {
            name: name.to_owned(),
            ledger,
            script: Script::default(),
            news: broadcast::channel(64).0,
            tools: Mutex::new((tools::definitions(), usize::MAX)),
            sessions: Mutex::default(),
            asked: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    /// Writes the message down and says what to do with it.
    pub(super) fn receive(
        &self,
        via: &str,
        session: Option<String>,
        headers: BTreeMap<String, String>,
        message: &Value,
    ) -> Reaction {
        let method = message["method"].as_str();
        let id = message.get("id").cloned();
        let params = ["params", "result", "error"].iter().find_map(|key| message.get(key)).cloned();
        let params = params.unwrap_or(Value::Null);
        let reaction = match (method, &id) {
            (Some(method), Some(id)) => Reaction::Do(plan(self, id, method, &params)),
            (None, Some(id)) => {
                if let Some(waiting) = id.as_str().and_then(|id| lock(&self.asked).remove(id)) {
                    drop(waiting.send(params.clone()));
                }
                Reaction::Taken
            }
            _ => Reaction::Taken,
        };
        let executed = !matches!(&reaction, Reaction::Do(plan) if !plan.executes);
        let method = method.map(str::to_owned);
        self.ledger.record(Entry { via: via.to_owned(), session, method, id, params, headers, executed });
        reaction
    }

    /// A request to the client, and where its reply will arrive.
    pub(super) fn ask(&self, method: &str, params: &Value) -> (Value, oneshot::Receiver<Value>) {
        let id = format!("ask-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        lock(&self.asked).insert(id.clone(), sender);
        (json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }), receiver)
    }

    pub(super) fn initialize(&self, params: &Value) -> Value {
        let version = params["protocolVersion"].as_str().unwrap_or("2025-11-25");
        json!({
            "protocolVersion": version,
            "capabilities": {
                "tools": { "listChanged": true }, "resources": { "subscribe": true }, "prompts": {},
                "logging": {}, "completions": {},
            },
            "serverInfo": { "name": self.name, "version": "1.0.0" },
        })
    }

    pub(super) fn tools_page(&self, cursor: Option<&str>) -> Value {
        let tools = lock(&self.tools);
        let (all, size) = &*tools;
        let start = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0_usize).min(all.len());
        let end = start.saturating_add(*size).min(all.len());
        let mut page = json!({ "tools": all[start..end] });
        if end < all.len() {
            page["nextCursor"] = json!(end.to_string());
        }
        page
    }

    pub(super) fn has_tool(&self, name: &str) -> bool {
        lock(&self.tools).0.iter().any(|tool| tool["name"] == name)
    }

    /// Replaces the tools; `page` of them are listed at a time.
    pub(super) fn set_tools(&self, names: &[String], page: usize) {
        let definitions = names.iter().map(|name| tools::definition(name, "A tool of the script")).collect();
        self.define_tools(definitions, page);
    }

    /// The same with whole definitions.
    pub(super) fn define_tools(&self, definitions: Vec<Value>, page: usize) {
        *lock(&self.tools) = (definitions, page.max(1));
    }

    pub(super) fn open_session(&self) -> String {
        let id = format!("{}-{}", self.name, self.next.fetch_add(1, Ordering::Relaxed));
        lock(&self.sessions).insert(id.clone());
        id
    }

    pub(super) fn knows_session(&self, id: &str) -> bool {
        lock(&self.sessions).contains(id)
    }

    pub(super) fn close_session(&self, id: &str) -> bool {
        lock(&self.sessions).remove(id)
    }

    pub(super) fn forget_sessions(&self) {
        lock(&self.sessions).clear();
    }

    pub(super) fn session_count(&self) -> usize {
        lock(&self.sessions).len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
