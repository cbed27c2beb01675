//! The example does what its page says.
#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::http::Http;
use mcp_registry_gateway_tests::mcp::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// The application, killed when it is dropped.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str]) -> (Self, SocketAddr) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_example-rust-axum"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_end_matches("/mcp").rsplit_once('/').unwrap().1.parse().unwrap();
        (Self(child), address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn own_routes_and_clients_of_the_gateway_reach_servers_in_the_process_and_elsewhere() {
    let fake = Fake::start("docs").await;
    let (mut running, address) = Running::start(&["127.0.0.1:0", &format!("docs={}", fake.url())]);
    let http = Http::new(address);

    assert_eq!(http.get("/double/21").await.unwrap(), (200, json!({ "n": 21, "doubled": "42" })));
    let (_, servers) = http.get("/servers").await.unwrap();
    let names: Vec<_> = servers.as_array().unwrap().iter().map(|server| &server["name"]).collect();
    assert_eq!(names, ["docs", "numbers"]);
    // What is not the application's own is the gateway's, and of that only what the application exposes.
    assert_eq!(http.get("/health").await.unwrap().0, 200);
    assert_eq!(http.get("/api/v1/servers").await.unwrap().0, 404);

    let client = Client::connect(address, "/mcp").await.unwrap();
    assert_eq!(client.call("numbers__double", json!({ "n": 4 })).await.unwrap().text(), "8");
    assert!(client.call("docs__echo", json!({ "text": "hi" })).await.unwrap().text().contains("hi"));

    // A client that listens does not keep it from ending.
    let _stream = client.listen().await.unwrap();
    let pid = Pid::from_raw(running.0.id().cast_signed()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let status = eventually("the end of the application", Duration::from_secs(20), async || {
        running.0.try_wait().unwrap()
    })
    .await;
    assert!(status.success(), "{status}");
}
