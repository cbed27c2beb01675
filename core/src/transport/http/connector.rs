//! The properties that all messages to one server share: its address, its headers, its connections.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use rustls::pki_types::ServerName;
use url::{Host, Url};

use super::dial::{Dial, Tls};
use super::link::HttpLink;
use super::pool::Pool;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Server, ServerId};
use crate::tasks::Tasks;
use crate::transport::credential_provider::{
    CredentialProvider, CredentialRequest, ProvidedCredentials, Refusal, RetryAdvice, origin,
};
use crate::transport::guard::Watch;
use crate::transport::{Connector, ExaminedStep, Link, QueueStats, TransportContext};

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Headers that the gateway sets itself, or that frame the message.
const OWN_HEADERS: [&str; 13] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reaches one server over streamable HTTP.
#[derive(Clone)]
pub struct HttpConnector {
    pub(super) pool: Arc<Pool>,
    /// Path and query of `endpoint_url`.
    uri: Uri,
    /// The URL that `uri` belongs to.
    base: Arc<Url>,
    /// Path and query to which the server redirected.
    pub(super) place: Arc<ArcSwapOption<Uri>>,
    /// Headers of every POST.
    pub(super) headers: HeaderMap,
    pub(super) clock: Arc<dyn Clock>,
    shown: Shown,
}

/// The credentials that are sent besides: they may change at any time.
#[derive(Clone)]
struct Shown {
    provider: Arc<dyn CredentialProvider>,
    server: ServerId,
    origin: Arc<str>,
    /// The one caller that this connector serves, if it is a caller's own.
    subject: Option<Arc<str>>,
}

impl std::fmt::Debug for HttpConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the headers: they carry credentials.
        f.debug_tuple("HttpConnector").field(&self.pool.dial).finish()
    }
}

impl HttpConnector {
    /// Prepares to reach `server`; nothing is opened yet. `tasks` runs the closing of idle connections.
    ///
    /// [`ErrorKind::InvalidParams`] if the URL or a configured header cannot be used.
    pub fn new(server: &Server, clock: Arc<dyn Clock>, tasks: Tasks) -> Result<Self> {
        Self::with(server, &TransportContext::new(clock, tasks))
    }

    /// As [`HttpConnector::new`], with another context.
    pub fn with(server: &Server, means: &TransportContext) -> Result<Self> {
        let url = server
            .endpoint
            .url()
            .ok_or_else(|| invalid("a server reached over HTTP needs an endpoint_url"))?;
        let url = Url::parse(url).map_err(|error| invalid("endpoint_url is not a URL").caused_by(error))?;
        Self::at(&url, server, means)
    }

    /// Prepares to reach `url` as `server` is configured.
    pub(in crate::transport) fn at(url: &Url, server: &Server, means: &TransportContext) -> Result<Self> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(
                "endpoint_url must not carry credentials; put them into configuration.headers (Authorization)",
            ));
        }
        let dial = dial(url, server.configuration.ca_file.as_deref(), means.guard.for_server(server))?;
        let mut target = url.path().to_owned();
        if let Some(query) = url.query() {
            target.push('?');
            target.push_str(query);
        }
        let uri = target.parse().map_err(|error: http::uri::InvalidUri| {
            invalid("endpoint_url has a path that HTTP cannot carry").caused_by(error)
        })?;
        let mut headers = HeaderMap::with_capacity(8 + server.configuration.headers.len());
        let authority = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        headers.insert(
            HOST,
            value(&authority).ok_or_else(|| invalid("endpoint_url has a host that HTTP cannot carry"))?,
        );
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("mcp-gateway/", env!("CARGO_PKG_VERSION"))));
        for (name, text) in &server.configuration.headers {
            let (name, value) = configured(name, text)?;
            headers.insert(name, value);
        }
        let clock = means.clock.clone();
        let pool = Pool::new(dial, server, clock.clone(), means.tasks.clone());
        let (provider, origin) = (means.provider.clone(), origin(url).into());
        let shown = Shown { provider, server: server.id, origin, subject: None };
        let (base, place) = (Arc::new(url.clone()), Arc::default());
        Ok(Self { pool, uri, base, place, headers, clock, shown })
    }

    fn wanted(&self) -> CredentialRequest<'_> {
        let Shown { server, origin, subject, .. } = &self.shown;
        CredentialRequest { server: *server, subject: subject.as_deref(), origin }
    }

    /// The advice on a server's refusal, if it is 401 or 403. `last`: the request is not sent again.
    pub(super) fn remedy(&self, status: StatusCode, headers: &HeaderMap, last: bool) -> RetryAdvice {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.shown.provider.refused(self.wanted(), &Refusal { status, headers, last })
            }
            _ => RetryAdvice::Unknown,
        }
    }

    /// The credentials of a request that is sent now.
    pub(super) async fn shown(&self) -> Result<Option<Arc<HeaderMap>>> {
        match self.shown.provider.headers(self.wanted()) {
            ProvidedCredentials::Nothing => Ok(None),
            ProvidedCredentials::Now(headers) => Ok(Some(headers)),
            ProvidedCredentials::Later(headers) => headers.await.map(Some).map_err(Error::not_sent),
            ProvidedCredentials::Missing(error) => Err(error.not_sent()),
        }
    }

    /// The headers `base` of a request that is sent now, and over them the credentials.
    pub(super) async fn dressed(&self, base: &HeaderMap) -> Result<HeaderMap> {
        let mut headers = base.clone();
        if let Some(shown) = self.shown().await? {
            wear(&mut headers, &shown);
        }
        Ok(headers)
    }

    /// The same connector for one caller's messages alone: the credentials are the caller's own, and no connection is used that
    /// carried another's. All such connectors together have no more connections than one alone.
    pub(in crate::transport) fn only_for(&self, subject: &Arc<str>) -> Self {
        let mut own = self.clone();
        own.shown.subject = Some(Arc::clone(subject));
        own
    }

    /// The one caller whose messages it carries, if it is a caller's own.
    pub(super) fn subject(&self) -> Option<&Arc<str>> {
        self.shown.subject.as_ref()
    }

    /// Path and query that messages go to: those of `endpoint_url`, or those to which the server redirected.
    pub(in crate::transport) fn target(&self) -> Uri {
        self.place.load().as_ref().map_or_else(|| self.uri.clone(), |place| Uri::clone(place))
    }

    /// `endpoint_url`.
    pub(in crate::transport) fn base(&self) -> &Url {
        &self.base
    }

    /// The same connector for another path of the same origin.
    pub(in crate::transport) fn at_path(&self, path: Uri) -> Self {
        Self { uri: path, place: Arc::default(), ..self.clone() }
    }

    pub(super) fn build(&self, method: Method, headers: HeaderMap, message: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(message));
        *request.method_mut() = method;
        *request.uri_mut() = self.target();
        *request.headers_mut() = headers;
        request
    }

    /// The headers of a POST made into those of a GET that asks for a stream.
    pub(super) fn listen_headers(headers: &HeaderMap) -> HeaderMap {
        let mut headers = headers.clone();
        headers.remove(CONTENT_TYPE);
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers
    }
}

#[async_trait]
impl Connector for HttpConnector {
    async fn connect(&self, _own: bool) -> Result<Arc<dyn Link>> {
        // Every message travels on the stream of the request it belongs to, so sharing changes nothing here; and
        // connections are opened when there is something to send.
        Ok(Arc::new(HttpLink::new(Arc::new(self.clone()))))
    }

    async fn check(&self) -> Result<()> {
        self.pool.dial.open().await.map(drop)
    }

    async fn examine(&self) -> Vec<ExaminedStep> {
        self.pool.dial.examine().await
    }

    fn is_duplex(&self) -> bool {
        false
    }

    fn queue(&self) -> Option<QueueStats> {
        Some(self.pool.calls.stats())
    }

    fn for_caller(&self, subject: &Arc<str>) -> Option<Arc<dyn Connector>> {
        Some(Arc::new(self.only_for(subject)))
    }
}

/// Puts `shown` over `headers`.
pub(super) fn wear(headers: &mut HeaderMap, shown: &HeaderMap) {
    for (name, value) in shown {
        headers.insert(name, value.clone());
    }
}

fn dial(url: &Url, ca_file: Option<&str>, watch: Watch) -> Result<Dial> {
    let secure = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => {
            return Err(
                invalid("endpoint_url must begin with http:// or https://").with("scheme", url.scheme())
            );
        }
    };
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return Err(invalid("endpoint_url has no host")),
    };
    let tls = if secure {
        let name = ServerName::try_from(host.clone()).map_err(|error| {
            invalid("endpoint_url has a host that no certificate can name")
                .with("host", &host)
                .caused_by(error)
        })?;
        Some(Tls::new(name, ca_file))
    } else {
        None
    };
    let port = url.port_or_known_default().unwrap_or(if secure { 443 } else { 80 });
    Ok(Dial { host, port, tls, watch })
}

fn configured(name: &str, text: &str) -> Result<(HeaderName, HeaderValue)> {
    let wrong = |message: &'static str| invalid(message).with("header", name);
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| wrong("configuration.headers has a name that HTTP does not allow"))?;
    if OWN_HEADERS.contains(&header.as_str()) {
        return Err(wrong("configuration.headers must not set what the gateway sets itself"));
    }
    let value =
        value(text).ok_or_else(|| wrong("configuration.headers has a value that HTTP does not allow"))?;
    Ok((header, value))
}

/// A header value that logs do not show.
fn value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidParams, message)
}
