//! HTTP+SSE of 2024-11-05: one stream of events carries the server's messages; messages to the server are posted beside it.
//!
//! The stream is the session. Its first event names the endpoint, which must be of the same origin; when it ends, however it
//! does, the session is over on both sides, so nothing is taken up again: requests under way fail, each with what is known of
//! its delivery, and the next call opens a new link.
//!
//! The server's messages are read as they come and wait for their readers in bounded mailboxes; an event over 16 MiB ends the link
//! with an error that names the limit.

mod endpoint;
mod fallback;
mod link;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::Uri;
use url::Url;

use self::link::SseLink;
use super::http::HttpConnector;
use super::{Connector, ExaminedStep, Link, TransportContext};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Server;
use crate::tasks::Tasks;

pub use endpoint::resolve;
pub use fallback::FallbackConnector;

/// Reaches one server over HTTP+SSE.
pub struct SseConnector {
    http: Arc<HttpConnector>,
    name: Arc<str>,
    base: Url,
    tasks: Tasks,
}

impl SseConnector {
    /// Prepares to reach `server`; nothing is opened yet. `tasks` runs the reading of streams.
    ///
    /// [`ErrorKind::InvalidParams`] if the URL or a configured header cannot be used.
    pub fn new(server: &Server, clock: Arc<dyn Clock>, tasks: Tasks) -> Result<Self> {
        Self::with(server, &TransportContext::new(clock, tasks))
    }

    /// As [`SseConnector::new`], with another context.
    pub fn with(server: &Server, means: &TransportContext) -> Result<Self> {
        let http = Arc::new(HttpConnector::with(server, means)?);
        let base = server.endpoint.url().and_then(|url| Url::parse(url).ok());
        let base = base.ok_or_else(|| Error::new(ErrorKind::InvalidParams, "endpoint_url is not a URL"))?;
        Ok(Self { http, name: server.name.as_str().into(), base, tasks: means.tasks.clone() })
    }
}

impl SseConnector {
    /// The same server over this transport, at its own path or at another one of its origin.
    pub(super) fn over(http: &HttpConnector, name: Arc<str>, path: Option<Uri>, tasks: Tasks) -> Self {
        let base = Url::clone(http.base());
        let http = Arc::new(path.map_or_else(|| http.clone(), |path| http.at_path(path)));
        Self { http, name, base, tasks }
    }
}

impl fmt::Debug for SseConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SseConnector").field(&self.http).finish()
    }
}

#[async_trait]
impl Connector for SseConnector {
    async fn connect(&self, own: bool) -> Result<Arc<dyn Link>> {
        let mut events = self.http.open_events().await?;
        let nothing = || {
            let message = "the server ended its stream before it named an endpoint; is its transport `http` rather than `sse`?";
            Error::new(ErrorKind::BadUpstream, message)
        };
        let target = loop {
            let event = events.next().await?.ok_or_else(nothing)?;
            // Some servers greet first.
            if event.name.as_deref() == Some("endpoint") {
                // Seen from where the stream was opened, which a redirect may have moved.
                let base = self.base.join(&self.http.target().to_string());
                break endpoint::resolve(base.as_ref().unwrap_or(&self.base), &event.data)?;
            }
        };
        Ok(SseLink::open(self.http.clone(), self.name.clone(), target, events, own, &self.tasks))
    }

    async fn check(&self) -> Result<()> {
        self.http.check().await
    }

    async fn examine(&self) -> Vec<ExaminedStep> {
        self.http.examine().await
    }

    fn remembers_clients(&self) -> bool {
        false
    }

    fn for_caller(&self, subject: &Arc<str>) -> Option<Arc<dyn Connector>> {
        let http = Arc::new(self.http.only_for(subject));
        let (name, base, tasks) = (self.name.clone(), self.base.clone(), self.tasks.clone());
        Some(Arc::new(Self { http, name, base, tasks }))
    }
}

#[cfg(test)]
mod tests;
