//! `/mcp/proxy`: one JSON-RPC request that says what it needs of a server, without a session; and `/legacy/mcp`, the same with
//! plain JSON-RPC for an answer.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::HeaderMap;
use http::{Response, StatusCode};

use super::{McpCaller, Shared, mcp};
use crate::error::{Error, ErrorKind};
use crate::gateway::read_proxied;
use crate::model::{Action, Call, Endpoint, Reply, ServerId};
use crate::rpc::Message;
use crate::rpc::answer::error_response;
use crate::rpc::envelope::quote;
use crate::rpc::version::Era;
use crate::transport::unread::{SMALL, keeping};

pub(super) async fn answer(
    shared: &Shared,
    asker: McpCaller,
    headers: HeaderMap,
    content: Bytes,
    extended_form: bool,
) -> Response<Body> {
    let started = shared.clock.now();
    let (message, hints) = match read_proxied(&content) {
        Ok(read) => read,
        Err(error) => return mcp::refuse(None, &error),
    };
    let id: Box<str> = message.id().unwrap_or("null").into();
    let call = Call {
        route: Endpoint::all(),
        action: Action::Send(message),
        era: Era::Legacy,
        session: None,
        headers,
        correlation_id: Arc::clone(&asker.correlation_id),
        streams: false,
        resumes: false,
        hints: Some(hints),
        builtin: asker.builtin,
        over_network: true,
    };
    let reply = shared.gateway.handle(call, &asker.credentials).await;
    let form = |body: Bytes, server: Option<ServerId>| {
        if !extended_form {
            return body;
        }
        let millis = shared.clock.now().since(started).as_secs_f64() * 1000.0;
        let extended = extended(&body, server.map(|id| id.to_string()).as_deref(), millis);
        if body.len() > SMALL { keeping(extended, body) } else { extended }
    };
    match reply {
        Ok(Reply::Message { body, server, .. } | Reply::Refused { body, server, .. }) => {
            mcp::json(StatusCode::OK, form(body, server))
        }
        Ok(Reply::Stream { .. } | Reply::Accepted) => {
            let message = "a call without a session was answered as if it had one";
            mcp::refuse(Some(&id), &Error::new(ErrorKind::Internal, message))
        }
        Err(error) => {
            let mut response = mcp::refuse(Some(&id), &error);
            *response.body_mut() = Body::from(form(error_response(Some(&id), &error, Era::Legacy), None));
            response
        }
    }
}

/// The response with the facts of its routing; the server's own bytes stay as they are.
fn extended(response: &[u8], server: Option<&str>, millis: f64) -> Bytes {
    let failed =
        Message::parse(Bytes::copy_from_slice(response)).is_ok_and(|message| message.error().is_some());
    let end = response.iter().rposition(|byte| *byte == b'}').unwrap_or(response.len());
    let server = server.map_or_else(|| "null".to_owned(), quote);
    let more = format!(r#","server_id":{server},"response_time_ms":{millis:.3},"success":{}}}"#, !failed);
    [&response[..end], more.as_bytes()].concat().into()
}
