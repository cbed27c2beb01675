//! HTTP to a gateway that runs, on this machine or elsewhere.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mcp_registry_gateway::server::caller_tls::Trust;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Url;

use super::exit::Failure;

/// Longest wait for the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// One gateway, by its URL. Each request has a connection of its own.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    base: Url,
    /// The value of `Authorization`.
    credential: Option<HeaderValue>,
    /// The authorities to trust, over TLS.
    trust: Option<Trust>,
}

impl Client {
    /// The gateway at `base`, to which `key` is sent if there is one. Over TLS it must be one that `trust` accepts, or else one
    /// that this machine does.
    pub(crate) fn new(base: &str, key: Option<&str>, trust: Option<Trust>) -> Result<Self, Failure> {
        let base = Url::parse(base)
            .map_err(|error| Failure::usage(format!("`{base}` is not the URL of a gateway: {error}")))?;
        let trust = match (base.scheme(), trust) {
            ("http", _) => None,
            ("https", Some(trust)) => Some(trust),
            ("https", None) => Some(Trust::machine()?),
            _ => {
                return Err(Failure::usage(format!(
                    "`{base}`: expected a URL such as http://127.0.0.1:8000"
                )));
            }
        };
        let unusable = |_| Failure::usage("the API key has characters that no header can have".to_owned());
        let credential =
            key.map(|key| HeaderValue::try_from(format!("Bearer {key}"))).transpose().map_err(unusable)?;
        let credential = credential.map(|mut credential| {
            credential.set_sensitive(true);
            credential
        });
        Ok(Self { base, credential, trust })
    }

    pub(crate) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Sends a request and reads the whole answer. No gateway there: [`Failure::unreachable`].
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Option<Bytes>,
        timeout: Duration,
    ) -> Result<Reply, Failure> {
        let nobody = |why: &dyn std::fmt::Display| {
            Failure::unreachable(format!(
                "no gateway answers at {}: {why}; start one with `mcp-gateway serve`",
                self.base()
            ))
        };
        let address = format!(
            "{}:{}",
            self.base.host_str().unwrap_or(""),
            self.base.port_or_known_default().unwrap_or(80)
        );
        let connecting = async {
            let stream = TcpStream::connect(&address).await.map_err(|error| nobody(&error))?;
            let Some(trust) = &self.trust else { return Ok::<Box<dyn Wire>, Failure>(Box::new(stream)) };
            let host = self.base.host_str().unwrap_or("");
            let inside = trust.connect(host, stream).await.map_err(|error| {
                let what = "if its authority is not one of this machine's, name its file with --ca-file";
                Failure::failed(format!("no TLS with {}: {error}; {what}", self.base()))
            })?;
            Ok(Box::new(inside))
        };
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(nobody(&"the connection took longer than 3 s")),
        };
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.host());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(credential) = &self.credential {
            request = request.header(AUTHORIZATION, credential);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| Failure::usage(format!("`{path}` cannot be asked for: {error}")))?;
        match tokio::time::timeout(timeout, exchange(stream, request)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(Failure::failed(format!("{} broke the connection: {error}", self.base()))),
            Err(_) => Err(Failure::failed(format!("no answer within {} s", timeout.as_secs()))),
        }
    }

    fn host(&self) -> String {
        match (self.base.host_str().unwrap_or(""), self.base.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        }
    }
}

/// A connection, with TLS or without.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

async fn exchange(stream: Box<dyn Wire>, request: Request<Full<Bytes>>) -> hyper::Result<Reply> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = pin!(connection);
    let mut reply = pin!(async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: head.status, headers: head.headers, body })
    });
    let mut open = true;
    loop {
        tokio::select! {
            reply = &mut reply => return reply,
            ended = &mut connection, if open => {
                open = false;
                ended?;
            }
        }
    }
}
