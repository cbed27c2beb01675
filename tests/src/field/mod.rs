//! Upstream servers of the field tests: each answers as its script says, down to the byte, over streamable HTTP, HTTP+SSE or
//! stdio.
//!
//! A [`Script`] names a reply for each method; an [`Upstream`] serves it. The same script runs over every transport.

mod http;
mod script;
mod stdio;

use std::path::PathBuf;
use std::sync::Arc;

use mcp_registry_gateway::tasks::Tasks;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

pub use script::{Reply, Script};
pub use stdio::serve;

/// The transports of an upstream server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE, the transport of 2024-11-05.
    Sse,
    /// Standard input and output of a process.
    Stdio,
}

impl Over {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Http, Self::Sse, Self::Stdio];

    /// Its word in names of servers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Sse => "sse",
            Self::Stdio => "stdio",
        }
    }
}

/// A server that answers as its script says; it ends when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    over: Over,
    url: String,
    script: Arc<Script>,
    folder: TempDir,
    tasks: Tasks,
}

impl Upstream {
    /// Serves `script`. Over stdio the gateway starts the process, by the registration.
    pub async fn start(over: Over, script: Script) -> Self {
        let (folder, tasks) = (tempfile::tempdir().expect("a temporary folder"), Tasks::default());
        let script = Arc::new(script);
        let url = if over == Over::Stdio {
            let text = serde_json::to_vec(&*script).expect("a script is JSON");
            std::fs::write(folder.path().join("script"), text).expect("a temporary file");
            String::new()
        } else {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("a bound port");
            tasks.spawn(http::serve(listener, Arc::clone(&script), tasks.clone()));
            let path = if over == Over::Sse { "sse" } else { "mcp" };
            format!("http://{address}/{path}")
        };
        Self { over, url, script, folder, tasks }
    }

    /// The URL of the server; empty over stdio.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The registration of this server as `name`; `program` is the path of `field-upstream`.
    pub fn registration(&self, name: &str, program: &str) -> Value {
        let mut registration = json!({ "name": name, "health_check": { "enabled": false } });
        match self.over {
            Over::Http => registration["endpoint_url"] = json!(self.url),
            Over::Sse => {
                registration["endpoint_url"] = json!(self.url);
                registration["transport_type"] = json!("sse");
            }
            Over::Stdio => {
                registration["transport_type"] = json!("stdio");
                registration["command"] = json!(program);
                registration["args"] = json!([self.folder.path().join("script"), self.log()]);
            }
        }
        registration
    }

    /// The messages that the server received, in order: each as it came, with the HTTP headers under `headers`.
    pub fn received(&self) -> Vec<Value> {
        if self.over != Over::Stdio {
            return self.script.received();
        }
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The params of the requests of `method` that the server received.
    pub fn asked(&self, method: &str) -> Vec<Value> {
        let of = |message: &Value| message["method"] == method;
        self.received().into_iter().filter(of).map(|message| message["params"].clone()).collect()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("received")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}
