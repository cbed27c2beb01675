//! Audit rows that belong to no mutation: refused attempts and, where configured, calls. They are written in batches by a task,
//! off the path of a call.
//!
//! A mutation's row is not among them: the store writes it in the mutation's own transaction, and nothing can be lost of it. Rows
//! in the queue here are lost if the process is killed: at most 8192 rows and the 512 being written, as a rule
//! those of the last milliseconds. A row that does not fit into the queue, or cannot be written at the third try, is logged and
//! counted ([`AuditStats::lost`]). With calls not audited, as is the default, no row of a call can be lost.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::refusals::Refusals;
use crate::model::AuditEntry;
use crate::store::Store;

/// Rows that may wait to be written.
const QUEUE: usize = 8192;
/// Rows that are written at once, at most.
const BATCH: usize = 512;
/// How often a batch is tried.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// How long it takes at most until it is told how many refusals have no row of their own.
const TELL: Duration = Duration::from_mins(1);

/// The operator's settings of the audit trail: the section `[audit]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// Writes an audit row for each MCP call. Mutations, refused attempts, starts of programs and calls that an embedding
    /// program has judged by `GatewayMiddleware` always have one.
    pub calls: bool,
    /// Years that audit rows are kept, at least 7.
    pub keep_years: u16,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self { calls: false, keep_years: 7 }
    }
}

/// A row that waits to be written.
#[derive(Debug)]
pub struct Noted {
    entry: AuditEntry,
    is_refusal: bool,
}

/// Takes rows and sees to it that they are written.
pub struct Trail {
    store: Arc<dyn Store>,
    calls: bool,
    queue: mpsc::Sender<Noted>,
    written: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
}

/// The fate of the rows since this process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditStats {
    /// Rows written, those of mutations left out.
    pub written: u64,
    /// Rows that wait to be written.
    pub waiting: u64,
    /// Rows that were never written, because too many waited or the store failed. Each is in the log.
    pub lost: u64,
    /// Writes that failed.
    pub failures: u64,
}

impl Trail {
    /// A trail on `store`; the second is for [`Trail::run`].
    pub fn new(store: Arc<dyn Store>, settings: &AuditSettings) -> (Arc<Self>, mpsc::Receiver<Noted>) {
        let (queue, rows) = mpsc::channel(QUEUE);
        let calls = settings.calls;
        let (written, lost, failures) = <(AtomicU64, AtomicU64, AtomicU64)>::default();
        (Arc::new(Self { store, calls, queue, written, lost, failures }), rows)
    }

    /// Whether calls have rows.
    pub const fn has_calls(&self) -> bool {
        self.calls
    }

    /// Takes a row; it is written soon.
    pub fn note(&self, entry: AuditEntry) {
        self.take(Noted { entry, is_refusal: false });
    }

    /// Takes the row of a refused attempt. It is written soon, unless too many of the same caller were: then it is counted.
    pub fn refuse(&self, entry: AuditEntry) {
        self.take(Noted { entry, is_refusal: true });
    }

    fn take(&self, noted: Noted) {
        if let Err(error) = self.queue.try_send(noted) {
            let (mpsc::error::TrySendError::Full(noted) | mpsc::error::TrySendError::Closed(noted)) = error;
            self.lose(&[noted.entry]);
        }
    }

    /// The fate of the rows.
    pub fn stats(&self) -> AuditStats {
        AuditStats {
            written: self.written.load(Ordering::Relaxed),
            waiting: (self.queue.max_capacity() - self.queue.capacity()) as u64,
            lost: self.lost.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    /// Writes the rows that are taken until `stop`, and then those that still wait.
    pub async fn run(self: Arc<Self>, mut rows: mpsc::Receiver<Noted>, stop: CancellationToken) {
        let mut batch = Vec::new();
        let mut refusals = Refusals::default();
        loop {
            let many = tokio::select! {
                many = rows.recv_many(&mut batch, BATCH) => many,
                () = stop.cancelled(), if !rows.is_closed() => {
                    rows.close();
                    continue;
                }
                () = tokio::time::sleep(TELL), if refusals.has_more() => {
                    self.write(refusals.flush(), &stop).await;
                    continue;
                }
            };
            if many == 0 {
                return self.write(refusals.flush(), &stop).await;
            }
            let (refused, noted): (Vec<_>, Vec<_>) = batch.drain(..).partition(|noted| noted.is_refusal);
            let mut written: Vec<_> = noted.into_iter().map(|noted| noted.entry).collect();
            written.extend(refusals.take(refused.into_iter().map(|noted| noted.entry).collect()));
            self.write(written, &stop).await;
        }
    }

    async fn write(&self, batch: Vec<AuditEntry>, stop: &CancellationToken) {
        if batch.is_empty() {
            return;
        }
        for attempt in 1..=TRIES {
            match self.store.append_audits(&batch).await {
                Ok(()) => {
                    self.written.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    return;
                }
                Err(error) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%error, rows = batch.len(), attempt, "the audit trail cannot be written");
                }
            }
            if attempt == TRIES || stop.is_cancelled() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.lose(&batch);
    }

    fn lose(&self, entries: &[AuditEntry]) {
        self.lost.fetch_add(entries.len() as u64, Ordering::Relaxed);
        for entry in entries {
            let row = super::export::json(&entry.bounded());
            tracing::error!(row, "an audit row was not written");
        }
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantId;
    use crate::store::MemoryStore;
    use crate::tasks::Tasks;

    fn entry(action: &str, outcome: &str) -> AuditEntry {
        AuditEntry {
            at: jiff::Timestamp::UNIX_EPOCH,
            tenant_id: TenantId::default_tenant(),
            actor: "user:ann".into(),
            action: action.into(),
            target: "x".into(),
            outcome: outcome.into(),
            correlation_id: None,
            detail: serde_json::json!({}),
        }
    }

    /// D-08: rows taken before the gateway stops are written, and a flood of equal refusals is one row with their count
    #[tokio::test]
    async fn what_waits_when_the_gateway_stops_is_written() {
        let store = Arc::new(MemoryStore::new());
        let (trail, rows) = Trail::new(Arc::clone(&store) as Arc<dyn Store>, &AuditSettings::default());
        for _ in 0..100 {
            trail.refuse(entry("tools/call", "permission_denied"));
        }
        trail.note(entry("tools/call", "ok"));
        let tasks = Tasks::default();
        tasks.spawn_to_end(Arc::clone(&trail).run(rows, tasks.token().clone()));
        tasks.stop().await;
        let written = store.audit(&TenantId::default_tenant(), 10).await.unwrap();
        assert_eq!(written.len(), 2, "{written:?}");
        assert!(written.iter().any(|row| row.detail["count"] == 100), "{written:?}");
        assert_eq!(trail.stats(), AuditStats { written: 2, ..AuditStats::default() });
    }

    /// D-08: rows beyond the bound are counted, and no caller waits for them
    #[tokio::test]
    async fn rows_that_find_no_room_are_counted() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let (trail, _rows) = Trail::new(store, &AuditSettings::default());
        for number in 0..QUEUE + 5 {
            trail.note(entry(&number.to_string(), "ok"));
        }
        assert_eq!(trail.stats(), AuditStats { waiting: QUEUE as u64, lost: 5, ..AuditStats::default() });
    }
}
