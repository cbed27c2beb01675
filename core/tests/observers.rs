//! An observer that a program brings: what it is told of a call, of an attempt, and of a refusal.

#![expect(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_registry_gateway::error::ErrorKind;
use mcp_registry_gateway::observe::{Active, Attempt, AttemptEnd, Observer};
use mcp_registry_gateway::{Caller, Error, Gateway, Principal, Registration, Result, Role, TenantId};
use serde_json::{Value, json};

/// Writes down what it is told, for calls of tools.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Observer for Recorder {
    fn call_started(&self, call: &Active) {
        self.note(format!("started {}", call.method));
    }

    fn attempt_ended(&self, _call: &Active, attempt: &AttemptEnd<'_>) {
        let outcome = attempt.error.map_or("answered", |_| "failed");
        self.note(format!("attempt at {}/{} {outcome}", attempt.service, attempt.server));
    }

    fn refused(&self, attempt: &Attempt<'_>, error: &Error) {
        let who = attempt.principal.map_or("unknown", |principal| &principal.subject);
        self.note(format!("refused {who} {}: {:?}", attempt.action, error.kind()));
    }

    fn call_answered(&self, call: &Active, error: Option<&Error>) {
        let target = call.target.get().map_or("", |target| target);
        self.note(format!("answered {target} {}", error.is_none()));
    }

    fn call_ended(&self, _call: &Active, _took: Duration, failed: Option<ErrorKind>) {
        self.note(format!("ended {failed:?}"));
    }
}

/// Answers as an MCP server with one tool.
async fn serve(method: String, _params: Value) -> Result<Value> {
    Ok(match method.as_str() {
        "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
            "serverInfo": { "name": "clock", "version": "1" } }),
        "tools/list" => json!({ "tools": [{ "name": "now", "inputSchema": { "type": "object" } }] }),
        "tools/call" => json!({ "content": [{ "type": "text", "text": "noon" }] }),
        _ => json!({}),
    })
}

#[tokio::test]
async fn an_observer_hears_a_call_begin_and_end_each_attempt_and_a_refusal() {
    let (recorder, us) = (Arc::new(Recorder::default()), Caller::local());
    let gateway = Gateway::builder().observer(Arc::clone(&recorder) as _).open().await.unwrap();
    let hosted = gateway.host(&us, Registration::named("clock"), |visit| visit.answer(serve)).await.unwrap();
    // A call names the tool in its target once the gateway knows the tool.
    gateway.discover(&us, hosted.server().id).await.unwrap();
    recorder.lines();

    gateway.call_tool(&us, "clock__now", &json!({})).await.unwrap();
    assert_eq!(
        recorder.lines(),
        ["started tools/call", "attempt at clock/clock answered", "answered clock/now true", "ended None"]
    );

    let viewer = Caller::new(Principal::new(TenantId::default_tenant(), "guest", Role::Viewer));
    let refused = gateway.call_tool(&viewer, "clock__now", &json!({})).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert_eq!(
        recorder.lines(),
        ["started tools/call", "refused guest tools/call: PermissionDenied", "ended Some(PermissionDenied)"]
    );
    gateway.close().await;
}

#[tokio::test]
async fn an_observer_hears_that_an_attempt_failed() {
    let (recorder, us) = (Arc::new(Recorder::default()), Caller::local());
    let gateway = Gateway::builder()
        .observer(Arc::clone(&recorder) as _)
        .server(Registration::at("docs", "http://127.0.0.1:9/mcp"))
        .open()
        .await
        .unwrap();
    recorder.lines();
    gateway.call_tool(&us, "docs__search", &json!({})).await.unwrap_err();
    let lines = recorder.lines();
    assert!(lines.contains(&"attempt at docs/docs failed".to_owned()), "{lines:?}");
    assert!(lines.last().unwrap().starts_with("ended Some"), "{lines:?}");
    gateway.close().await;
}
