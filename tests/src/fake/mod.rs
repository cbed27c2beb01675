//! A fake MCP server of the legacy era: answers as a script says and writes down everything it received.
//!
//! [`Fake`] serves streamable HTTP inside the test's process; [`serve_stdio`] serves standard input and output
//! in a process of its own. Both run the same plans.

mod http;
mod ledger;
mod modern;
mod plan;
mod run;
mod script;
mod state;
mod stdio;
mod tools;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;

use mcp_registry_gateway::tasks::Tasks;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub use ledger::{Entry, Ledger};
pub use modern::Modern;
pub use script::{Act, Script};
pub use stdio::serve_stdio;

use state::State;

/// A fake server on a port of this machine; it ends, connections and all, when it is dropped.
pub struct Fake {
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
    tasks: Tasks,
}

impl Fake {
    /// Starts a server on a free port.
    pub async fn start(name: &str) -> Self {
        Self::listen(name, None).await
    }

    /// Starts a server behind TLS on a free port.
    pub async fn start_tls(name: &str, tls: TlsAcceptor) -> Self {
        Self::listen(name, Some(tls)).await
    }

    async fn listen(name: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        Self::run(address, tls, listener, Arc::new(State::new(name, Ledger::default())))
    }

    /// Starts a server on a free port that speaks WebSocket alone; its URL begins with `ws:`.
    pub async fn start_websocket(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let state = Arc::new(State::new(name, Ledger::default()));
        let tasks = Tasks::default();
        tasks.spawn(websocket::serve(listener, Arc::clone(&state), tasks.clone()));
        Self { address, state, tasks, tls: None }
    }

    /// Starts several servers, named `prefix-0`, `prefix-1`, …
    pub async fn start_many(prefix: &str, count: usize) -> Vec<Self> {
        let mut all = Vec::with_capacity(count);
        for n in 0..count {
            all.push(Self::start(&format!("{prefix}-{n}")).await);
        }
        all
    }

    fn run(address: SocketAddr, tls: Option<TlsAcceptor>, listener: TcpListener, state: Arc<State>) -> Self {
        let tasks = Tasks::default();
        tasks.spawn(http::serve(listener, tls.clone(), Arc::clone(&state), tasks.clone()));
        Self { address, tls, state, tasks }
    }

    /// Stops listening and cuts every connection; what was learnt stays.
    pub async fn stop(&mut self) {
        self.tasks.stop().await;
        self.state.forget_sessions();
    }

    /// Serves again on the same port, with the same name, script and ledger and without the old sessions.
    pub async fn restart(&mut self) {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await.expect("the port is free again");
        *self = Self::run(self.address, self.tls.clone(), listener, Arc::clone(&self.state));
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/mcp", self.address)
    }

    /// Where clients connect over WebSocket.
    pub fn websocket_url(&self) -> String {
        format!("ws://{}/mcp", self.address)
    }

    /// The server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's name, which is what the tool `whoami` answers.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// What was received.
    pub fn ledger(&self) -> &Ledger {
        &self.state.ledger
    }

    /// What happens instead of a good answer.
    pub fn script(&self) -> &Script {
        &self.state.script
    }

    /// Replaces the tools by ones that echo `text`; they are listed `page` at a time.
    pub fn set_tools(&self, names: &[String], page: usize) {
        self.state.set_tools(names, page);
    }

    /// Replaces the tools by ones with these definitions; they echo `text`.
    pub fn define_tools(&self, definitions: Vec<Value>) {
        self.state.define_tools(definitions, usize::MAX);
    }

    /// Forgets all sessions, as a restarted server does.
    pub fn forget_sessions(&self) {
        self.state.forget_sessions();
    }

    /// Sessions that were opened and not ended.
    pub fn sessions(&self) -> usize {
        self.state.session_count()
    }

    /// Sends a message to everyone who listens outside an exchange; gives how many do.
    pub fn notify_raw(&self, message: &Value) -> usize {
        self.state.news.send(message.clone()).unwrap_or(0)
    }

    /// Sends a notification to everyone who listens outside an exchange; gives how many do.
    pub fn notify(&self, method: &str, params: &Value) -> usize {
        self.state.news.send(tools::notification(method, params)).unwrap_or(0)
    }
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fake({} at {})", self.name(), self.url())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}
