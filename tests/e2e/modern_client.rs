//! Clients of the modern era at servers of the legacy era: what a request must bring, and what its answer says.

use serde_json::{Value, json};

use mcp_registry_gateway_tests::modern::{Modern, VERSION};

use crate::one;

/// The code and the HTTP status of an answer.
async fn refused(client: &Modern, message: &Value, more: &[(&str, &str)]) -> (u16, Value) {
    let mut reply = client.post(message, more).await.expect("an answer");
    let status = reply.status;
    let body = reply.next().await.expect("a body").unwrap_or_default();
    assert_eq!(body["id"], message["id"], "the answer keeps the id: {body}");
    (status, body["error"].clone())
}

/// T-05: what a server of the older revisions says is private to the caller, and stale at once.
#[tokio::test]
async fn calls_lists_and_reads_of_a_legacy_server_are_complete_stale_and_private() {
    let (gateway, fake, _) = one().await;
    for (path, prefix) in [("/mcp/one", ""), ("/mcp", "one__")] {
        let client = Modern::new(gateway.address(), path);
        let answer =
            client.call(&format!("{prefix}echo"), json!({ "text": "hello" })).await.expect("an answer");
        assert_eq!(answer.text(), "hello");
        assert_eq!(answer.response["result"]["resultType"], "complete");
        for (method, params) in [
            ("tools/list", json!({})),
            ("resources/list", json!({})),
            ("resources/templates/list", json!({})),
            ("prompts/list", json!({})),
            ("resources/read", json!({ "uri": "fake://one/card" })),
            ("server/discover", json!({})),
        ] {
            let answer = client.request(method, params).await.expect("an answer");
            let result = &answer.response["result"];
            assert_eq!(
                (&result["resultType"], &result["ttlMs"], &result["cacheScope"]),
                (&json!("complete"), &json!(0), &json!("private")),
                "{path} {method}: {answer:?}"
            );
        }
        let prompt = client.request("prompts/get", json!({ "name": format!("{prefix}greet") })).await;
        assert!(prompt.expect("an answer").is_result());
        let tools = client.request("tools/list", json!({})).await.expect("a list").names("tools");
        assert!(tools.contains(&format!("{prefix}echo")), "{tools:?}");
    }
    for call in fake.ledger().of("tools/call") {
        assert!(call.params.get("_meta").is_none(), "the server knows nothing of the modern era: {call:?}");
    }
}

#[tokio::test]
async fn discovery_says_what_the_service_can_do_and_which_versions_are_spoken() {
    let (gateway, _fake, _) = one().await;
    let one = Modern::new(gateway.address(), "/mcp/one").request("server/discover", json!({})).await;
    let result = one.expect("an answer").response["result"].clone();
    assert_eq!(
        result["supportedVersions"],
        json!([VERSION, "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])
    );
    assert!(result["capabilities"]["tools"].is_object(), "{result}");
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "one");
    let all = Modern::new(gateway.address(), "/mcp").request("server/discover", json!({})).await;
    let result = all.expect("an answer").response["result"].clone();
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "mcp-gateway");
}

/// B-10: headers must say what the body says.
#[tokio::test]
async fn headers_must_say_what_the_body_says() {
    let (gateway, fake, _) = one().await;
    let client = Modern::new(gateway.address(), "/mcp/one");
    let call =
        client.message(&json!("x"), "tools/call", json!({ "name": "echo", "arguments": { "text": "t" } }));
    let before = fake.ledger().count("tools/call");
    let wrong: [&[(&str, &str)]; 8] = [
        &[("mcp-protocol-version", "")],
        &[("mcp-protocol-version", "2025-11-25")],
        &[("mcp-method", "")],
        &[("mcp-method", "tools/list")],
        &[("mcp-method", "TOOLS/CALL")],
        &[("mcp-name", "")],
        &[("mcp-name", "Echo")],
        &[("mcp-name", "=?base64?!?=")],
    ];
    for more in wrong {
        let (status, error) = refused(&client, &call, more).await;
        assert_eq!((status, &error["code"]), (400, &json!(-32020)), "{more:?}: {error}");
        assert_eq!(error["data"]["source"], "gateway");
    }
    assert_eq!(fake.ledger().count("tools/call"), before, "none of them reached the server");
    for more in [&[("mcp-name", "=?base64?ZWNobw==?=")], &[("MCP-NAME", "  echo ")]] {
        assert_eq!(client.post(&call, more).await.expect("an answer").status, 200, "{more:?}");
    }
}

/// B-11: each mistake has the code that the specification gives it.
#[tokio::test]
async fn what_a_request_must_bring_is_asked_for_with_the_codes_of_the_specification() {
    let (gateway, _fake, _) = one().await;
    let client = Modern::new(gateway.address(), "/mcp/one");
    let list = client.message(&json!(5), "tools/list", json!({}));
    let mut bare = list.clone();
    bare["params"] = json!({});
    assert_eq!(refused(&client, &bare, &[]).await.1["code"], -32602);
    let mut incapable = list.clone();
    let meta = incapable["params"]["_meta"].as_object_mut().expect("an object");
    meta.remove("io.modelcontextprotocol/clientCapabilities");
    let (status, error) = refused(&client, &incapable, &[]).await;
    assert_eq!((status, &error["code"]), (400, &json!(-32602)));
    let mut other = list.clone();
    other["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("1999-01-01");
    let (status, error) = refused(&client, &other, &[("mcp-protocol-version", "1999-01-01")]).await;
    assert_eq!((status, &error["code"]), (400, &json!(-32022)));
    assert_eq!(error["data"]["requested"], "1999-01-01");
    assert_eq!(error["data"]["supported"][0], VERSION);
}

/// B-11: each mistake has the code that the specification gives it.
#[tokio::test]
async fn methods_that_this_era_has_not_are_not_found() {
    let (gateway, _fake, _) = one().await;
    for path in ["/mcp/one", "/mcp"] {
        let client = Modern::new(gateway.address(), path);
        for method in ["ping", "initialize", "logging/setLevel", "resources/subscribe", "no/such/method"] {
            let params =
                json!({ "level": "info", "uri": "fake://one/card", "protocolVersion": "2025-11-25" });
            let (status, error) = refused(&client, &client.message(&json!(1), method, params), &[]).await;
            assert_eq!((status, &error["code"]), (404, &json!(-32601)), "{path} {method}: {error}");
        }
        let (status, error) =
            refused(&client, &client.message(&json!(1), "tools/call", json!({ "name": "nothing" })), &[])
                .await;
        assert_eq!((status, &error["code"]), (400, &json!(-32602)), "{error}");
    }
}

#[tokio::test]
async fn sessions_and_the_methods_of_their_streams_mean_nothing_to_a_modern_client() {
    let (gateway, _fake, _) = one().await;
    let client = Modern::new(gateway.address(), "/mcp/one");
    let list = client.message(&json!(1), "tools/list", json!({}));
    let stray = [("mcp-session-id", "00"), ("last-event-id", "7")];
    let reply = client.post(&list, &stray).await.expect("an answer");
    assert_eq!((reply.status, reply.header("mcp-session-id")), (200, ""));
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    assert_eq!(client.post(&note, &[]).await.expect("an answer").status, 202);
    let response = json!({ "jsonrpc": "2.0", "id": 1, "result": {} });
    assert_eq!(client.post(&response, &[]).await.expect("an answer").status, 400);
    for method in [http::Method::GET, http::Method::DELETE] {
        let http = mcp_registry_gateway_tests::http::Http::new(gateway.address());
        let headers = [("mcp-protocol-version", VERSION), ("accept", "text/event-stream")];
        let reply = http.send(method, "/mcp/one", &headers, bytes::Bytes::new()).await.expect("an answer");
        assert_eq!((reply.status, reply.header("allow")), (405, "POST"));
    }
}

#[tokio::test]
async fn a_resource_that_is_not_there_is_an_invalid_parameter() {
    use mcp_registry_gateway_tests::fake::Act;
    let (gateway, fake, _) = one().await;
    fake.script().on("resources/read", Act::RpcError(-32002));
    let client = Modern::new(gateway.address(), "/mcp/one");
    let read = client.message(&json!(1), "resources/read", json!({ "uri": "fake://one/card" }));
    let (status, error) = refused(&client, &read, &[]).await;
    assert_eq!((status, &error["code"]), (400, &json!(-32602)), "{error}");
}
