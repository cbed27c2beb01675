//! Redirects of an endpoint: followed within the origin that was judged, and remembered.
//!
//! Many web frameworks answer `/mcp` with a redirect to `/mcp/`. A request that was redirected was not looked at, so that it is sent
//! again as it was, with the same credentials, to the same host and port. Another origin gets nothing.

use bytes::Bytes;
use http::header::LOCATION;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use url::Url;

use super::connector::HttpConnector;
use super::pool::{PooledConnection, Purpose};
use crate::error::Result;
use crate::transport::Queued;

/// Redirects of one request that are followed.
const HOPS: usize = 5;

type Answered = (PooledConnection, Response<Incoming>);

impl HttpConnector {
    /// Sends a request, as `Pool::send` does, and follows redirects within the origin.
    pub(super) async fn send(
        &self,
        purpose: Purpose,
        queued: Option<Queued>,
        request: impl Fn() -> Request<Full<Bytes>> + Send,
    ) -> Result<Answered> {
        let answered = self.pool.send(purpose, self.subject(), queued, &request).await?;
        let status = answered.1.status();
        if status.is_redirection() {
            return Box::pin(self.follow(purpose, queued, request, answered)).await;
        }
        // Should the endpoint have moved back, the next request finds out. Other methods than POST are refused by many servers.
        if is_nothing(status) && self.place.load().is_some() && request().method() == Method::POST {
            self.place.store(None);
        }
        Ok(answered)
    }

    async fn follow(
        &self,
        purpose: Purpose,
        queued: Option<Queued>,
        request: impl Fn() -> Request<Full<Bytes>> + Send,
        mut answered: Answered,
    ) -> Result<Answered> {
        let asked = request().uri().clone();
        let mut at = asked.clone();
        for _ in 0..HOPS {
            let (held, response) = answered;
            let next = location(&response).and_then(|said| target(self.base(), &at, response.status(), said));
            let Some(next) = next else { return Ok((held, response)) };
            held.release(Some(response.into_body()));
            let moved = || {
                let mut request = request();
                *request.uri_mut() = next.clone();
                request
            };
            answered = self.pool.send(purpose, self.subject(), queued, moved).await?;
            if !answered.1.status().is_redirection() {
                if asked == self.target() && !is_nothing(answered.1.status()) {
                    self.place.store(Some(next.into()));
                }
                return Ok(answered);
            }
            at = next;
        }
        Ok(answered)
    }
}

/// Whether a server says that it takes nothing here.
fn is_nothing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 404 | 405 | 410)
}

fn location(response: &Response<Incoming>) -> Option<&str> {
    response.headers().get(LOCATION)?.to_str().ok()
}

/// The path and query to which a redirect from `at` leads, if it is followed: 307 and 308, which keep the method, anywhere in the
/// origin; 301 and 302, which some clients answer with a GET, only where no more than a slash at the end differs.
fn target(base: &Url, at: &Uri, status: StatusCode, said: &str) -> Option<Uri> {
    let from = base.join(&at.to_string()).ok()?;
    let to = from.join(said).ok()?;
    let is_foreign = to.origin() != from.origin() || !to.origin().is_tuple();
    if is_foreign || !to.username().is_empty() || to.password().is_some() {
        return None;
    }
    let path = |url: &Url| url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    let bare = |url: &Url| (url.path().trim_end_matches('/').to_owned(), url.query().map(str::to_owned));
    let follows = match status.as_u16() {
        307 | 308 => true,
        301 | 302 => bare(&from) == bare(&to),
        _ => false,
    };
    let next = path(&to);
    if follows && next != path(&from) { next.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(status: u16, said: &str) -> Option<String> {
        let base = Url::parse("http://tools.example:8080/mcp?a=1").unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        target(&base, &Uri::from_static("/mcp?a=1"), status, said).map(|uri| uri.to_string())
    }

    #[test]
    fn a_redirect_is_followed_within_the_origin() {
        for (status, said, to) in [
            (307, "/mcp/?a=1", "/mcp/?a=1"),
            (308, "http://tools.example:8080/other/mcp", "/other/mcp"),
            (307, "HTTP://TOOLS.example:8080/mcp/#x", "/mcp/"),
            (308, "mcp/", "/mcp/"),
            (301, "/mcp/?a=1", "/mcp/?a=1"),
            (302, "http://tools.example:8080/mcp/?a=1", "/mcp/?a=1"),
        ] {
            assert_eq!(at(status, said).as_deref(), Some(to), "{status} {said}");
        }
        for (status, said) in [
            (307, "https://tools.example:8080/mcp/"),
            (307, "http://tools.example/mcp/"),
            (308, "http://evil.example:8080/mcp/"),
            (307, "//evil.example/mcp/"),
            (307, "\\\\evil.example\\mcp"),
            (307, "http://tools.example:8080@evil.example/mcp"),
            (307, "http://user:secret@tools.example:8080/mcp/"),
            (307, "file:///etc/passwd"),
            (307, "/mcp?a=1"),
            (302, "/login"),
            (301, "/mcp/"),
            (303, "/mcp/?a=1"),
            (300, "/mcp/?a=1"),
        ] {
            assert_eq!(at(status, said), None, "{status} {said}");
        }
    }
}
