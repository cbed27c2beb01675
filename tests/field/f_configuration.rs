//! Kind F: dialects of configuration. Registrations over REST in the words of clients; `f_files.rs` has the files.

use std::path::Path;

use mcp_registry_gateway_tests::field::{Over, Script};
use serde_json::{Value, json};

use crate::case::{Case, PROGRAM, case, run, sees};

#[tokio::test]
async fn dialects_are_read() {
    run("F", CASES).await;
}

fn script() -> Script {
    Script::tools(r#"[{"name":"read","inputSchema":{"type":"object"}}]"#)
}

/// The member `old` under the name `new`.
fn rename(registration: &mut Value, old: &str, new: &str) {
    let members = registration.as_object_mut().expect("an object");
    let value = members.remove(old).expect("a member");
    members.insert(new.to_owned(), value);
}

/// The server is served.
macro_rules! served {
    () => {
        sees!(|at| {
            at.until("the tool", async || {
                at.names("tools/list").await.contains(&"read".to_owned()).then_some(())
            })
            .await;
            assert_eq!(at.call("read").await.text(), "read");
        })
    };
}

/// The server is registered as inactive, and never asked anything.
macro_rules! inactive {
    () => {
        sees!(|at| {
            assert_eq!(at.record().await["status"], "inactive");
            assert!(at.names("tools/list").await.is_empty());
            assert!(!at.call("read").await.is_result());
            let path = format!("/api/v1/servers/{}", at.id);
            let change = json!({ "description": "changed" });
            let (status, said) =
                at.gateway.http().json(http::Method::PUT, &path, Some(&change)).await.expect("an answer");
            assert_eq!(status, 200, "{said}");
            assert_eq!(at.upstream.received(), Vec::<Value>::new());
        })
    };
}

const CASES: &[Case] = &[
    case("url-and-type", script, served!()).http().registered(|registration| {
        rename(registration, "endpoint_url", "url");
        registration["type"] = json!("streamable-http");
    }),
    case("server-url", script, served!()).http().registered(|registration| {
        rename(registration, "endpoint_url", "serverUrl");
        registration["transportType"] = json!("http");
    }),
    case("http-url", script, served!()).http().registered(|registration| {
        rename(registration, "endpoint_url", "httpUrl");
        registration["type"] = json!("streamableHttp");
    }),
    case("type-remote", script, served!()).http().registered(|registration| {
        registration["type"] = json!("remote");
        registration["headers"] = json!({ "X-Number": 5 });
    }),
    case("type-sse", script, served!()).over(&[Over::Sse]).registered(|registration| {
        rename(registration, "endpoint_url", "url");
        rename(registration, "transport_type", "type");
    }),
    case("type-local", script, served!()).over(&[Over::Stdio]).registered(|registration| {
        registration["transport_type"] = json!("local");
        registration["env"] = json!({ "PORT": 8080, "DEBUG": true, "NONE": null });
    }),
    case("command-as-array", script, served!()).over(&[Over::Stdio]).registered(|registration| {
        let args = registration["args"].take();
        registration["command"] = json!([PROGRAM, args[0], args[1]]);
    }),
    case("command-line", script, served!()).over(&[Over::Stdio]).registered(|registration| {
        let args = registration["args"].take();
        let words = [PROGRAM, args[0].as_str().expect("a path"), args[1].as_str().expect("a path")];
        registration["command"] = json!(words.join(" "));
    }),
    case("args-of-numbers", script, served!()).over(&[Over::Stdio]).registered(|registration| {
        let script = registration["args"][0].as_str().expect("a path").to_owned();
        let folder = Path::new(&script).parent().expect("a folder").to_owned();
        std::fs::copy(&script, folder.join("8080")).expect("a file");
        registration["args"] = json!([8080, true]);
        registration["cwd"] = json!(folder);
    }),
    case("enabled-false", script, inactive!())
        .registered(|registration| registration["enabled"] = json!(false)),
    case("disabled-true", script, inactive!())
        .registered(|registration| registration["disabled"] = json!("true")),
    case(
        "capabilities-as-names",
        script,
        sees!(|at| {
            let declared = at.record().await["capabilities"].clone();
            assert_eq!(
                (&declared["tools"], &declared["resources"]),
                (&json!(["read_file"]), &json!(["file://"]))
            );
        }),
    )
    .http()
    .registered(|registration| {
        registration["auto_discover"] = json!(false);
        registration["capabilities"] =
            json!({ "tools": ["read_file"], "resources": ["file://"], "logging": {} });
    }),
    case(
        "placeholder-over-rest",
        script,
        sees!(|at| {
            at.until("the tool", async || (!at.names("tools/list").await.is_empty()).then_some(())).await;
            let sent = at.upstream.received();
            assert!(sent.iter().all(|one| one["headers"]["x-path"] == "${PATH} $PATH"), "{sent:?}");
        }),
    )
    .http()
    .registered(|registration| registration["headers"] = json!({ "X-Path": "${PATH} $PATH" })),
];
