//! Kind B: there, but silently missing. Every item has a name on `/mcp` that clients in use accept.

use mcp_registry_gateway_tests::field::{Reply, Script};
use serde_json::{Value, json};

use crate::case::{Case, Seen, case, run, sees};

#[tokio::test]
async fn every_item_is_there_under_a_usable_name() {
    run("B", CASES).await;
}

/// Names that clients refuse, and how each begins on `/mcp`.
const ODD: [(&str, &str); 8] = [
    ("ns/list", "ns_list_"),
    ("with space", "with_space_"),
    ("größe", "gr__e_"),
    ("a.b", "a_b_"),
    ("日本語", "____"),
    ("a:b@c", "a_b_c_"),
    ("Code Review (new)", "Code_Review__new__"),
    (
        "with_a_very_long_name_that_no_client_would_take_as_it_is_since_it_has_more_than_64",
        "with_a_very_long_name_",
    ),
];

fn odd_tools() -> Script {
    let tool = |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });
    let tools: Vec<_> = ODD.iter().map(|(name, _)| tool(name)).chain([tool("plain-1")]).collect();
    Script::tools(&json!(tools).to_string())
}

fn is_usable(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Each item is listed on `/mcp` under a usable name, with its own one as title, and called by either.
async fn usable(at: &Seen<'_>, method: &str, call: &str, text: &str) {
    let prefix = format!("{}__", at.name);
    let items = at
        .until("the items", async || {
            let all = at.all.request(method, json!({})).await.ok()?;
            let member = method.trim_end_matches("/list");
            let all = all.response["result"][member].as_array()?.clone();
            let own: Vec<Value> = all
                .into_iter()
                .filter(|item| {
                    item["name"].as_str().is_some_and(|name| name.starts_with(&prefix.replace('.', "_")))
                })
                .collect();
            (own.len() > ODD.len()).then_some(own)
        })
        .await;
    let names: std::collections::BTreeSet<_> =
        items.iter().filter_map(|item| item["name"].as_str()).collect();
    assert_eq!(names.len(), items.len(), "one to one: {names:?}");
    for ((original, head), item) in ODD.iter().zip(&items) {
        let name = item["name"].as_str().expect("a name");
        let begins = format!("{}{head}", prefix.replace('.', "_"));
        let begins: String = begins.chars().take(55).collect();
        assert!(is_usable(name) && name.starts_with(&begins), "{original} is {name}");
        assert_eq!(item["title"], *original);
        for called in [name.to_owned(), format!("{prefix}{original}")] {
            let answer =
                at.all.request(call, json!({ "name": called, "arguments": {} })).await.expect("an answer");
            assert_eq!(
                answer.response["result"].pointer(text),
                Some(&json!(original)),
                "{called}: {answer:?}"
            );
        }
    }
    let alone = at.list_alone(method).await;
    let untouched: Vec<_> = alone.iter().filter_map(|item| item["name"].as_str()).collect();
    assert!(ODD.iter().zip(&untouched).all(|((original, _), name)| original == name), "{untouched:?}");
    assert!(alone.iter().all(|item| item.get("title").is_none()), "{alone:?}");
}

fn capabilities(capabilities: &str) -> Script {
    Script::declaring(capabilities)
        .result("tools/list", r#"{"tools":[{"name":"good","inputSchema":{"type":"object"}}]}"#)
        .error("prompts/list", -32601)
        .error("resources/list", -32601)
}

/// The tool is there although the capabilities are odd, and the introduction has none that a client cannot read.
async fn declared(at: &Seen<'_>) {
    at.until("the tool", async || (at.names("tools/list").await == ["good"]).then_some(())).await;
    let alone = at.alone().await;
    assert!(alone.initialized["capabilities"]["tools"].is_object(), "{}", alone.initialized);
    assert_eq!(alone.call("good", json!({})).await.expect("an answer").text(), "good");
    let problems = at.record().await["problems"].clone();
    assert_eq!(problems.as_array().map_or(0, Vec::len), 0, "-32601 is no problem: {problems}");
}

fn linking(uri: &str) -> Script {
    let link = json!({ "content": [{ "type": "resource_link", "uri": uri, "name": "n" }] });
    Script::declaring(r#"{"tools":{},"resources":{}}"#)
        .result("tools/list", r#"{"tools":[{"name":"search","inputSchema":{"type":"object"}}]}"#)
        .result("tools/call search", link.to_string())
}

async fn read(at: &Seen<'_>, uri: &str) -> Value {
    at.all.request("resources/read", json!({ "uri": uri })).await.expect("an answer").response
}

pub(crate) const CASES: &[Case] = &[
    case("usable-name", || Script::tools(r#"[{"name":"read_file-2","title":"T","inputSchema":{"type":"object"}}]"#), sees!(|at| {
        let tools = at.until("the tool", async || Some(at.list("tools/list").await).filter(|all| !all.is_empty())).await;
        assert_eq!((tools[0]["name"].as_str(), &tools[0]["title"]), (Some(&*format!("{}__read_file-2", at.name)), &json!("T")));
        assert_eq!(at.call("read_file-2").await.text(), "read_file-2");
    })),
    case("odd-tools", odd_tools, sees!(|at| { usable(at, "tools/list", "tools/call", "/content/0/text").await })),
    case("odd-prompts", || {
        let prompts: Vec<_> = ODD.iter().map(|(name, _)| json!({ "name": name })).chain([json!({ "name": "p" })]).collect();
        Script::declaring(r#"{"prompts":{}}"#).result("prompts/list", json!({ "prompts": prompts }).to_string())
    }, sees!(|at| { usable(at, "prompts/list", "prompts/get", "/messages/0/content/text").await })),
    case("dotted-service", odd_tools, sees!(|at| { usable(at, "tools/list", "tools/call", "/content/0/text").await }))
        .registered(|server| {
            let name = server["name"].as_str().expect("a name").replace("dotted-service-", "awslabs.docs-");
            server["name"] = json!(name);
        }),
    case("no-capabilities", || capabilities("{}"), sees!(|at| { declared(at).await })),
    case("capabilities-list", || capabilities("[]"), sees!(|at| { declared(at).await })),
    case("tools-list-declared", || capabilities(r#"{"tools":[]}"#), sees!(|at| { declared(at).await })),
    case("tools-true", || capabilities(r#"{"tools":true,"prompts":[],"resources":null}"#), sees!(|at| { declared(at).await })),
    case("nothing-at-all", || {
        Script::declaring("{}").error("tools/list", -32601)
    }, sees!(|at| {
        let alone = at.alone().await;
        assert_eq!(alone.initialized["capabilities"], json!({}), "{}", alone.initialized);
        assert_eq!(at.record().await["problems"].as_array().map_or(0, Vec::len), 0);
    })),
    case("resource-link", || linking("link://kb/a/b"), sees!(|at| {
        at.until("the tool", async || (at.names("tools/list").await == ["search"]).then_some(())).await;
        let before = read(at, "link://kb/a/b").await;
        assert!(before["error"].is_object(), "nobody gave it yet: {before}");
        at.call("search").await;
        let answer = read(at, "link://kb/a/b").await;
        assert_eq!(answer["result"]["contents"][0]["text"], "link://kb/a/b", "{answer}");
        let other = at.gateway.client("/mcp").await;
        let answer = other.request("resources/read", json!({ "uri": "link://kb/a/b" })).await.expect("an answer");
        assert!(answer.response["error"].is_object(), "another session was given nothing: {answer:?}");
    })).http(),
    case("link-of-two", || linking("link://both"), sees!(|at| {
        at.until("the tool", async || (at.names("tools/list").await == ["search"]).then_some(())).await;
        let rival = mcp_registry_gateway_tests::field::Upstream::start(
            mcp_registry_gateway_tests::field::Over::Http, linking("link://both")).await;
        let id = at.gateway.register(&rival.registration("rival", crate::case::PROGRAM)).await["id"].clone();
        at.gateway.offers(id.as_str().expect("an id"), "search").await;
        at.call("search").await;
        assert_eq!(read(at, "link://both").await["result"]["contents"][0]["text"], "link://both");
        at.all.call("rival__search", json!({})).await.expect("an answer");
        let answer = read(at, "link://both").await;
        let text = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert!(text.contains(&format!("/mcp/{}", at.name)) && text.contains("/mcp/rival"), "{text}");
        let alone = at.alone().await.request("resources/read", json!({ "uri": "link://both" })).await.expect("an answer");
        assert!(alone.is_result(), "{alone:?}");
    })).http(),
    case("page-of-a-tool", || {
        Script::declaring(r#"{"tools":{},"resources":{}}"#).result("tools/list",
            r#"{"tools":[{"name":"chart","inputSchema":{"type":"object"},"_meta":{"ui":{"resourceUri":"ui://chart/page"}}}]}"#)
    }, sees!(|at| {
        at.until("the tool", async || (at.names("tools/list").await == ["chart"]).then_some(())).await;
        let answer = read(at, "ui://chart/page").await;
        assert_eq!(answer["result"]["contents"][0]["text"], "ui://chart/page", "{answer}");
    })).http(),
    case("template-with-slashes", || {
        Script::declaring(r#"{"resources":{}}"#)
            .result("resources/templates/list", r#"{"resourceTemplates":[{"uriTemplate":"slashes://{path}","name":"t"}]}"#)
    }, sees!(|at| {
        at.until("the template", async || {
            read(at, "slashes://a").await["result"].is_object().then_some(())
        }).await;
        let answer = read(at, "slashes://a/b/c.md").await;
        assert_eq!(answer["result"]["contents"][0]["text"], "slashes://a/b/c.md", "{answer}");
    })).http(),
    case("own-tools", Script::good, sees!(|at| {
        let all = at.all.request("tools/list", json!({})).await.expect("an answer").names("tools");
        let own: Vec<_> = all.iter().filter(|name| name.starts_with("gateway__")).collect();
        assert_eq!(own, ["gateway__find_tools"]);
        let answer = at.all.call("gateway__register_server", json!({})).await.expect("an answer");
        assert_eq!(answer.response["error"]["code"], -32602, "{answer:?}");
        let gateway = at.gateway.client("/mcp/gateway").await;
        let all = gateway.request("tools/list", json!({})).await.expect("an answer").names("tools");
        assert!(all.contains(&"register_server".to_owned()), "{all:?}");
    })).http(),
    case("answer-by-event", || {
        let list = r#"{"jsonrpc":"2.0","id":$ID,"result":{"tools":[{"name":"a b","description":null}]}}"#;
        Script::declaring(r#"{"tools":{}}"#).on("tools/list", Reply::Events(vec![list.to_owned()]))
    }, sees!(|at| {
        let tools = at.until("the tool", async || Some(at.list("tools/list").await).filter(|all| !all.is_empty())).await;
        assert!(tools[0].get("description").is_none() && is_usable(tools[0]["name"].as_str().unwrap_or_default()));
        assert_eq!(at.list_alone("tools/list").await[0]["name"], "a b");
    })),
];
