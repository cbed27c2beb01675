//! Kind E: stricter than what is in use.

use mcp_registry_gateway_tests::field::{Over, Reply, Script};
use serde_json::{Value, json};

use crate::case::{Case, Seen, case, run, sees};

#[tokio::test]
async fn what_is_in_use_is_taken() {
    run("E", CASES).await;
}

const REPAIRED: &str = "io.github.mcp-registry-gateway/repaired";

/// A good response to the request.
const GOOD: &str = r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"good"}]}}"#;

/// A server whose tool answers with this.
fn answering(reply: Reply) -> Script {
    Script::good().on("tools/call", reply)
}

fn raw(text: &str) -> Script {
    answering(Reply::Raw(text.to_owned()))
}

fn http(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Reply::Http(status, headers, body.to_vec())
}

/// A server whose tool answers with HTTP 200, this type and this body.
fn body(content_type: Option<&str>, body: &[u8]) -> Script {
    let headers: Vec<_> = content_type.map(|value| ("content-type", value)).into_iter().collect();
    answering(http(200, &headers, body))
}

/// A server whose tool has forgotten its session at the first call.
fn forgetting(status: u16, text: &str) -> Script {
    answering(http(status, &[("content-type", "application/json")], text.as_bytes()))
        .on("tools/call", Reply::Raw(GOOD.to_owned()))
}

async fn is_good(at: &Seen<'_>) {
    for client in [&at.all, &at.alone().await] {
        let name = if std::ptr::eq(client, &raw const at.all) {
            format!("{}__good", at.name)
        } else {
            "good".into()
        };
        let answer = client.call(&name, json!({})).await.expect("an answer");
        assert_eq!(answer.text(), "good", "{answer:?}");
    }
}

/// The tool answered well, at the first call, after another handshake.
async fn began_anew(at: &Seen<'_>) {
    let answer = at.call("good").await;
    assert_eq!(answer.text(), "good", "{answer:?}");
    assert_eq!(at.upstream.asked("tools/call").len(), 2);
    assert!(at.upstream.asked("initialize").len() >= 2);
}

fn headers_of(at: &Seen<'_>, name: &str) -> Vec<Value> {
    at.upstream.received().iter().map(|message| message["headers"][name].clone()).collect()
}

/// Posts a message to a path of the gateway without any session; the status and the answer.
async fn alone(at: &Seen<'_>, path: &str, message: &Value) -> (u16, Value) {
    at.gateway.http().json(::http::Method::POST, path, Some(message)).await.expect("an answer")
}

const CASES: &[Case] = &[
    case(
        "lone-surrogate",
        || raw(r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"cut \ud83d"}]}}"#),
        sees!(|at| {
            let answer = at.call("good").await;
            assert_eq!(answer.text(), "cut \u{fffd}", "{answer:?}");
            assert!(!answer.response["result"]["_meta"][REPAIRED].is_null(), "{answer:?}");
        }),
    ),
    case(
        "lone-surrogate-in-a-list",
        || Script::tools(r#"[{"name":"good","description":"\udc00 x","inputSchema":{"type":"object"}}]"#),
        sees!(|at| {
            assert_eq!(at.list("tools/list").await[0]["description"], "\u{fffd} x");
            assert_eq!(at.list_alone("tools/list").await[0]["description"], "\u{fffd} x");
        }),
    ),
    case(
        "text-that-is-not-utf-8",
        || {
            let text = b"{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"gr\xf6n\"}]}}";
            answering(Reply::Bytes(text.to_vec()))
        },
        sees!(|at| {
            assert_eq!(at.call("good").await.text(), "gr\u{fffd}n");
        }),
    ),
    case("id-as-text", || raw(&GOOD.replace("$ID", "\"$ID\"")), sees!(|at| { is_good(at).await })),
    case("id-with-a-fraction", || raw(&GOOD.replace("$ID", "$ID.0")), sees!(|at| { is_good(at).await })),
    case(
        "every-id-as-text",
        || {
            let initialized = r#"{"jsonrpc":"2.0","id":"$ID","result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"f","version":"1"}}}"#;
            raw(&GOOD.replace("$ID", "\"$ID\"")).on("initialize", Reply::Raw(initialized.to_owned()))
        },
        sees!(|at| { is_good(at).await }),
    ),
    case("no-version-of-json-rpc", || raw(&GOOD.replace(r#""jsonrpc":"2.0","#, "")), sees!(|at| { is_good(at).await })),
    case("error-null", || raw(&GOOD.replace("]}}", "]},\"error\":null}")), sees!(|at| { is_good(at).await })),
    case(
        "result-null-beside-an-error",
        || raw(r#"{"jsonrpc":"2.0","id":$ID,"result":null,"error":{"code":-32602,"message":"no"}}"#),
        sees!(|at| {
            assert_eq!(at.call("good").await.response["error"]["code"], -32602);
        }),
    ),
    case("byte-order-mark", || raw(&format!("\u{feff}{GOOD}")), sees!(|at| { is_good(at).await })),
    case(
        "batch",
        || raw(&format!(r#"[{{"jsonrpc":"2.0","method":"notifications/message","params":{{}}}},{GOOD}]"#)),
        sees!(|at| { is_good(at).await }),
    ),
    case(
        "notification-with-id-null",
        || {
            let note = r#"{"jsonrpc":"2.0","id":null,"method":"notifications/message","params":{"level":"info","data":1}}"#;
            answering(Reply::Events(vec![note.to_owned(), GOOD.to_owned()]))
        },
        sees!(|at| { is_good(at).await }),
    ),
    case(
        "lines-that-are-no-messages",
        || raw(&format!("\n\nINFO ready {{x}}\n  \r\n{GOOD}\r\n\n")),
        sees!(|at| { is_good(at).await }),
    )
    .over(&[Over::Stdio]),
    case(
        "session-lost-server-not-initialized",
        || forgetting(400, r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}"#),
        sees!(|at| { began_anew(at).await }),
    )
    .http(),
    case(
        "session-lost-no-valid-session",
        || forgetting(400, "Bad Request: No valid session ID provided"),
        sees!(|at| { began_anew(at).await }),
    )
    .http(),
    case("session-lost-404", || forgetting(404, ""), sees!(|at| { began_anew(at).await })).http(),
    case("session-lost-410", || forgetting(410, "gone"), sees!(|at| { began_anew(at).await })).http(),
    case(
        "another-400-is-no-lost-session",
        || forgetting(400, "your session proposal is too long"),
        sees!(|at| {
            assert!(!at.call("good").await.is_result());
            assert_eq!(at.upstream.asked("tools/call").len(), 1);
        }),
    )
    .http(),
    case(
        "redirect-to-a-slash",
        || Script::good().on("POST /mcp", http(307, &[("location", "/mcp/")], b"")),
        sees!(|at| {
            is_good(at).await;
            let asked = |place: &str| at.upstream.received().iter().filter(|one| one["http"] == place).count();
            assert_eq!(asked("POST /mcp"), 1, "the redirect is remembered");
            assert!(asked("POST /mcp/") > 1);
        }),
    )
    .http(),
    case(
        "permanent-redirect-with-credentials",
        || Script::good().on("POST /mcp", http(308, &[("location", "/v2/mcp")], b"")),
        sees!(|at| {
            is_good(at).await;
            assert!(headers_of(at, "x-key").iter().all(|value| value == "k"));
        }),
    )
    .http()
    .registered(|registration| registration["configuration"] = json!({ "headers": { "X-Key": "k" } })),
    case(
        "no-compression-is-asked-for",
        Script::good,
        sees!(|at| {
            is_good(at).await;
            assert!(headers_of(at, "accept-encoding").iter().all(|value| value == "identity"));
        }),
    )
    .http(),
    case(
        "gzip-nobody-asked-for",
        || answering(http(200, &[("content-type", "application/json"), ("content-encoding", "gzip")], GOOD.as_bytes())),
        sees!(|at| { is_good(at).await }),
    )
    .http(),
    case(
        "deflate-nobody-asked-for",
        || {
            let events = format!("data: {GOOD}\n\n");
            let headers = [("content-type", "text/event-stream"), ("content-encoding", "deflate")];
            answering(http(200, &headers, events.as_bytes()))
        },
        sees!(|at| { is_good(at).await }),
    )
    .http(),
    case(
        "an-encoding-that-is-not-read",
        || answering(http(200, &[("content-type", "application/json"), ("content-encoding", "br")], b"x")),
        sees!(|at| {
            let answer = at.call("good").await;
            let message = answer.response["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains("\"br\""), "{answer:?}");
        }),
    )
    .http(),
    case(
        "http-sse-alone-at-its-plain-url",
        || Script::good().on("POST /sse", http(405, &[], b"Method Not Allowed")),
        sees!(|at| { is_good(at).await }),
    )
    .http()
    .registered(|registration| {
        let url = registration["endpoint_url"].as_str().unwrap_or_default().replace("/mcp", "/sse");
        registration["endpoint_url"] = json!(url);
    }),
    case(
        "http-sse-alone-beside-its-url",
        || Script::good().on("POST /mcp", http(404, &[], b"Not Found")),
        sees!(|at| { is_good(at).await }),
    )
    .http(),
    case(
        "charset-in-the-type",
        || body(Some("Application/JSON; charset=utf-8"), GOOD.as_bytes()),
        sees!(|at| { is_good(at).await }),
    )
    .http(),
    case("no-type", || body(None, GOOD.as_bytes()), sees!(|at| { is_good(at).await })).http(),
    case("plain-text", || body(Some("text/plain"), GOOD.as_bytes()), sees!(|at| { is_good(at).await })).http(),
    case(
        "events-without-their-type",
        || body(None, format!("event: message\ndata: {GOOD}\n\n").as_bytes()),
        sees!(|at| { is_good(at).await }),
    )
    .http(),
    case(
        "events-with-cr-and-a-byte-order-mark",
        || body(Some("text/event-stream; charset=utf-8"), format!("\u{feff}event: message\rdata: {GOOD}\r\r").as_bytes()),
        sees!(|at| { is_good(at).await }),
    )
    .http(),
    case(
        "events-with-cr-lf",
        || body(Some("text/event-stream"), format!(": hi\r\ndata: {GOOD}\r\n\r\n").as_bytes()),
        sees!(|at| { is_good(at).await }),
    )
    .http(),
    case(
        "202-with-an-answer",
        || answering(http(202, &[("content-type", "application/json")], GOOD.as_bytes())),
        sees!(|at| { is_good(at).await }),
    )
    .http(),
    case(
        "200-for-a-notification",
        || Script::good().on("notifications/initialized", http(200, &[("content-type", "application/json")], b"{}")),
        sees!(|at| { is_good(at).await }),
    )
    .http(),
    case(
        "an-error-without-an-id",
        || {
            let error = br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"no"}}"#;
            body(Some("application/json"), error)
        },
        sees!(|at| {
            assert_eq!(at.call("good").await.response["error"]["code"], -32602);
        }),
    )
    .http(),
    case(
        "a-call-without-initialize",
        Script::good,
        sees!(|at| {
            let request = |method: &str, params: Value| {
                json!({ "jsonrpc": "2.0", "id": "x", "method": method, "params": params })
            };
            let own = format!("/mcp/{}", at.name);
            for (path, name) in [("/mcp", format!("{}__good", at.name)), (&own, "good".to_owned())] {
                let list = alone(at, path, &request("tools/list", json!({}))).await;
                let tools = list.1["result"]["tools"].as_array().expect("tools").clone();
                assert!(list.0 == 200 && tools.iter().any(|tool| tool["name"] == *name), "{list:?}");
                let call = alone(at, path, &request("tools/call", json!({ "name": name }))).await;
                assert_eq!(call.1["result"]["content"][0]["text"], "good", "{call:?}");
                assert_eq!(alone(at, path, &request("ping", json!({}))).await.1["result"], json!({}));
                let level = alone(at, path, &request("logging/setLevel", json!({ "level": "info" }))).await;
                assert_eq!(level.1["error"]["code"], -32600, "{level:?}");
            }
        }),
    )
    .http(),
];
