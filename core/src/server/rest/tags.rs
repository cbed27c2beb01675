//! `ETag`, `If-Match` and `If-None-Match` of a server (RFC 9110, sections 8.8.3 and 13.1).
//!
//! A tag is `"REVISION-DIGEST"`. The digest is of the whole view, health included, so that a reader who sends it back gets 304
//! only while nothing at all differs. A change is held against the revision alone: it counts the changes of operators, and an
//! observation of a probe meanwhile is no reason to refuse a change.

use axum::body::Body;
use http::header::{
    AsHeaderName, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};
use http::{Response, StatusCode};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, ErrorKind};
use crate::model::Server;
use crate::server::answer::{Failure, JSON};

/// An answer of `text`, which is JSON, with its tag.
pub(crate) fn tagged(status: StatusCode, revision: u64, text: String) -> Response<Body> {
    let tag = HeaderValue::try_from(tag(revision, &text));
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    if let Ok(tag) = tag {
        headers.insert(ETAG, tag);
    }
    // It may be kept by its reader, who has to ask each time whether it still holds.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

fn tag(revision: u64, text: &str) -> String {
    format!("\"{revision}-{:016x}\"", xxh3_64(text.as_bytes()))
}

/// `response`, or 304 without a body if the reader has it already.
pub(crate) fn unless_known(headers: &HeaderMap, mut response: Response<Body>) -> Response<Body> {
    let weak = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let shown = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(weak);
    let known = listed(headers, IF_NONE_MATCH)
        .is_some_and(|tags| tags.iter().any(|tag| *tag == "*" || shown.as_ref() == Some(&weak(tag))));
    if known && shown.is_some() {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(CONTENT_TYPE);
    }
    response
}

/// The revision that `If-Match` demands; `None` without that header or with `*`; 412 if it is not the current one.
pub(crate) fn demanded(headers: &HeaderMap, current: &Server) -> Result<Option<u64>, Failure> {
    let Some(tags) = listed(headers, IF_MATCH) else { return Ok(None) };
    if tags == ["*"] {
        return Ok(None);
    }
    if tags.iter().any(|tag| revision(tag) == Some(current.revision)) {
        return Ok(Some(current.revision));
    }
    let error = Error::new(ErrorKind::Conflict, "the server was changed since you read it; read it again")
        .with("if_match", tags.join(", "))
        .with("revision", current.revision);
    Err(Failure::status(error, StatusCode::PRECONDITION_FAILED))
}

/// The 412 of a request whose revision was overtaken after it was looked at; any other error as it is.
pub(crate) fn overtaken(error: Error, demanded: Option<u64>) -> Failure {
    if error.kind() == ErrorKind::Conflict && demanded.is_some() {
        return Failure::status(error, StatusCode::PRECONDITION_FAILED);
    }
    error.into()
}

/// The revision that a strong tag names, with or without a digest behind it.
fn revision(tag: &str) -> Option<u64> {
    let inner = tag.strip_prefix('"')?.strip_suffix('"')?;
    inner.split_once('-').map_or(inner, |(revision, _)| revision).parse().ok()
}

/// The members of a list header; `None` without that header. A member that cannot be read matches nothing.
fn listed(headers: &HeaderMap, name: impl AsHeaderName) -> Option<Vec<&str>> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    Some(values.flat_map(|value| value.to_str().unwrap_or("").split(',')).map(str::trim).collect())
}
