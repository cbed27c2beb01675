//! Probes of one server.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::Upstream;
use super::startup::Starting;
use crate::error::Result;
use crate::model::ProbeKind;
use crate::rpc::Method;
use crate::transport::Session;

impl Upstream {
    /// The shared session for a probe that waits `start_wait` at most for a program that starts.
    async fn probed(
        self: &Arc<Self>,
        start_wait: Duration,
        opened: impl FnOnce(&Arc<Session>) + Send + 'static,
    ) -> Result<Arc<Session>> {
        let opening = self.shared(opened);
        if !self.starts_process() {
            return opening.await;
        }
        if let Ok(session) = tokio::time::timeout(start_wait, opening).await {
            return session;
        }
        let starting = Starting { so_far: start_wait, limit: self.startup().limit() };
        Err(self.starting().unwrap_or(starting).still(&self.server.name, start_wait))
    }

    /// Probes the server, and waits `start_wait` for a program that starts. A probe that fails, or is dropped before it has its answer, is the last that uses the shared session.
    pub(crate) async fn probe(
        self: &Arc<Self>,
        kind: ProbeKind,
        start_wait: Duration,
        opened: impl FnOnce(&Arc<Session>) + Send + 'static,
    ) -> Result<()> {
        if kind == ProbeKind::Connect {
            return self.negotiator.connector.check().await;
        }
        let session = self.probed(start_wait, opened).await?;
        let mut unanswered = Unanswered { upstream: self, session: Some(&session) };
        // The monitor bounds the whole probe; this only keeps a forgotten request from staying for ever.
        let time_limit = Duration::from_secs(60);
        let answer = match self.negotiator.modern_session() {
            Some(modern) => {
                let answer = modern.ask(&Method::Discover, None, time_limit).await;
                // Every server of the modern era answers this: the era of one that does not is found out anew.
                if answer.as_ref().is_ok_and(|answer| answer.error().is_some()) {
                    modern.close().await;
                }
                answer
            }
            None => session.ask(&Method::Ping, None, time_limit).await,
        };
        if answer.is_ok() {
            unanswered.session = None;
        }
        answer.map(drop)
    }
}

/// Forgets the session of a probe that was dropped, unless it was answered.
struct Unanswered<'a> {
    upstream: &'a Upstream,
    session: Option<&'a Arc<Session>>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        // Without a runtime there is nothing left that could use the session.
        if let (Some(session), Ok(_)) = (self.session, Handle::try_current()) {
            self.upstream.forget(session);
        }
    }
}
