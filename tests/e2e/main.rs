//! The real `mcp-gateway` program, driven as its users drive it: over HTTP and by signals.
#![expect(clippy::expect_used, reason = "a panic in a test is a failed test")]

mod affinity;
mod behind_nginx;
mod breaker;
mod callers;
mod calls;
mod configuration;
mod credentials;
mod crowds;
mod delivery;
mod doctor;
mod doors;
mod drift;
mod durability;
mod events;
mod framing;
mod github;
mod guarded;
mod hostile;
mod identity;
mod input;
mod instruments;
mod lifecycle;
mod lists;
mod local_trust;
mod logs;
mod modern;
mod modern_client;
mod modern_client_listens;
mod modern_client_talks;
mod named_files;
mod names;
mod offers;
mod proxied;
mod queue;
mod recovery;
mod reload;
mod resumption;
mod served_tls;
mod sessions;
mod sharing;
mod smuggling;
mod stdio;
mod tls;
mod transports;
mod upstream;
mod vectors;
mod vectors_http;

use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::process::Gateway;
use serde_json::{Value, json};

/// The fake server as a program, for what needs a process.
const FAKE: &str = env!("CARGO_BIN_EXE_fake-mcp-server");

/// A gateway with one fake server, both ready: the gateway, the server, its id. The service is called `one`.
async fn one() -> (Gateway, Fake, String) {
    let (gateway, fake) = (Gateway::start().await, Fake::start("one").await);
    let id = gateway.adopt("one", "one", &fake.url()).await;
    (gateway, fake, id)
}

/// The registration of a server at `url` that is asked only for what clients want of it.
fn quiet(name: &str, url: &str) -> Value {
    json!({ "name": name, "endpoint_url": url, "health_check": { "enabled": false } })
}

/// The registration of a fake server over stdio.
fn stdio(name: &str, more: &[&str]) -> Value {
    let mut args = vec!["--name", name];
    args.extend(more);
    json!({ "name": name, "transport_type": "stdio", "command": FAKE, "args": args })
}
