//! The demo's requests to the gateway's REST API: register, update, the discovered items, routing's record of a server.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use mcp_registry_gateway::tasks::Tasks;
use mcp_registry_gateway::{Error, ErrorKind, Result};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::client::Http;

/// How often something is looked at that is waited for.
pub(super) const POLL: Duration = Duration::from_millis(5);

/// A client of the REST API.
pub(super) struct Admin {
    http: Http,
    /// The gateway's local token, which it takes to register a command.
    token: String,
}

impl Admin {
    /// A client of the gateway at `address`, whose local token is `token`.
    pub(super) fn new(address: SocketAddr, token: &str, tasks: &Tasks) -> Self {
        Self { http: Http::new(address, tasks), token: format!("Bearer {token}") }
    }

    /// Registers a server and returns its id.
    pub(super) async fn register(&mut self, registration: &Value) -> Result<String> {
        let server = self.ask(Method::POST, "/api/v1/servers", Some(registration)).await?;
        let id = server["id"].as_str().map(String::from);
        id.ok_or_else(|| Error::new(ErrorKind::BadUpstream, "the registered server has no `id`"))
    }

    /// Changes members of a server's record.
    pub(super) async fn update(&mut self, id: &str, change: &Value) -> Result<()> {
        self.ask(Method::PUT, &format!("/api/v1/servers/{id}"), Some(change)).await.map(drop)
    }

    /// Waits until `count` servers offer all of `tools`.
    pub(super) async fn discovered(&mut self, tools: &str, count: usize, time_limit: Duration) -> Result<()> {
        let path = format!("/api/v1/discovery/tools?tools={tools}");
        let found = timeout(time_limit, async {
            while self.ask(Method::GET, &path, None).await?["servers"].as_array().map_or(0, Vec::len) < count
            {
                sleep(POLL).await;
            }
            Ok(())
        });
        found.await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Timeout,
                "the gateway did not discover the tools of the demo's servers",
            )
            .with("tools", tools)
            .with("seconds", time_limit.as_secs()))
        })
    }

    /// The breaker of each of the servers `ids`, in their order: `closed`, `open` or `half_open`.
    pub(super) async fn breakers(&mut self, ids: &[String]) -> Result<Vec<String>> {
        let answer = self.ask(Method::GET, "/api/v1/router/metrics", None).await?;
        let state = |id: &String| answer["metrics"][id]["circuit_breaker_state"].as_str();
        Ok(ids.iter().map(|id| state(id).unwrap_or("unknown").to_owned()).collect())
    }

    async fn ask(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let request = Request::builder().method(&method).uri(path).header(CONTENT_TYPE, "application/json");
        let request = request.header(AUTHORIZATION, &self.token);
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let response = self.http.send(request, body).await?;
        let answer = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
        if response.status().is_success() {
            return Ok(answer);
        }
        let message = answer["error"]["message"].as_str().unwrap_or("no message").to_owned();
        Err(Error::new(ErrorKind::BadUpstream, "the gateway refused a request of the demo")
            .with("request", format!("{method} {path}"))
            .with("status", response.status())
            .with("message", message))
    }
}
