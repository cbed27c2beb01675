//! WebSocket with the subprotocol `mcp`: one message a text frame.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use mcp_registry_gateway::tasks::Tasks;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::run::{Out, run};
use super::state::{Reaction, State};

/// Accepts for ever.
pub(super) async fn serve(listener: TcpListener, state: Arc<State>, tasks: Tasks) {
    while let Ok((stream, _)) = listener.accept().await {
        tasks.spawn(connection(stream, Arc::clone(&state), tasks.clone()));
    }
}

async fn connection(stream: TcpStream, state: Arc<State>, tasks: Tasks) {
    let mut headers = BTreeMap::new();
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let choose = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        // Those of the handshake are those of every message.
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.extend(request.headers().iter().map(|(name, value)| (name.to_string(), text(value))));
        response.headers_mut().insert("sec-websocket-protocol", http::HeaderValue::from_static("mcp"));
        Ok(response)
    };
    let Ok(stream) = tokio_tungstenite::accept_hdr_async(stream, choose).await else { return };
    let session = state.open_session();
    let (mut sink, mut source) = stream.split();
    let (out, mut taken) = mpsc::channel(16);
    let mut news = state.news.subscribe();
    loop {
        let sent = tokio::select! {
            frame = source.next() => {
                let Some(Ok(frame)) = frame else { break };
                let Some(message) = frame.to_text().ok().and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
                    continue;
                };
                let reaction = state.receive("websocket", Some(session.clone()), headers.clone(), &message);
                if let Reaction::Do(plan) = reaction {
                    tasks.spawn(run(Arc::clone(&state), plan.steps, out.clone()));
                }
                continue;
            }
            Ok(message) = news.recv() => sink.send(Frame::text(message.to_string())).await,
            Some(out) = taken.recv() => match out {
                Out::Message(message) => sink.send(Frame::text(message.to_string())).await,
                Out::Raw(bytes) => sink.send(Frame::text(String::from_utf8_lossy(&bytes).into_owned())).await,
                Out::Reset | Out::Stderr(_) | Out::Exit(_) | Out::Deaf => break,
            },
        };
        if sent.is_err() {
            break;
        }
    }
    state.close_session(&session);
}
