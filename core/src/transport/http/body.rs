//! Reads a whole answer into one buffer, up to a limit.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use hyper::body::Incoming;

use super::pool::PooledConnection;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::rpc::detached;
use crate::transport::unread::{CallRoom, HasRoom, SMALL};

/// The body of an answer, after which the connection is given back.
///
/// [`ErrorKind::BadUpstream`] if it is longer than `limit` bytes, which the message names, or is cut; the
/// connection is closed then.
///
/// Room for a large one is taken from `call`'s before it is read.
pub(super) async fn read(
    mut held: PooledConnection,
    mut body: Incoming,
    limit: usize,
    call: Option<&dyn HasRoom>,
) -> Result<Bytes> {
    let declared = body.size_hint().exact();
    let declared = declared.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let mut room = None;
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    // Bytes that are complete by their declared length need not be asked whether more come.
    while !body.is_end_stream() {
        let Some(chunk) = poll_fn(|cx| held.poll_chunk(&mut body, cx)).await else { break };
        let chunk = chunk?;
        let size = first.len() + joined.len() + chunk.len();
        if size > limit {
            return Err(too_large(limit));
        }
        if room.is_none() && declared.unwrap_or(size) > SMALL {
            room = reserve(call, declared.unwrap_or(limit)).await?;
        }
        if joined.is_empty() && first.is_empty() {
            first = chunk;
            continue;
        }
        if joined.is_empty() {
            joined.reserve(declared.unwrap_or(first.len() + chunk.len()));
            joined.extend_from_slice(&std::mem::take(&mut first));
        }
        joined.extend_from_slice(&chunk);
    }
    let whole = if joined.is_empty() { detached(first) } else { joined.freeze() };
    held.release(None);
    if let Some((room, reserved)) = room {
        room.settle(reserved, whole.len());
    }
    Ok(whole)
}

/// Room for `bytes`, if they are counted.
async fn reserve(call: Option<&dyn HasRoom>, bytes: usize) -> Result<Option<(Arc<CallRoom>, usize)>> {
    let Some(room) = call.and_then(HasRoom::room) else { return Ok(None) };
    room.reserve(bytes).await?;
    Ok(Some((room, bytes)))
}

fn too_large(limit: usize) -> Error {
    let message = format!("the server's answer is larger than the limit of {limit} bytes for one answer");
    Error::new(ErrorKind::BadUpstream, message).because(Cause::LimitExceeded).with("limit_bytes", limit)
}
