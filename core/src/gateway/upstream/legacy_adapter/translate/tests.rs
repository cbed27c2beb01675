use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::rpc::generated::{json_text, object};

const META: [(&str, &str); 3] = [
    (meta::PROTOCOL_VERSION, r#""2026-07-28""#),
    (meta::CLIENT_INFO, r#"{"name":"c"}"#),
    (meta::CLIENT_CAPABILITIES, r#"{"roots":{}}"#),
];

fn message(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn complete(response: &str, method: &Method) -> String {
    match answer(&message(response), method, Some("file:///a")).unwrap() {
        Answered::Complete(message) => message.text().to_owned(),
        Answered::Asks(questions) => panic!("{questions:?}"),
    }
}

#[test]
fn a_request_says_who_asks_whether_it_has_params_or_not() {
    for request in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/clientInfo":7}}}"#,
    ] {
        let sent: Value = serde_json::from_slice(&super::request(&message(request), &META).unwrap()).unwrap();
        assert_eq!(
            sent["params"]["_meta"],
            json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "c"},
                "io.modelcontextprotocol/clientCapabilities": {"roots": {}},
            })
        );
    }
}

#[test]
fn a_result_loses_what_only_the_modern_era_has_and_nothing_else() {
    let result = r#"{"jsonrpc":"2.0","id":1,"result":{"ttlMs":5,"tools":[{"name":"a","x":1e0}] ,"resultType":"complete","cacheScope":"public","z": 12345678901234567890123}}"#;
    assert_eq!(
        complete(result, &Method::ToolsList),
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","x":1e0}],"z": 12345678901234567890123}}"#
    );
    let call = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"ttlMs":5,"cacheScope":"mine"}}"#;
    assert_eq!(complete(call, &Method::ToolsCall), call);
}

#[test]
fn errors_become_what_a_legacy_client_knows() {
    let error = |code: i32, data: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"no","data":{data}}}}}"#)
    };
    let code = |response: &str, method| {
        let said: Value = serde_json::from_str(&complete(response, method)).unwrap();
        said["error"]["code"].as_i64().unwrap()
    };
    let absent = error(-32602, r#"{"uri":"file:///a"}"#);
    assert_eq!(code(&absent, &Method::ResourcesRead), -32002);
    assert_eq!(code(&absent, &Method::ToolsCall), -32602);
    assert_eq!(code(&error(-32602, r#"{"uri":"file:///b"}"#), &Method::ResourcesRead), -32602);
    let capability = error(-32021, r#"{"requiredCapabilities":{"sampling":{}}}"#);
    assert_eq!(code(&capability, &Method::ToolsCall), -32600);
    assert!(complete(&capability, &Method::ToolsCall).contains("requiredCapabilities"));
    for own in [-32020, -32022] {
        let refused = answer(&message(&error(own, "{}")), &Method::ToolsCall, None).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::BadUpstream);
    }
    assert_eq!(code(&error(-32603, "1"), &Method::ToolsCall), -32603);
}

#[test]
fn a_result_that_asks_gives_its_questions_and_an_unknown_kind_is_an_error() {
    let asks = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","requestState":"s\u0041",
        "inputRequests":{"b":{"method":"roots/list"},"a":{"method":"elicitation/create","params":{"message":"?"}}}}}"#;
    let Answered::Asks(questions) = answer(&message(asks), &Method::ToolsCall, None).unwrap() else {
        panic!()
    };
    assert_eq!(questions.state.as_deref(), Some(r#""s\u0041""#));
    assert_eq!(questions.asked[0], ("b".into(), Method::RootsList, None));
    assert_eq!(questions.asked[1].2.as_deref(), Some(r#"{"message":"?"}"#));
    let task = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"task"}}"#;
    assert_eq!(answer(&message(task), &Method::ToolsCall, None).unwrap_err().kind(), ErrorKind::BadUpstream);
}

#[test]
fn a_retry_echoes_the_state_and_has_the_answers_of_this_round_alone() {
    let first = message(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"n": 1.0}}}"#,
    );
    let again = retry(&first, 9, &[("k\"".into(), r#"{"action":"accept"}"#.into())], Some(r#""s\u0041""#));
    assert_eq!(
        text(&again.unwrap()),
        r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"a","arguments":{"n": 1.0},"inputResponses":{"k\"":{"action":"accept"}},"requestState":"s\u0041"}}"#
    );
    let only_state = retry(&first, 10, &[], Some("\"t\"")).unwrap();
    assert!(!text(&only_state).contains("inputResponses"));
}

#[test]
fn a_server_is_introduced_by_what_it_says_of_itself() {
    let discovered = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"instructions":"i","ttlMs":0,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"2"}},"vendor":1.0}"#;
    let said: Value = serde_json::from_str(&introduction(discovered).unwrap()).unwrap();
    assert_eq!(said["protocolVersion"], "2025-11-25");
    assert_eq!(said["serverInfo"], json!({"name": "s", "version": "2"}));
    assert_eq!((&said["instructions"], &said["vendor"]), (&json!("i"), &json!(1.0)));
    for gone in ["supportedVersions", "ttlMs", "cacheScope", "resultType"] {
        assert!(said.get(gone).is_none(), "{gone}");
    }
}

#[test]
fn only_what_was_declared_may_be_asked() {
    let ask = |capabilities, method: &Method, params| may_ask(capabilities, method, params);
    let url = Some(r#"{"mode":"url"}"#);
    assert!(ask(r#"{"elicitation":{}}"#, &Method::Elicit, None));
    assert!(ask(r#"{"elicitation":{"url":{}}}"#, &Method::Elicit, url));
    assert!(!ask(r#"{"elicitation":{}}"#, &Method::Elicit, url));
    assert!(!ask(r#"{"elicitation":{"url":{}}}"#, &Method::Elicit, None));
    assert!(!ask("{}", &Method::CreateMessage, None));
    assert!(ask(r#"{"sampling":{}}"#, &Method::CreateMessage, None));
    assert!(!ask(r#"{"sampling":{}}"#, &Method::Ping, None));
}

#[test]
fn an_elicitation_by_url_gets_the_id_that_2025_11_25_wants() {
    let asked = question(3, &Method::Elicit, Some(r#"{"mode":"url","url":"https://a"}"#)).unwrap();
    let asked: Value = serde_json::from_str(asked.text()).unwrap();
    assert_eq!(asked["params"]["elicitationId"].as_str().unwrap().len(), 36);
    let form = question(3, &Method::Elicit, Some(r#"{"message":"?"}"#)).unwrap();
    assert_eq!(
        form.text(),
        r#"{"jsonrpc":"2.0","id":3,"method":"elicitation/create","params":{"message":"?"}}"#
    );
}

#[test]
fn a_notification_loses_the_id_of_its_subscription_alone() {
    let told = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{"a":1,"io.modelcontextprotocol/subscriptionId":7},"uri":"x"}}"#;
    assert_eq!(
        notification(&message(told)).unwrap().text(),
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{"a":1},"uri":"x"}}"#
    );
    let only =
        r#"{"jsonrpc":"2.0","method":"m","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7}}}"#;
    assert_eq!(notification(&message(only)).unwrap().text(), r#"{"jsonrpc":"2.0","method":"m","params":{}}"#);
}

proptest! {
    #[test]
    fn a_request_only_gains_its_meta(
        members in prop::collection::btree_map("[a-z]{1,6}", json_text(), 0..5),
        vendor in prop::collection::btree_map("[a-z./]{1,8}", json_text(), 0..3),
        with_meta in any::<bool>(),
    ) {
        let mut members = members;
        if with_meta {
            members.insert("_meta".into(), object(&vendor));
        }
        let request = message(&format!(r#"{{"jsonrpc":"2.0", "id": 7 ,"method":"tools/call","params":{}}}"#, object(&members)));
        let sent = Message::parse(super::request(&request, &META).unwrap()).unwrap();
        let sent_members = sent.params_members().unwrap();
        for (key, value) in members.iter().filter(|(key, _)| *key != "_meta") {
            prop_assert_eq!(sent_members.get(key), Some(value.as_str()));
        }
        let found = Members::parse(sent_members.get("_meta").unwrap()).unwrap();
        if with_meta {
            for (key, value) in &vendor {
                prop_assert_eq!(found.get(key), Some(value.as_str()));
            }
        }
        // Removing the added members restores the original bytes.
        let mut edit = Edit::of(sent.params().unwrap()).unwrap();
        meta::strip_request(&mut edit).unwrap();
        if !with_meta || !vendor.is_empty() {
            prop_assert_eq!(edit.apply(), request.params().unwrap());
        }
    }

    #[test]
    fn a_result_without_modern_members_arrives_byte_for_byte(
        members in prop::collection::btree_map("[a-z]{1,6}", json_text(), 0..6),
    ) {
        let response = format!(r#"{{"jsonrpc":"2.0","id":7, "result":{} }}"#, object(&members));
        prop_assert_eq!(complete(&response, &Method::ToolsCall), response);
    }

    #[test]
    fn a_modern_result_arrives_as_it_was_before_it_was_made_modern(
        members in prop::collection::btree_map("[a-z]{1,6}", json_text(), 0..6), ttl in any::<u32>(),
    ) {
        let plain = object(&members);
        let mut edit = Edit::of(&plain).unwrap();
        edit.set("resultType", "\"complete\"").set("ttlMs", ttl.to_string()).set("cacheScope", "\"public\"");
        let response = |result: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"result":{result}}}"#);
        prop_assert_eq!(complete(&response(&edit.apply()), &Method::ResourcesRead), response(&plain));
    }
}
