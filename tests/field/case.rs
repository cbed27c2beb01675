//! The table of a kind, and how its rows are run.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{self, StreamExt as _};
use mcp_registry_gateway_tests::clock::eventually;
use mcp_registry_gateway_tests::field::{Over, Script, Upstream};
use mcp_registry_gateway_tests::mcp::{Answer, Client};
use mcp_registry_gateway_tests::process::{Gateway, Options};
use serde_json::{Value, json};

/// The upstream program over stdio.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_field-upstream");

/// How long a condition may take to come true on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One row: a stimulus, and the right reaction to it.
pub(crate) struct Case {
    /// In the words of FIELD.md: lower case, digits and `-`, since the server of the case is registered under it.
    pub(crate) name: &'static str,
    /// The transports over which the case runs.
    pub(crate) over: &'static [Over],
    /// The answers of the upstream.
    pub(crate) script: fn() -> Script,
    /// Changes of the registration.
    pub(crate) register: fn(&mut Value),
    /// Fails unless the client sees what is right.
    pub(crate) sees: for<'a> fn(&'a Seen<'a>) -> LocalBoxFuture<'a, ()>,
}

/// A case over all transports, registered as it is.
pub(crate) const fn case(
    name: &'static str,
    script: fn() -> Script,
    sees: for<'a> fn(&'a Seen<'a>) -> LocalBoxFuture<'a, ()>,
) -> Case {
    Case { name, over: &Over::ALL, script, register: |_| {}, sees }
}

impl Case {
    /// The same over streamable HTTP alone.
    pub(crate) const fn http(self) -> Self {
        Self { over: &[Over::Http], ..self }
    }

    /// The same over these transports.
    pub(crate) const fn over(self, over: &'static [Over]) -> Self {
        Self { over, ..self }
    }

    /// The same with another registration.
    pub(crate) const fn registered(self, register: fn(&mut Value)) -> Self {
        Self { register, ..self }
    }
}

/// `|at| { … }` as the last part of a row.
macro_rules! sees {
    (|$at:ident| $body:block) => {
        |$at: &crate::case::Seen<'_>| Box::pin(async move { $body })
    };
}
pub(crate) use sees;

/// A case that runs: its gateway, its server, and what clients see of both.
pub(crate) struct Seen<'g> {
    pub(crate) gateway: &'g Gateway,
    pub(crate) upstream: Upstream,
    /// The server's and the service's name.
    pub(crate) name: String,
    /// The server's id.
    pub(crate) id: String,
    /// A client of `/mcp`.
    pub(crate) all: Client,
}

impl Seen<'_> {
    /// A client of `/mcp/NAME`.
    pub(crate) async fn alone(&self) -> Client {
        self.gateway.client(&format!("/mcp/{}", self.name)).await
    }

    /// The items of this case's server in a list on `/mcp`, such as `tools/list`; every page of it.
    pub(crate) async fn list(&self, method: &str) -> Vec<Value> {
        let (mut items, mut params) = (Vec::new(), json!({}));
        loop {
            let page = self.all.request(method, params).await.expect("an answer");
            assert!(page.is_result(), "{method} on /mcp: {page:?}");
            items.extend(items_of(method, &page));
            match &page.response["result"]["nextCursor"] {
                Value::Null => break,
                cursor => params = json!({ "cursor": cursor }),
            }
        }
        let prefix = format!("{}__", self.name.replace('.', "_"));
        let named = |item: &Value| item["name"].as_str().is_some_and(|name| name.starts_with(&prefix));
        if method.starts_with("resources/") { items } else { items.into_iter().filter(named).collect() }
    }

    /// The names of the server's items in a list on `/mcp`, without the prefix of the service.
    pub(crate) async fn names(&self, method: &str) -> Vec<String> {
        let prefix = format!("{}__", self.name.replace('.', "_"));
        let names = self.list(method).await;
        let names = names.iter().filter_map(|item| item["name"].as_str());
        names.map(|name| name.strip_prefix(&prefix).unwrap_or(name).to_owned()).collect()
    }

    /// The items of a list on `/mcp/NAME`. A program that has just ended is asked again once it may be started again.
    pub(crate) async fn list_alone(&self, method: &str) -> Vec<Value> {
        let what = format!("{method} on /mcp/{}", self.name);
        let answer = eventually(&what, PATIENCE, async || {
            let answer = self.alone().await.request(method, json!({})).await.expect("an answer");
            (answer.status != 503 || answer.retry_after.is_none()).then_some(answer)
        });
        let answer = answer.await;
        assert!(answer.is_result(), "{method} on /mcp/{}: {answer:?}", self.name);
        items_of(method, &answer)
    }

    /// Calls a tool on `/mcp` by its name without the prefix.
    pub(crate) async fn call(&self, tool: &str) -> Answer {
        let name = format!("{}__{tool}", self.name);
        self.all.call(&name, json!({})).await.expect("an answer")
    }

    /// The server's record in REST.
    pub(crate) async fn record(&self) -> Value {
        let path = format!("/api/v1/servers/{}", self.id);
        self.gateway.http().get(&path).await.expect("an answer").1
    }

    /// Waits until the server has a problem about `item`, and gives its reason.
    pub(crate) async fn problem(&self, item: &str) -> String {
        eventually(&format!("a problem of {} about {item}", self.name), PATIENCE, async || {
            let record = self.record().await;
            let problems = record["problems"].as_array()?;
            let about = |problem: &&Value| problem["item"].as_str().is_some_and(|name| name.contains(item));
            Some(problems.iter().find(about)?["reason"].as_str()?.to_owned())
        })
        .await
    }

    /// Waits until `look` gives something.
    pub(crate) async fn until<T, F: AsyncFnMut() -> Option<T>>(&self, what: &str, look: F) -> T {
        eventually(&format!("{what} of {}", self.name), PATIENCE, look).await
    }
}

fn items_of(method: &str, page: &Answer) -> Vec<Value> {
    let member = match method {
        "tools/list" => "tools",
        "prompts/list" => "prompts",
        "resources/list" => "resources",
        _ => "resourceTemplates",
    };
    page.response["result"][member].as_array().cloned().unwrap_or_default()
}

/// Runs the rows of a kind on one gateway; prints a line for each, and fails if one fails.
pub(crate) async fn run(kind: &str, cases: &[Case]) {
    run_on(kind, cases, Options::default()).await;
}

/// The same on a gateway with options.
pub(crate) async fn run_on(kind: &str, cases: &[Case], options: Options) {
    let gateway = Gateway::start_with(options).await;
    let neighbour = Upstream::start(Over::Http, Script::good()).await;
    gateway.register(&neighbour.registration("neighbour", PROGRAM)).await;
    let chosen = chosen();
    let rows = cases.iter().flat_map(|case| case.over.iter().map(move |over| (case, *over)));
    let rows: Vec<_> =
        rows.filter(|(case, _)| chosen.as_ref().is_none_or(|name| case.name.contains(name))).collect();
    let outcomes = stream::iter(&rows).map(|(case, over)| {
        let gateway = &gateway;
        async move {
            let passed = AssertUnwindSafe(row(gateway, case, *over)).catch_unwind().await.is_ok();
            let word = if passed { "ok    " } else { "FAILED" };
            println!("{word} {kind} {} over {}", case.name, over.word());
            passed
        }
    });
    let outcomes: Vec<bool> = outcomes.buffer_unordered(3).collect().await;
    let failed = outcomes.iter().filter(|passed| !**passed).count();
    assert_eq!(failed, 0, "{failed} of {} rows of kind {kind} failed", outcomes.len());
}

async fn row(gateway: &Gateway, case: &Case, over: Over) {
    let name = format!("{}-{}", case.name, over.word());
    let upstream = Upstream::start(over, (case.script)()).await;
    let mut registration = upstream.registration(&name, PROGRAM);
    (case.register)(&mut registration);
    let name = registration["name"].as_str().expect("a name").to_owned();
    let record = gateway.register(&registration).await;
    let id = record["id"].as_str().expect("an id").to_owned();
    let seen = Seen { gateway, upstream, name, id, all: gateway.client("/mcp").await };
    (case.sees)(&seen).await;
    // The server beside a faulty one is listed and called in every case.
    let good = seen.all.call("neighbour__good", json!({})).await.expect("an answer");
    assert_eq!(good.text(), "good", "the neighbour of {}: {good:?}", seen.name);
    let list = seen.all.request("tools/list", json!({})).await.expect("an answer");
    assert!(list.names("tools").iter().any(|name| name == "neighbour__good"), "{list:?}");
    let path = format!("/api/v1/servers/{}", seen.id);
    let removed = gateway.http().json(http::Method::DELETE, &path, None).await.expect("an answer");
    assert!(removed.0 < 300, "{removed:?}");
}

/// The part of a case's name in `FIELD_CASE`, to run some rows alone.
#[expect(clippy::disallowed_methods, reason = "the rows to run are the caller's choice")]
fn chosen() -> Option<String> {
    std::env::var("FIELD_CASE").ok()
}
