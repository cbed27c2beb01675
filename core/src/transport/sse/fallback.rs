//! A server that is registered by its plain URL, and turns out to have the older transport alone.
//!
//! The specification describes how a client finds out (2025-03-26, Transports, "Backwards Compatibility"): where the POST of
//! `initialize` is refused with 400, 404 or 405, it opens a stream by GET, and an `endpoint` event tells the older transport. The
//! place that has it is remembered as long as streams can be opened.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::Uri;

use super::SseConnector;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Server;
use crate::rpc::{Message, Method};
use crate::tasks::Tasks;
use crate::transport::http::HttpConnector;
use crate::transport::{Connector, ExaminedStep, Exchange, Link, Outgoing, QueueStats, TransportContext};

/// How long a server may take to open a stream of events and to name its endpoint, once it has refused a POST.
const PATIENCE: Duration = Duration::from_secs(3);

/// No stream of events was found.
const NOWHERE: u8 = u8::MAX;

/// Reaches one server over streamable HTTP, or over HTTP+SSE if it has nothing else.
pub struct FallbackConnector(Arc<Transports>);

struct Transports {
    http: HttpConnector,
    name: Arc<str>,
    tasks: Tasks,
    /// Where a stream of events was found: an index of `places`, or [`NOWHERE`].
    found: Arc<AtomicU8>,
}

impl FallbackConnector {
    /// Prepares to reach `server`; nothing is opened yet.
    ///
    /// [`ErrorKind::InvalidParams`] if the URL or a configured header cannot be used.
    pub fn with(server: &Server, means: &TransportContext) -> Result<Self> {
        let http = HttpConnector::with(server, means)?;
        let (name, tasks) = (server.name.as_str().into(), means.tasks.clone());
        Ok(Self(Arc::new(Transports { http, name, tasks, found: Arc::new(AtomicU8::new(NOWHERE)) })))
    }
}

impl Transports {
    fn is_older(&self) -> bool {
        self.found.load(Ordering::Acquire) != NOWHERE
    }

    /// The paths where a stream of events may be found: that of the URL, and `sse` beside it.
    fn places(&self) -> [Option<Uri>; 2] {
        let base = self.http.base();
        let plain = matches!(base.path().trim_end_matches('/').rsplit('/').next(), Some("" | "mcp"));
        let beside = base.join(if base.path().ends_with("mcp/") { "../sse" } else { "sse" });
        let beside = beside.ok().filter(|_| plain).and_then(|url| url.path().parse().ok());
        [Some(self.http.target()), beside]
    }

    /// A link over the older transport, at the place where it was found, or at the first place that has it.
    async fn older(&self, own: bool) -> Result<Arc<dyn Link>> {
        let found = self.found.load(Ordering::Acquire);
        let mut first = None;
        for (number, place) in (0_u8..).zip(self.places()) {
            let Some(place) = place.filter(|_| found == NOWHERE || found == number) else { continue };
            let sse = SseConnector::over(&self.http, self.name.clone(), Some(place), self.tasks.clone());
            match tokio::time::timeout(PATIENCE, sse.connect(own)).await {
                Ok(Ok(link)) => {
                    self.found.store(number, Ordering::Release);
                    return Ok(link);
                }
                Ok(Err(error)) => drop(first.get_or_insert(error)),
                Err(_) => drop(first.get_or_insert_with(late)),
            }
        }
        Err(first.unwrap_or_else(late))
    }
}

fn late() -> Error {
    let message = "the server opened no stream of events and named no endpoint within 3 s";
    Error::new(ErrorKind::Timeout, message).not_sent()
}

impl fmt::Debug for FallbackConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.http.fmt(f)
    }
}

#[async_trait]
impl Connector for FallbackConnector {
    async fn connect(&self, own: bool) -> Result<Arc<dyn Link>> {
        if self.0.is_older() {
            match self.0.older(own).await {
                // Replaced by one that speaks streamable HTTP, perhaps.
                Err(error) if error.upstream_status().is_some() => {
                    self.0.found.store(NOWHERE, Ordering::Release);
                }
                outcome => return outcome,
            }
        }
        let first = self.0.http.connect(own).await?;
        Ok(Arc::new(FallbackLink { transports: Arc::clone(&self.0), own, first, older: OnceLock::new() }))
    }

    async fn check(&self) -> Result<()> {
        self.0.http.check().await
    }

    async fn examine(&self) -> Vec<ExaminedStep> {
        self.0.http.examine().await
    }

    fn is_duplex(&self) -> bool {
        self.0.is_older()
    }

    fn remembers_clients(&self) -> bool {
        !self.0.is_older()
    }

    fn queue(&self) -> Option<QueueStats> {
        self.0.http.queue()
    }

    fn for_caller(&self, subject: &Arc<str>) -> Option<Arc<dyn Connector>> {
        let Transports { http, name, tasks, found } = &*self.0;
        let (http, name, tasks, found) =
            (http.only_for(subject), name.clone(), tasks.clone(), Arc::clone(found));
        Some(Arc::new(Self(Arc::new(Transports { http, name, tasks, found }))))
    }
}

/// A link over streamable HTTP that becomes one over HTTP+SSE when the server refuses `initialize`.
struct FallbackLink {
    transports: Arc<Transports>,
    own: bool,
    first: Arc<dyn Link>,
    older: OnceLock<Arc<dyn Link>>,
}

impl FallbackLink {
    fn link(&self) -> &Arc<dyn Link> {
        self.older.get().unwrap_or(&self.first)
    }
}

impl fmt::Debug for FallbackLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link().fmt(f)
    }
}

#[async_trait]
impl Link for FallbackLink {
    async fn request(&self, outgoing: Outgoing) -> Result<Exchange> {
        if outgoing.method != Method::Initialize || self.older.get().is_some() {
            return self.link().request(outgoing).await;
        }
        let error = match self.first.request(outgoing.clone()).await {
            Err(error) if matches!(error.upstream_status(), Some(400 | 404 | 405 | 406 | 415 | 422)) => error,
            outcome => return outcome,
        };
        match Box::pin(self.transports.older(self.own)).await {
            Ok(link) => {
                tracing::info!(server = %self.transports.name, "the server has HTTP+SSE alone; register it with `transport_type` `sse` to have it tried first");
                // `initialize` is sent once.
                self.older.get_or_init(|| link).request(outgoing).await
            }
            Err(why) => {
                tracing::debug!(server = %self.transports.name, error = %why, "the server has no stream of events either");
                Err(error)
            }
        }
    }

    async fn notify(&self, message: Bytes) -> Result<()> {
        self.link().notify(message).await
    }

    async fn listen(&self) -> Option<BoxStream<'static, Message>> {
        self.link().listen().await
    }

    fn set_version(&self, version: &str) {
        self.link().set_version(version);
    }

    fn cancels_when_dropped(&self) -> bool {
        self.link().cancels_when_dropped()
    }

    fn numbers(&self) -> bool {
        self.link().numbers()
    }

    fn is_open(&self) -> bool {
        self.link().is_open()
    }

    async fn close(&self) {
        self.link().close().await;
    }
}
