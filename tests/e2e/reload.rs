//! A gateway takes up a changed configuration whole or not at all, and can be made to stop at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mcp_registry_gateway_tests::clock::{Stopwatch, eventually};
use mcp_registry_gateway_tests::fake::Fake;
use mcp_registry_gateway_tests::process::{Gateway, Options};
use serde_json::Value;
use tempfile::TempDir;

use crate::one;

const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway that serves from a file with this text.
async fn configured(text: &str) -> (Gateway, PathBuf, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mcp-gateway.toml");
    std::fs::write(&file, text).expect("a file");
    let args = vec!["--config".to_owned(), file.display().to_string()];
    (Gateway::start_with(Options { args, ..Options::default() }).await, file, folder)
}

/// Puts the new text in place at once, as editors do.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("a file");
    std::fs::rename(new, file).expect("a file in place of the old");
}

fn entry(name: &str, url: &str) -> String {
    format!("[[servers]]\nname = \"{name}\"\nendpoint_url = \"{url}\"\n")
}

async fn servers(gateway: &Gateway) -> Vec<Value> {
    let (_, body) = gateway.http().get("/api/v1/servers").await.expect("a list");
    body["servers"].as_array().cloned().unwrap_or_default()
}

async fn named(gateway: &Gateway, name: &str) -> Value {
    eventually(&format!("the server {name}"), PATIENCE, async || {
        servers(gateway).await.into_iter().find(|server| server["name"] == name)
    })
    .await
}

#[tokio::test]
async fn a_changed_file_is_taken_up_on_sighup_and_by_itself() {
    let fake = Fake::start("one").await;
    let (gateway, file, _folder) = configured(&entry("one", &fake.url())).await;
    let id = named(&gateway, "one").await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "echo").await;

    let second = entry("one", &fake.url()) + "weight = 7\n" + &entry("two", &fake.url());
    replace(&file, &second);
    gateway.hang_up();
    named(&gateway, "two").await;
    let one = named(&gateway, "one").await;
    assert_eq!((&one["weight"], one["id"].as_str()), (&Value::from(7), Some(id.as_str())));

    replace(&file, &(second + &entry("three", &fake.url())));
    named(&gateway, "three").await;
}

#[tokio::test]
async fn changed_declared_capabilities_are_taken_up() {
    let server = |tool: &str| {
        let tools = format!("[{{ name = \"{tool}\", inputSchema = {{ type = \"object\" }} }}]");
        entry("down", "http://127.0.0.1:9/mcp")
            + "auto_discover = false\n"
            + &format!("capabilities = {{ tools = {tools} }}\n")
    };
    let (gateway, file, _folder) = configured(&server("before")).await;
    let id = named(&gateway, "down").await["id"].as_str().expect("an id").to_owned();
    gateway.offers(&id, "before").await;
    replace(&file, &server("after"));
    gateway.hang_up();
    gateway.offers(&id, "after").await;
    let (_, body) = gateway.http().get(&format!("/api/v1/servers/{id}")).await.expect("the server");
    assert_eq!(body["capabilities"]["tools"], serde_json::json!(["after"]));
    let revision = body["revision"].clone();
    gateway.hang_up();
    eventually("a second reload", PATIENCE, async || (taken(&gateway) == 2).then_some(())).await;
    let (_, body) = gateway.http().get(&format!("/api/v1/servers/{id}")).await.expect("the server");
    assert_eq!(body["revision"], revision, "what is the same is not written again");
}

/// How many reloads succeeded.
fn taken(gateway: &Gateway) -> usize {
    gateway.log().matches("the configuration was taken up").count()
}

/// B-28: of a bad file nothing is taken up.
#[tokio::test]
async fn of_a_bad_file_nothing_is_taken_up_and_the_message_says_what_is_wrong() {
    let fake = Fake::start("one").await;
    let (gateway, file, _folder) = configured(&entry("one", &fake.url())).await;
    let before = servers(&gateway).await.len();
    let good = entry("two", &fake.url());
    let bad = [
        (format!("[server\n{good}"), "mcp-gateway.toml"),
        (format!("[server]\nprot = 1\n{good}"), "server.prot"),
        (format!("[session]\nidle_seconds = 5\n{good}"), "takes a restart"),
        (format!("[limits]\nviewer = 5\n{good}"), "`[limits]` changed"),
        (format!("[log]\nlevel = \"a=b=c\"\n{good}"), "log.level"),
        (good.clone() + &entry("three", "ftp://nowhere"), "three"),
        (good.clone() + &good, "two servers are named"),
    ];
    for (n, (text, told)) in bad.iter().enumerate() {
        replace(&file, text);
        gateway.hang_up();
        let refused = "nothing of the changed configuration was taken up";
        eventually(&format!("the refusal of {text}"), PATIENCE, async || {
            (gateway.log().matches(refused).count() > n).then_some(())
        })
        .await;
        let log = gateway.log();
        let last = &log[log.rfind(refused).unwrap_or_default()..];
        assert!(last.contains(told), "{told} is not in: {last}");
        assert_eq!(servers(&gateway).await.len(), before, "{text}");
    }
    assert_eq!(taken(&gateway), 0);
    replace(&file, &(entry("one", &fake.url()) + &good));
    gateway.hang_up();
    named(&gateway, "two").await;
}

/// F-20: what is under way when the gateway stops comes to its end.
#[tokio::test]
async fn a_second_signal_ends_the_gateway_at_once() {
    for second in [Gateway::terminate, Gateway::interrupt] {
        let (mut gateway, fake, _) = one().await;
        let client = gateway.client("/mcp/one").await;
        let arguments = serde_json::json!({ "ms": 60_000, "text": "never" });
        let calling = client.call("sleep", arguments);
        let stopping = async {
            let seen = async || (fake.ledger().count("tools/call") > 0).then_some(());
            eventually("the call", PATIENCE, seen).await;
            gateway.terminate();
            let stopping = async || gateway.log().contains("a second signal cuts them").then_some(());
            eventually("that it stops", PATIENCE, stopping).await;
            let watch = Stopwatch::start();
            second(&gateway);
            let status = gateway.ended(PATIENCE).await;
            assert_eq!(status.code(), Some(130));
            assert!(watch.elapsed() < Duration::from_secs(2), "{:?}", watch.elapsed());
        };
        let (answer, ()) = tokio::join!(calling, stopping);
        assert!(answer.is_err() || !answer.expect("an answer").is_result());
    }
}

#[tokio::test]
async fn the_snippet_that_is_printed_can_be_pasted() {
    let gateway = Gateway::start().await;
    let text = gateway.greeting();
    let start = text.find('{').expect("a snippet");
    let snippet: Value = serde_json::from_str(&text[start..]).expect("JSON to the end");
    let server = &snippet["mcpServers"]["gateway"];
    let url = format!("http://{}/mcp", gateway.address());
    assert_eq!((&server["type"], &server["url"]), (&Value::from("http"), &Value::from(url)));
}
