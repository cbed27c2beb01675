//! The HTTP surface without a socket: one request with its body as it comes, one answer with its body as it comes.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex as Lock, PoisonError};

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method};
use http_body_util::BodyExt;
use tokio::sync::{Mutex, mpsc};
use tower::ServiceExt;

use crate::error::{Error, ErrorKind, Result};
use crate::server::{Exposed, Part, Peer, Service};

/// Pieces of a request's body that may wait to be read.
const WAITING: usize = 16;

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, such as `POST`.
    pub method: String,
    /// Path and query, as they are written.
    pub target: String,
    /// The headers in order; names in any case.
    pub headers: Vec<(Bytes, Bytes)>,
    /// The address of the client; without one, as over a Unix socket, it is unidentified and needs a credential.
    pub peer: Option<String>,
    /// How the surface is mounted.
    pub mount: Mount,
}

/// How the HTTP surface is mounted in an application: the parts that it serves beside MCP, and whether the
/// application's word for an address of this machine is taken. By default nothing and not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    exposed: Exposed,
    local: bool,
    development: bool,
}

impl Mount {
    /// A mount that serves the parts of `expose` beside MCP: `rest`, `events`, `metrics`, `docs`, `health`, `builtin`.
    ///
    /// While no authentication is configured a client of this machine is the administrator. `connected` says that the peers of
    /// requests are those of connections, as sockets know them. Other peers are a program's word, and a caller with a loopback
    /// address among them is unidentified, unless `trust` is `development`.
    ///
    /// [`ErrorKind::InvalidParams`] for another part or another trust.
    pub fn new<S: AsRef<str>>(
        expose: impl IntoIterator<Item = S>,
        trust: Option<&str>,
        connected: bool,
    ) -> Result<Self> {
        let exposed = expose.into_iter().map(|part| part.as_ref().parse::<Part>()).collect::<Result<_>>()?;
        let local = match trust {
            None => connected,
            Some("development") => true,
            Some(other) => {
                let shown: String = other.chars().take(40).collect();
                let message = format!("`trust` is `development` or left out, not `{shown}`");
                return Err(Error::new(ErrorKind::InvalidParams, message).with("field", "trust"));
            }
        };
        Ok(Self { exposed, local, development: trust.is_some() })
    }

    /// Whether the program's word for the peer stands instead of this header, which frameworks set by themselves while one develops.
    fn overrides(self, header: &[u8]) -> bool {
        let name = header.to_ascii_lowercase();
        let known: [&[u8]; 3] = [b"forwarded", b"via", b"x-real-ip"];
        self.development && (name.starts_with(b"x-forwarded-") || known.contains(&name.as_slice()))
    }

    /// The address that counts for one that was said.
    fn judged(self, said: IpAddr) -> IpAddr {
        if said.to_canonical().is_loopback() && !self.local { Ipv4Addr::UNSPECIFIED.into() } else { said }
    }
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The headers in order.
    pub headers: Vec<(Bytes, Bytes)>,
}

/// A request under way. Clones share it; when the last is dropped, the client has gone: a call is cancelled as when a connection
/// breaks.
#[derive(Clone)]
pub struct Exchange {
    upload: Arc<Lock<Option<mpsc::Sender<Bytes>>>>,
    progress: Arc<Mutex<Progress>>,
}

enum Progress {
    Pending(BoxFuture<'static, http::Response<Body>>),
    Answering(Body),
    Over,
}

impl Exchange {
    pub(super) fn open(service: &Service, asked: &Request) -> Result<Self> {
        let (upload, pieces) = mpsc::channel(WAITING);
        let pieces = futures_util::stream::unfold(pieces, |mut pieces| async move {
            Some((Ok::<_, std::convert::Infallible>(pieces.recv().await?), pieces))
        });
        let mut request = http::Request::builder().uri(&asked.target).method(method(&asked.method)?);
        for (name, value) in asked.headers.iter().filter(|(name, _)| !asked.mount.overrides(name)) {
            let name = HeaderName::from_bytes(name).map_err(|_| malformed("a header's name"))?;
            let value = HeaderValue::from_bytes(value).map_err(|_| malformed("a header's value"))?;
            request = request.header(name, value);
        }
        let unknown = |_| {
            let shown: String = asked.peer.iter().flat_map(|peer| peer.chars()).take(64).collect();
            let message = format!("the peer `{shown}` is no IP address; give the client's address, or none");
            Error::new(ErrorKind::InvalidRequest, message)
        };
        let peer: IpAddr = match &asked.peer {
            Some(peer) => asked.mount.judged(peer.parse().map_err(unknown)?),
            None => Ipv4Addr::UNSPECIFIED.into(),
        };
        let request = request.extension(Peer(SocketAddr::new(peer, 0)));
        let request = request.body(Body::from_stream(pieces.boxed())).map_err(|_| malformed("the target"))?;
        let service = service.exposing(asked.mount.exposed);
        let answered = Box::pin(async move {
            match service.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        });
        Ok(Self {
            upload: Arc::new(Lock::new(Some(upload))),
            progress: Arc::new(Mutex::new(Progress::Pending(answered))),
        })
    }

    /// Adds a piece to the request's body; waits while 16 are unread. Whether anybody wants more of it.
    pub fn push(&self, piece: Bytes) -> impl Future<Output = Result<bool>> + Send + 'static {
        let upload = self.upload.lock().unwrap_or_else(PoisonError::into_inner).clone();
        async move {
            match upload {
                Some(upload) => Ok(upload.send(piece).await.is_ok()),
                None => Ok(false),
            }
        }
    }

    /// Ends the request's body.
    pub fn finish(&self) {
        drop(self.upload.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The head of the answer, once.
    pub fn head(&self) -> impl Future<Output = Result<Head>> + Send + 'static {
        let progress = Arc::clone(&self.progress);
        async move {
            let mut progress = progress.lock().await;
            let Progress::Pending(answered) = &mut *progress else {
                return Err(Error::new(ErrorKind::Internal, "the head of this answer was read already"));
            };
            let (parts, body) = answered.as_mut().await.into_parts();
            *progress = Progress::Answering(body);
            let bytes = |text: &[u8]| Bytes::copy_from_slice(text);
            let headers = parts.headers.iter();
            let headers =
                headers.map(|(name, value)| (bytes(name.as_ref()), bytes(value.as_bytes()))).collect();
            Ok(Head { status: parts.status.as_u16(), headers })
        }
    }

    /// The next piece of the answer's body; `None` at its end.
    pub fn piece(&self) -> impl Future<Output = Result<Option<Bytes>>> + Send + 'static {
        let progress = Arc::clone(&self.progress);
        async move {
            let mut progress = progress.lock().await;
            let Progress::Answering(body) = &mut *progress else { return Ok(None) };
            while let Some(frame) = body.frame().await {
                let broken = |error| {
                    Error::new(ErrorKind::Internal, "the connection broke before the answer was complete")
                        .caused_by(error)
                };
                if let Ok(data) = frame.map_err(broken)?.into_data() {
                    return Ok(Some(data));
                }
            }
            *progress = Progress::Over;
            Ok(None)
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange")
    }
}

fn method(text: &str) -> Result<Method> {
    Method::from_bytes(text.as_bytes()).map_err(|_| malformed("the method"))
}

fn malformed(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidRequest, "the request cannot be sent as HTTP").with("malformed", what)
}
