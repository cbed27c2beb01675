//! Single requests that are not MCP: for an issuer's keys and metadata, a token's owner, an access token. Redirects are not
//! followed, so that the URL that was judged is the one that is asked.

use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, HOST, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use url::Url;

use super::dial::{Dial, Tls};
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::transport::guard::Watch;

/// Longest wait for the whole document.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The document at `url`, of at most `limit` bytes. `watch` judges the URL and the addresses of its name.
///
/// [`ErrorKind::PermissionDenied`] for an URL that may not be asked, [`ErrorKind::BadUpstream`] for everything that goes wrong there.
pub async fn fetch(url: &Url, watch: Watch, limit: usize) -> Result<Bytes> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let (status, document) = ask(Method::GET, url, headers, Bytes::new(), watch, limit).await?;
    if status != StatusCode::OK {
        return Err(failed("the document was not given", url).status(status.as_u16()));
    }
    Ok(document)
}

/// The answer to a request: its status and at most `limit` bytes of its body. `watch` judges the URL and the addresses of its name.
///
/// [`ErrorKind::PermissionDenied`] for an URL that may not be asked, [`ErrorKind::BadUpstream`] for everything that goes wrong there.
pub async fn ask(
    method: Method,
    url: &Url,
    headers: HeaderMap,
    body: Bytes,
    watch: Watch,
    limit: usize,
) -> Result<(StatusCode, Bytes)> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    let (head, body) = exchange(url, request, watch, limit).await?.into_parts();
    Ok((head.status, body))
}

/// The whole answer to a request, whose own URI is not looked at, with at most `limit` bytes of its body. `watch` judges the URL
/// and the addresses of its name.
///
/// [`ErrorKind::PermissionDenied`] for an URL that may not be asked, [`ErrorKind::BadUpstream`] for everything that goes wrong there.
pub async fn exchange(
    url: &Url,
    request: Request<Bytes>,
    watch: Watch,
    limit: usize,
) -> Result<Response<Bytes>> {
    watch.check_url(url)?;
    match tokio::time::timeout(TIMEOUT, send(url, request, watch, limit)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(failed("the answer did not come within 10 s", url)),
    }
}

async fn send(url: &Url, request: Request<Bytes>, watch: Watch, limit: usize) -> Result<Response<Bytes>> {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(failed("the URL names no host", url));
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let tls = (url.scheme() == "https")
        .then(|| ServerName::try_from(host.to_owned()).map(|name| Tls::new(name, None)))
        .transpose()
        .map_err(|_| failed("no certificate can name this host", url))?;
    let socket = Dial { host: host.to_owned(), port, tls, watch }.open().await?;
    let unfit = |error: http::Error| failed("the URL cannot be asked for", url).caused_by(error);
    let authority = HeaderValue::from_str(&url[url::Position::BeforeHost..url::Position::AfterPort]);
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = request.map(Full::new);
    *request.uri_mut() = target.parse().map_err(|error: http::uri::InvalidUri| unfit(error.into()))?;
    request.headers_mut().insert(HOST, authority.map_err(|error| unfit(error.into()))?);
    let broken = |error: hyper::Error| failed("the connection broke", url).caused_by(error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(broken)?;
    let reading = async {
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        Ok(Response::from_parts(head, read(body, url, limit).await?))
    };
    let (mut reading, mut connection, mut open) = (pin!(reading), pin!(connection), true);
    loop {
        tokio::select! {
            outcome = &mut reading => return outcome,
            // The read under way tells the meaning of the connection's end.
            _ = &mut connection, if open => open = false,
        }
    }
}

async fn read(mut body: Incoming, url: &Url, limit: usize) -> Result<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed("the connection broke", url).caused_by(error))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > limit {
            let error = failed("the document is larger than the limit", url);
            return Err(error.because(Cause::LimitExceeded).with("limit_bytes", limit));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

fn failed(message: &'static str, url: &Url) -> Error {
    Error::new(ErrorKind::BadUpstream, message).with("url", url.origin().ascii_serialization()).not_sent()
}
