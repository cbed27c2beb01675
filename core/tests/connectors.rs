//! A connector that a program brings: a server behind a channel, of which the gateway knows nothing but what the connector says.

#![expect(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use mcp_registry_gateway::error::ErrorKind;
use mcp_registry_gateway::model::TransportType;
use mcp_registry_gateway::rpc::Message;
use mcp_registry_gateway::transport::{Connector, Exchange, Link, Outgoing};
use mcp_registry_gateway::{Caller, Error, Gateway, Registration, Result};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// A request, and where its answer goes.
type Asked = (Value, oneshot::Sender<Value>);

/// Opens links over a channel.
#[derive(Debug)]
struct Channel {
    server: mpsc::Sender<Asked>,
    opened: Arc<AtomicUsize>,
}

#[async_trait]
impl Connector for Channel {
    async fn connect(&self, _own: bool) -> Result<Arc<dyn Link>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(Wire { server: self.server.clone(), open: AtomicBool::new(true) }))
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    fn is_duplex(&self) -> bool {
        false
    }

    fn remembers_clients(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct Wire {
    server: mpsc::Sender<Asked>,
    open: AtomicBool,
}

#[async_trait]
impl Link for Wire {
    async fn request(&self, outgoing: Outgoing) -> Result<Exchange> {
        let gone = || Error::new(ErrorKind::Unavailable, "the server is gone");
        let request = serde_json::from_slice(&outgoing.body).unwrap();
        let (answer, answered) = oneshot::channel();
        self.server.send((request, answer)).await.map_err(|_| gone())?;
        let response = answered.await.map_err(|_| gone())?;
        Ok(Exchange::One(Message::parse(response.to_string().into_bytes().into())?))
    }

    async fn notify(&self, _message: Bytes) -> Result<()> {
        Ok(())
    }

    async fn listen(&self) -> Option<BoxStream<'static, Message>> {
        None
    }

    fn set_version(&self, _version: &str) {}

    fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    async fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
    }
}

/// Answers as an MCP server with one tool, which gives back what it is told.
async fn serve(mut asked: mpsc::Receiver<Asked>) {
    while let Some((request, answer)) = asked.recv().await {
        let result = match request["method"].as_str().unwrap() {
            "initialize" => json!({
                "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
                "serverInfo": { "name": "echo", "version": "1" },
            }),
            "tools/list" => json!({ "tools": [{ "name": "echo", "inputSchema": { "type": "object" } }] }),
            "tools/call" => json!({
                "content": [{ "type": "text", "text": request["params"]["arguments"]["text"] }],
            }),
            _ => {
                let error = json!({ "code": -32601, "message": "Method not found" });
                let _ = answer.send(json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }));
                continue;
            }
        };
        let _ = answer.send(json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }));
    }
}

fn at(name: &str, url: &str) -> Registration {
    Registration { transport_type: Some(TransportType::Custom), ..Registration::at(name, url) }
}

#[tokio::test]
async fn a_tool_is_called_over_a_connector_that_the_program_brings() {
    let (sender, receiver) = mpsc::channel(8);
    let opened = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&opened);
    let gateway = Gateway::builder()
        .connector("channel", move |server| {
            assert_eq!(server.endpoint.url(), Some("channel:echo"));
            Ok(Arc::new(Channel { server: sender.clone(), opened: Arc::clone(&counted) }))
        })
        .server(at("echo", "channel:echo"))
        .open()
        .await
        .unwrap();
    gateway.tasks().spawn(serve(receiver));

    let answer =
        gateway.call_tool(&Caller::local(), "echo__echo", &json!({ "text": "hello" })).await.unwrap();

    let text = answer.text().unwrap();
    assert_eq!(text, "hello");
    assert!(opened.load(Ordering::SeqCst) > 0);
    gateway.close().await;
}

#[tokio::test]
async fn a_server_whose_scheme_no_connector_was_brought_for_is_refused() {
    // The guard lets nobody name a URL of which nothing is known.
    let refused = Gateway::builder().server(at("echo", "channel:echo")).open().await.unwrap_err();
    assert!(refused.to_string().contains("channel"), "{refused}");
}

#[tokio::test]
async fn schemes_that_the_gateway_reaches_itself_cannot_be_taken() {
    for scheme in ["http", "wss", "memory", "Channel", "not a scheme", ""] {
        let builder = Gateway::builder()
            .connector(scheme, |_| Err(Error::new(ErrorKind::Internal, "it is never asked for")));
        let refused = builder.open().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidParams, "{scheme}: {refused}");
    }
}
