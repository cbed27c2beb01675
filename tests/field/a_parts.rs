//! Kind A: a part takes the whole. A part that is bad costs that part.

use std::time::Duration;

use mcp_registry_gateway_tests::clock::Stopwatch;
use mcp_registry_gateway_tests::field::{Over, Reply, Script};
use serde_json::{Value, json};

use crate::case::{Case, Seen, case, run, sees};

#[tokio::test]
async fn a_part_that_is_bad_costs_that_part() {
    run("A", CASES).await;
}

/// The mark of an item that was repaired.
const REPAIRED: &str = "io.github.mcp-registry-gateway/repaired";
const GOOD: &str = r#"{"name":"good","inputSchema":{"type":"object"}}"#;

/// Both routes have these tools of the server, and no others.
async fn tools(at: &Seen<'_>, expected: &[&str]) -> Vec<Value> {
    at.until("the tools", async || (at.names("tools/list").await == expected).then_some(())).await;
    let alone = at.list_alone("tools/list").await;
    let names: Vec<_> = alone.iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!(names, expected, "on /mcp/{}", at.name);
    for tool in expected {
        assert_eq!(at.call(tool).await.text(), *tool);
    }
    alone
}

/// A script with the good tool and another one.
fn beside(tool: &str) -> Script {
    Script::tools(&format!("[{tool},{GOOD}]"))
}

/// The tools, and prompts that fail in this way.
fn with_prompts(reply: Reply) -> Script {
    Script::declaring(r#"{"tools":{},"prompts":{}}"#)
        .result("tools/list", format!(r#"{{"tools":[{GOOD}]}}"#))
        .on("prompts/list", reply)
}

fn refused(code: u16) -> Reply {
    Reply::Http(code, Vec::new(), Vec::new())
}

/// `tools`, once the problem about the other list is told.
async fn tools_without_prompts(at: &Seen<'_>) {
    tools(at, &["good"]).await;
    let reason = at.problem("prompts/list").await;
    assert!(reason.contains("prompts/list"), "{reason}");
}

pub(crate) const CASES: &[Case] = &[
    case("good-server", || Script::tools(&format!("[{GOOD}]")), sees!(|at| {
        let tools = tools(at, &["good"]).await;
        assert_eq!(tools[0], serde_json::from_str::<Value>(GOOD).expect("JSON"), "nothing is added to it");
    })),
    case("prompts-internal-error", || with_prompts(Reply::Error(-32603, "boom".into())), sees!(|at| {
        tools_without_prompts(at).await;
        let answer = at.alone().await.request("prompts/list", json!({})).await.expect("an answer");
        assert_eq!(answer.response["error"]["code"], -32603, "what failed is told: {answer:?}");
    })),
    case("prompts-not-found", || with_prompts(Reply::Error(-32601, "no".into())), sees!(|at| {
        tools(at, &["good"]).await;
        assert_eq!(at.record().await["problems"].as_array().map_or(0, Vec::len), 0);
    })),
    case("prompts-http-500", || with_prompts(refused(500)), sees!(|at| { tools_without_prompts(at).await })).http(),
    case("prompts-http-404", || with_prompts(refused(404)), sees!(|at| { tools_without_prompts(at).await })).http(),
    case("prompts-not-json", || with_prompts(Reply::Raw("<html>".into())), sees!(|at| { tools_without_prompts(at).await })).http(),
    case("prompts-not-a-list", || with_prompts(Reply::Result(r#"{"prompts":"none"}"#.into())), sees!(|at| {
        tools_without_prompts(at).await;
    })),
    case("prompts-twice", || with_prompts(Reply::Result(r#"{"prompts":[],"prompts":[]}"#.into())), sees!(|at| {
        tools_without_prompts(at).await;
    })),
    case("prompts-never", || with_prompts(Reply::Hang), sees!(|at| {
        let watch = Stopwatch::start();
        tools(at, &["good"]).await;
        assert!(watch.elapsed() < Duration::from_secs(9), "took {:?}", watch.elapsed());
    })),
    case("prompts-exit", || with_prompts(Reply::Reset), sees!(|at| { tools_without_prompts(at).await }))
        .over(&[Over::Http, Over::Stdio]),
    case("resources-fail", || {
        Script::declaring(r#"{"tools":{},"resources":{},"prompts":{}}"#)
            .result("tools/list", format!(r#"{{"tools":[{GOOD}]}}"#))
            .error("resources/list", -32603)
            .result("prompts/list", r#"{"prompts":[{"name":"hello"}]}"#)
    }, sees!(|at| {
        tools(at, &["good"]).await;
        at.until("the prompt", async || (at.names("prompts/list").await == ["hello"]).then_some(())).await;
        at.problem("resources/list").await;
    })),
    case("later-page-fails", || {
        Script::declaring(r#"{"tools":{}}"#)
            .result("tools/list", format!(r#"{{"tools":[{GOOD}],"nextCursor":"2"}}"#))
            .error("tools/list", -32603)
    }, sees!(|at| {
        at.until("the tools", async || (at.names("tools/list").await == ["good"]).then_some(())).await;
        at.problem("tools/list").await;
    })).http(),
    case("list-is-null", || {
        Script::declaring(r#"{"tools":{},"prompts":{},"resources":{}}"#)
            .result("tools/list", format!(r#"{{"tools":[{GOOD}],"nextCursor":null}}"#))
            .result("prompts/list", r#"{"prompts":null}"#)
            .result("resources/list", r#"{"resources":{}}"#)
            .result("resources/templates/list", "{}")
    }, sees!(|at| {
        tools(at, &["good"]).await;
        for method in ["prompts/list", "resources/list", "resources/templates/list"] {
            assert_eq!(at.list_alone(method).await, Vec::<Value>::new(), "{method}");
        }
    })),
    case("cursor-is-a-number", || {
        Script::declaring(r#"{"tools":{}}"#)
            .result("tools/list", r#"{"tools":[{"name":"one","inputSchema":{"type":"object"}}],"nextCursor":7}"#)
            .result("tools/list", format!(r#"{{"tools":[{GOOD}]}}"#))
    }, sees!(|at| {
        at.until("both", async || (at.names("tools/list").await == ["one", "good"]).then_some(())).await;
        assert!(at.upstream.asked("tools/list").iter().any(|params| params["cursor"] == 7));
    })).http(),
    case("cursor-comes-again", || {
        Script::declaring(r#"{"tools":{}}"#).result("tools/list", format!(r#"{{"tools":[{GOOD}],"nextCursor":"x"}}"#))
    }, sees!(|at| {
        at.until("the tool", async || (at.names("tools/list").await == ["good"]).then_some(())).await;
        let reason = at.problem("tools/list").await;
        assert!(reason.contains("second time"), "{reason}");
        let problems = at.record().await["problems"].clone();
        assert_eq!(problems.as_array().map(Vec::len), Some(1), "the same page is told once: {problems}");
    })),
    case("description-null", || beside(r#"{"name":"x","inputSchema":{"type":"object"},"description":null}"#), sees!(|at| {
        let tools = tools(at, &["x", "good"]).await;
        assert_eq!(tools[0]["_meta"][REPAIRED], json!(["description"]));
        assert_eq!((tools[0].get("description"), tools[1].get("_meta")), (None, None));
    })),
    case("everything-null", || beside(
        r#"{"name":"x","title":null,"description":null,"annotations":null,"outputSchema":null,"_meta":null,"icons":null,"execution":null,
            "inputSchema":{"type":"object","properties":null,"required":null}}"#,
    ), sees!(|at| {
        let tools = tools(at, &["x", "good"]).await;
        let members: Vec<_> = tools[0].as_object().expect("an object").keys().cloned().collect();
        assert_eq!(members, ["_meta", "inputSchema", "name"]);
        assert_eq!(tools[0]["inputSchema"], json!({ "type": "object" }));
    })),
    case("written-by-php", || beside(
        r#"{"name":"x","annotations":[],"_meta":[],"inputSchema":{"type":"object","properties":[],"required":[]},"outputSchema":[]}"#,
    ), sees!(|at| {
        let tools = tools(at, &["x", "good"]).await;
        assert_eq!(tools[0]["inputSchema"], json!({ "type": "object", "properties": {}, "required": [] }));
        assert_eq!(tools[0]["annotations"], json!({}));
        assert!(tools[0]["_meta"].is_object() && tools[0].get("outputSchema").is_none(), "{}", tools[0]);
    })),
    case("schema-is-empty", || beside(r#"{"name":"x","inputSchema":{}}"#), sees!(|at| {
        assert_eq!(tools(at, &["x", "good"]).await[0]["inputSchema"], json!({ "type": "object" }));
    })),
    case("schema-is-missing", || beside(r#"{"name":"x"},{"name":"y","inputSchema":null}"#), sees!(|at| {
        tools(at, &["x", "y", "good"]).await;
    })),
    case("schema-of-booleans", || beside(
        r#"{"name":"x","inputSchema":{"type":"object","properties":{"a":true,"b":false,"c":null,"d":{"type":"string"}}}}"#,
    ), sees!(|at| {
        let tools = tools(at, &["x", "good"]).await;
        let properties = json!({ "a": {}, "b": { "not": {} }, "c": {}, "d": { "type": "string" } });
        assert_eq!(tools[0]["inputSchema"]["properties"], properties);
    })),
    case("schema-is-a-string", || beside(r#"{"name":"x","inputSchema":{"type":"string"}}"#), sees!(|at| {
        tools(at, &["good"]).await;
        let reason = at.problem("tool x").await;
        assert!(reason.contains("`type`"), "{reason}");
    })),
    case("output-cannot-be-compiled", || beside(
        r##"{"name":"x","inputSchema":{"type":"object"},"outputSchema":{"type":"object","properties":{"a":{"$ref":"#/$defs/none"}}}},
            {"name":"y","inputSchema":{"type":"object"},"outputSchema":{"type":"object","properties":{"a":{"type":"text"}}}}"##,
    ), sees!(|at| {
        let tools = tools(at, &["x", "y", "good"]).await;
        assert!(tools[0].get("outputSchema").is_none() && tools[1].get("outputSchema").is_none());
    })),
    case("wrong-types", || beside(
        r#"{"name":"x","title":7,"description":["a"],"annotations":"read-only","icons":"i.png","_meta":"m","execution":{"taskSupport":"maybe"},
            "inputSchema":{"type":"object"}},
            {"name":"y","annotations":{"readOnlyHint":"yes","title":null},"icons":[{"src":1},{"src":"a","sizes":"48x48"}],"inputSchema":{"type":"object"}}"#,
    ), sees!(|at| {
        let tools = tools(at, &["x", "y", "good"]).await;
        assert_eq!((&tools[1]["annotations"], &tools[1]["icons"]), (&json!({}), &json!([{ "src": "a" }])));
    })),
    case("key-twice-deep", || beside(
        r#"{"name":"x","inputSchema":{"type":"object","properties":{"a":{"enum":[{"k":1,"\u006b":2}]}}}}"#,
    ), sees!(|at| {
        tools(at, &["good"]).await;
        let reason = at.problem("tool x").await;
        assert!(reason.contains("twice"), "{reason}");
    })),
    case("tool-twice", || beside(&format!(r#"{GOOD},{{"name":"other","inputSchema":{{"type":"object"}}}}"#)), sees!(|at| {
        tools(at, &["good", "other"]).await;
        at.problem("tool good").await;
    })),
    case("not-items", || beside(r#"null,7,"tool",[],{"name":null},{"name":"","inputSchema":{}}"#), sees!(|at| {
        tools(at, &["good"]).await;
        at.problem("tool without a name").await;
    })),
    case("too-deep", || {
        let deep = format!("{}{{}}{}", r#"{"not":"#.repeat(90), "}".repeat(90));
        beside(&format!(r#"{{"name":"x","inputSchema":{{"type":"object","properties":{{"a":{deep}}}}}}}"#))
    }, sees!(|at| {
        tools(at, &["good"]).await;
        at.problem("tool x").await;
    })),
    case("too-large", || {
        let text = "x".repeat(1024 * 1024);
        beside(&format!(r#"{{"name":"x","description":"{text}","inputSchema":{{"type":"object"}}}}"#))
    }, sees!(|at| {
        tools(at, &["good"]).await;
        let reason = at.problem("tool x").await;
        assert!(reason.contains("limit"), "{reason}");
    })),
    case("prompts-repaired", || {
        Script::declaring(r#"{"prompts":{}}"#).result("prompts/list", r#"{"prompts":[{"name":"a","arguments":null,"description":null},
            {"name":"b","arguments":[{"name":"x","required":null,"description":null}]},{"name":"c","arguments":[{}]}]}"#)
    }, sees!(|at| {
        at.until("the prompts", async || (at.names("prompts/list").await == ["a", "b"]).then_some(())).await;
        let alone = at.list_alone("prompts/list").await;
        assert_eq!((alone.len(), alone[0].get("arguments")), (2, None));
        assert_eq!(alone[1]["arguments"], json!([{ "name": "x" }]));
        at.problem("prompt c").await;
    })),
    case("resources-repaired", || {
        Script::declaring(r#"{"resources":{}}"#)
            .result("resources/list", r#"{"resources":[{"uri":"repaired://a"},{"uri":"repaired://b","name":null,"mimeType":null,"size":"big",
                "annotations":{"lastModified":"yesterday","audience":"all","priority":5}},{"name":"no uri"}]}"#)
            .result("resources/templates/list", r#"{"resourceTemplates":[{"uriTemplate":"repaired-t://{a}","title":"T"}]}"#)
    }, sees!(|at| {
        let listed = at.until("the resources", async || {
            let all = at.list("resources/list").await;
            let own: Vec<_> = all.into_iter().filter(|one| one["uri"].as_str().is_some_and(|uri| uri.starts_with("repaired://"))).collect();
            (own.len() == 2).then_some(own)
        }).await;
        assert_eq!((listed[0]["name"].as_str(), &listed[1]["annotations"]), (Some("repaired://a"), &json!({})));
        assert_eq!(at.list_alone("resources/templates/list").await[0]["name"], "T");
        at.problem("resource no uri").await;
    })).http(),
    case("internal-errors", || {
        beside(r#"{"name":"bad","inputSchema":{"type":"object"}}"#).error("tools/call bad", -32603)
    }, sees!(|at| {
        at.until("the tools", async || (at.names("tools/list").await.len() == 2).then_some(())).await;
        let alone = at.alone().await;
        for _ in 0..10 {
            let answer = at.call("bad").await;
            assert_eq!(answer.response["error"]["code"], -32603, "{answer:?}");
            let answer = alone.call("bad", json!({})).await.expect("an answer");
            assert_eq!(answer.response["error"]["code"], -32603, "{answer:?}");
        }
        assert_eq!(at.call("good").await.text(), "good");
        assert_eq!(alone.call("good", json!({})).await.expect("an answer").text(), "good");
    })),
    case("event-of-3-mib", || {
        let text = "x".repeat(3 * 1024 * 1024);
        let message = format!(r#"{{"jsonrpc":"2.0","id":$ID,"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#);
        Script::tools(&format!("[{GOOD}]")).on("tools/call good", Reply::Events(vec![message]))
    }, sees!(|at| {
        at.until("the tool", async || (at.names("tools/list").await == ["good"]).then_some(())).await;
        assert_eq!(at.call("good").await.text().len(), 3 * 1024 * 1024);
        let alone = at.alone().await.call("good", json!({})).await.expect("an answer");
        assert_eq!(alone.text().len(), 3 * 1024 * 1024);
    })),
];
