//! Request bodies: bounded in size and in time.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use axum::BoxError;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::deferred_waker::take;
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::detached;

/// Longest wait for a request's body, from its first byte to its last.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Most that is read of a body only to throw it away.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;
/// Longest that it is read.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Refuses a body that announces more than `limit` bytes, before any of it is read.
pub(crate) fn check_length(headers: &HeaderMap, limit: usize) -> Result<()> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) { Err(too_large(limit)) } else { Ok(()) }
}

/// Reads a whole body of at most `limit` bytes.
pub(crate) async fn read<B>(body: B, limit: usize) -> Result<Bytes>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = std::pin::pin!(body);
    let read = {
        let mut reading = std::pin::pin!(gather(body.as_mut(), limit));
        // Nearly always all of it has come with the head, and needs no timer.
        match futures_util::poll!(reading.as_mut()) {
            Poll::Ready(read) => Ok(read),
            Poll::Pending => tokio::time::timeout(READ_TIMEOUT, reading).await,
        }
    };
    match read {
        Ok(Ok(bytes)) => Ok(detached(bytes)),
        Ok(Err(error)) if is_length_limit(&*error) => {
            Box::pin(discard(body)).await;
            Err(too_large(limit))
        }
        Ok(Err(error)) => Err(Error::new(
            ErrorKind::InvalidRequest,
            "the connection closed before the request's body was complete",
        )
        .caused_by(error)),
        Err(_) => Err(Error::new(ErrorKind::InvalidRequest, "the request's body did not arrive within 30 s")),
    }
}

/// The bytes of a body, joined if they come in pieces; an error like [`Limited`]'s beyond `limit`.
async fn gather<B>(body: Pin<&mut B>, limit: usize) -> Result<Bytes, BoxError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = Limited::new(body, limit);
    let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = poll_fn(|cx| take(Pin::new(&mut body), cx)).await {
        // Trailers say nothing to MCP.
        let Ok(chunk) = frame?.into_data() else { continue };
        if first.is_empty() && joined.is_empty() {
            first = chunk;
            continue;
        }
        joined.extend_from_slice(&std::mem::take(&mut first));
        joined.extend_from_slice(&chunk);
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

/// Reads the rest of an unwanted body, within limits, so that the client receives the reason: a connection that is closed with
/// bytes unread is reset, and the answer is lost with it.
pub(crate) async fn discard<B>(body: B)
where
    B: http_body::Body<Data = Bytes>,
{
    let mut body = std::pin::pin!(body);
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MAX_DISCARDED {
                return;
            }
        }
    };
    // A client slower than this does not receive the reason.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, reading).await;
}

/// Refuses a body that does not say it is JSON. A page of a foreign origin cannot say so without asking first.
pub(crate) fn check_json(headers: &HeaderMap) -> Result<()> {
    if let Some(coding) = headers.get(CONTENT_ENCODING).filter(|coding| *coding != "identity") {
        // A body that is small here may be large once it is decompressed.
        let shown: String = String::from_utf8_lossy(coding.as_bytes()).chars().take(80).collect();
        return Err(Error::new(
            ErrorKind::MediaType,
            "compressed request bodies are not supported; send the body without `Content-Encoding`",
        )
        .with("content_encoding", shown));
    }
    let value = headers.get(CONTENT_TYPE);
    if value.is_some_and(|value| value.as_bytes() == b"application/json") {
        return Ok(());
    }
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = value.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let shown: String = value.chars().take(80).collect();
    Err(Error::new(ErrorKind::MediaType, "send the body with `Content-Type: application/json`")
        .with("found", shown))
}

/// `axum` wraps errors of bodies once more, so the cause is looked for all the way down.
fn is_length_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(<dyn std::error::Error>::is::<LengthLimitError>)
}

fn too_large(limit: usize) -> Error {
    Error::new(ErrorKind::TooLarge, "the body is larger than `server.max_body_bytes`")
        .with("limit_bytes", limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    /// B-01: a body over the limit is refused before it is parsed, and the limit named.
    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_and_the_limit_named() {
        let read = |text: &'static str| {
            read(axum::body::Body::new(Full::new(Bytes::from_static(text.as_bytes()))), 4)
        };
        assert_eq!(read("1234").await.unwrap(), "1234");
        let error = read("12345").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("limit_bytes: 4"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_does_not_hold_the_request_for_ever() {
        let never =
            axum::body::Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(never, 4).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    }
}
