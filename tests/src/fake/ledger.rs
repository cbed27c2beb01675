//! Everything that a fake server received, in order.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

/// One message, or one HTTP request without a message (GET, DELETE).
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// `POST`, `GET`, `DELETE`, or `stdio`.
    pub via: String,
    /// The `Mcp-Session-Id` that came with it.
    pub session: Option<String>,
    /// The JSON-RPC method; `None` for a response and for what is not a message.
    pub method: Option<String>,
    /// The JSON-RPC id.
    pub id: Option<Value>,
    /// The params, or the result or error of a response; null where there are none.
    pub params: Value,
    /// Header names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Whether the server did what was asked, as opposed to breaking off before.
    pub executed: bool,
}

/// What was received. Shared by reference; also written to a file where one was named.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<Vec<Entry>>,
    file: Option<Mutex<std::fs::File>>,
}

impl Ledger {
    /// A ledger that also appends each entry to `file` as a line of JSON.
    pub fn to_file(file: std::fs::File) -> Self {
        Self { entries: Mutex::default(), file: Some(Mutex::new(file)) }
    }

    pub(super) fn record(&self, entry: Entry) {
        if let Some(file) = &self.file {
            let line = serde_json::to_string(&entry).expect("an entry is JSON");
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            writeln!(file, "{line}").expect("the ledger's file can be written");
        }
        self.lock().push(entry);
    }

    /// Every entry, oldest first.
    pub fn all(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// The messages of one method.
    pub fn of(&self, method: &str) -> Vec<Entry> {
        self.lock().iter().filter(|entry| entry.method.as_deref() == Some(method)).cloned().collect()
    }

    /// How many messages of one method came.
    pub fn count(&self, method: &str) -> usize {
        self.lock().iter().filter(|entry| entry.method.as_deref() == Some(method)).count()
    }

    /// How many `tools/call` came whose arguments have `text` as their member `text`.
    pub fn deliveries(&self, text: &str) -> usize {
        let wanted = |entry: &&Entry| {
            entry.method.as_deref() == Some("tools/call")
                && entry.params.pointer("/arguments/text").and_then(Value::as_str) == Some(text)
        };
        self.lock().iter().filter(wanted).count()
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
