//! The items of lists: kept, repaired, left out.

use super::*;

#[test]
fn a_definition_is_kept_byte_for_byte() {
    let tool = r#"{ "x":12345678901234567890123,"name":"a" , "inputSchema":{"type":"object","$defs":{},"b":null,"a":1.0}, "ü":"\u00fc" }"#;
    let found = items(CapabilityKind::Tool, &format!("[ {tool} ]")).unwrap();
    assert_eq!((found.items[0].definition.get(), found.items[0].name.as_str()), (tool, "a"));
    assert_eq!((found.excluded, found.repaired), (vec![], vec![]));
    let list = format!(r#"{{ "tools":[ {tool} ],"nextCursor":"" , "x":1e3 }}"#);
    assert_eq!(mended_list(CapabilityKind::Tool, &list), None);
}

/// B-14: a name that cannot be used takes nothing else along.
#[test]
fn a_bad_item_is_left_out_with_its_reason_and_the_others_stay() {
    let long = "a".repeat(MAX_ITEM_NAME + 1);
    let big = format!(r#"{{"name":"big","inputSchema":{{}},"x":"{}"}}"#, "x".repeat(MAX_DEFINITION));
    let list = format!(
        r#"[1, {{}}, {{"name":1}}, {{"name":"a\u200bb","inputSchema":{{}}}}, {{"name":"{long}","inputSchema":{{}}}},
        {{"name":"n","inputSchema":1}}, {{"name":"dup","x":[{{"y":1,"y":2}}],"inputSchema":{{}}}}, {big},
        {{"name":"good","inputSchema":{{}}}}, {{"name":"good","inputSchema":{{}}}}]"#
    );
    let Items { items, excluded, .. } = items(CapabilityKind::Tool, &list).unwrap();
    assert_eq!(items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["good"]);
    assert_eq!(excluded.len(), 9);
    let names: Vec<_> = excluded.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names[5..8], ["n", "dup", "big"], "{excluded:?}");
    let last = excluded.last().unwrap();
    assert!(last.name == "good" && last.reason.contains("twice"), "{last}");
}

#[test]
fn each_kind_has_its_own_key() {
    for (kind, item) in [
        (CapabilityKind::Resource, r#"{"uri":"x:y","name":"a b"}"#),
        (CapabilityKind::ResourceTemplate, r#"{"uriTemplate":"x:{y}"}"#),
        (CapabilityKind::Prompt, r#"{"name":"p","description":"d"}"#),
    ] {
        let found = items(kind, &format!("[{item}]")).unwrap();
        assert_eq!((found.items.len(), found.excluded.len()), (1, 0), "{item}");
    }
    let list = r#"[{"uri":""},{"uri":"a\nb"},{"name":"x"}]"#;
    assert_eq!(items(CapabilityKind::Resource, list).unwrap().excluded.len(), 3);
    assert_eq!(items(CapabilityKind::Tool, r#"{"a":1}"#).unwrap_err().kind(), ErrorKind::BadUpstream);
    for nothing in ["{}", "null", "[]"] {
        assert_eq!(items(CapabilityKind::Tool, nothing).unwrap().items, []);
    }
}

#[test]
fn a_declared_tool_gets_a_schema_and_its_other_bytes_stay() {
    let listing =
        declared(r#"{"tools":[{"name":"a", "x":1.0}, {"name":"b","inputSchema":{"type":"object","x":1}}]}"#)
            .unwrap();
    let definitions: Vec<_> = listing.items.iter().map(|item| item.definition.get()).collect();
    let first = r#"{"name":"a", "x":1.0,"inputSchema":{"type":"object"}}"#;
    assert_eq!(definitions, [first, r#"{"name":"b","inputSchema":{"type":"object","x":1}}"#]);
    assert_eq!(listing.initialize, None);
    let named = declared(
        r#"{"tools":["read_file"],"resources":["file://"],"resource_templates":["x:{y}"],"prompts":["p"],"logging":{}}"#,
    )
    .unwrap();
    let definitions: Vec<_> = named.items.iter().map(|item| item.definition.get()).collect();
    let tool = r#"{"name":"read_file","inputSchema":{"type":"object"}}"#;
    let resources = [r#"{"uri":"file://","name":"file://"}"#, r#"{"uriTemplate":"x:{y}","name":"x:{y}"}"#];
    assert_eq!(definitions, [tool, resources[0], resources[1], r#"{"name":"p"}"#]);
    assert_eq!(
        declared(r#"{"tools":{"listChanged":true},"prompts":null,"resources":true}"#).unwrap().items,
        []
    );
    assert_eq!(declared(r#"{"tool":[],"prompts":[{}],"resources":1}"#).unwrap_err().len(), 3);
    assert_eq!(declared("[]").unwrap_err().len(), 1);
}

fn one(kind: CapabilityKind, raw: &str) -> Items {
    items(kind, &format!("[{raw}]")).unwrap()
}

/// The definition of the one item without its mark, and the members that were repaired.
fn repaired(kind: CapabilityKind, raw: &str) -> (Value, Vec<String>) {
    let found = one(kind, raw);
    assert_eq!(found.excluded, [], "{raw}");
    let mut value: Value = serde_json::from_str(found.items[0].definition.get()).unwrap();
    let mark = value["_meta"].as_object_mut().unwrap().remove(crate::rpc::meta::REPAIRED).unwrap();
    assert_eq!(mark, serde_json::json!(found.repaired[0].members), "{raw}");
    (value, found.repaired[0].members.clone())
}

#[test]
fn members_of_a_tool_that_only_decorate_are_dropped_where_they_have_another_type() {
    for member in [
        r#""description":null"#,
        r#""description":7"#,
        r#""title":null"#,
        r#""annotations":null"#,
        r#""annotations":"read""#,
        r#""outputSchema":null"#,
        r#""outputSchema":{}"#,
        r#""outputSchema":[]"#,
        r#""outputSchema":{"type":"string"}"#,
        r##""outputSchema":{"type":"object","properties":{"a":{"$ref":"#/$defs/none"}}}"##,
        r#""execution":null"#,
        r#""execution":1"#,
        r#""icons":null"#,
        r#""icons":{}"#,
    ] {
        let raw = format!(r#"{{"name":"t","inputSchema":{{"type":"object"}},{member}}}"#);
        let (value, members) = repaired(CapabilityKind::Tool, &raw);
        let key = member.split('"').nth(1).unwrap();
        assert_eq!((value.get(key), members), (None, vec![key.to_owned()]), "{raw}");
    }
    let raw = r#"{"name":"t","inputSchema":{"type":"object"},"_meta":null,"annotations":{"title":null,"readOnlyHint":true,"destructiveHint":"no","x":null},
        "icons":[{"src":"a","sizes":null},{"href":"b"},null],"execution":[]}"#;
    let (value, members) = repaired(CapabilityKind::Tool, raw);
    assert_eq!(value["annotations"], serde_json::json!({ "readOnlyHint": true, "x": null }));
    assert_eq!(value["icons"], serde_json::json!([{ "src": "a" }]));
    assert_eq!((&value["execution"], &value["_meta"]), (&serde_json::json!({}), &serde_json::json!({})));
    assert_eq!(members, ["icons", "_meta", "annotations", "execution"]);
}

#[test]
fn a_schema_keeps_its_meaning_and_gets_the_form_that_clients_read() {
    for (schema, mended) in [
        ("{}", r#"{"type":"object"}"#),
        ("[]", r#"{"type":"object"}"#),
        ("null", r#"{"type":"object"}"#),
        (r#"{"type":null,"required":null}"#, r#"{"type":"object"}"#),
        (r#"{"type":["object","null"]}"#, r#"{"type":"object"}"#),
        (r#"{"properties":[]}"#, r#"{"properties":{},"type":"object"}"#),
        (
            r#"{"type":"object","properties":{"a":true,"b":false,"c":null,"d":[]}}"#,
            r#"{"type":"object","properties":{"a":{},"b":{"not":{}},"c":{},"d":{}}}"#,
        ),
        (
            r#"{"type":"object","properties":{"a":{"type":"object","properties":[],"description":null,"default":null,"const":null,"x":null,"items":{"enum":null},"anyOf":[{"title":null},{"type":"null"}]}}}"#,
            r#"{"type":"object","properties":{"a":{"type":"object","properties":{},"default":null,"const":null,"x":null,"items":{},"anyOf":[{},{"type":"null"}]}}}"#,
        ),
    ] {
        let raw = format!(r#"{{"name":"t","inputSchema":{schema}}}"#);
        let (value, _) = repaired(CapabilityKind::Tool, &raw);
        assert_eq!(value["inputSchema"], serde_json::from_str::<Value>(mended).unwrap(), "{schema}");
    }
    let kept = r#"{"name":"t","inputSchema":{"type":"object","properties":{"null":{"default":[],"enum":[null]}},"required":[],"$defs":{}}}"#;
    assert_eq!(one(CapabilityKind::Tool, kept).items[0].definition.get(), kept);
    for schema in [
        r#"{"type":"string"}"#,
        r#"{"type":["array","string"]}"#,
        r#"{"type":"object","required":"a"}"#,
        r#"{"type":"object","required":["a",null]}"#,
        r#"{"type":"object","properties":["a"]}"#,
        r#"{"type":"object","properties":{"a":"string"}}"#,
        r#""object""#,
        "true",
    ] {
        let found = one(CapabilityKind::Tool, &format!(r#"{{"name":"t","inputSchema":{schema}}}"#));
        assert_eq!((found.items.len(), found.excluded[0].name.as_str()), (0, "t"), "{schema}");
    }
}

#[test]
fn prompts_and_resources_are_repaired_alike() {
    let (value, members) =
        repaired(CapabilityKind::Prompt, r#"{"name":"p","arguments":null,"description":null}"#);
    assert_eq!((value["name"].as_str(), members.len()), (Some("p"), 2));
    let raw = r#"{"name":"p","arguments":[{"name":"a","description":null,"required":null},{"name":"b","required":true}]}"#;
    let (value, _) = repaired(CapabilityKind::Prompt, raw);
    assert_eq!(value["arguments"], serde_json::json!([{ "name": "a" }, { "name": "b", "required": true }]));
    for arguments in [r#"[{"description":"x"}]"#, r#""a""#, r#"{"a":1}"#, "[null]"] {
        let found = one(CapabilityKind::Prompt, &format!(r#"{{"name":"p","arguments":{arguments}}}"#));
        assert_eq!(found.excluded.len(), 1, "{arguments}");
    }
    let (value, members) = repaired(CapabilityKind::Resource, r#"{"uri":"a:b","size":null,"mimeType":null}"#);
    assert_eq!((value["name"].as_str(), members.len()), (Some("a:b"), 3));
    let raw = r#"{"uriTemplate":"a:{b}","name":null,"title":"T","annotations":{"audience":["all"],"priority":7,"lastModified":"today"}}"#;
    let (value, _) = repaired(CapabilityKind::ResourceTemplate, raw);
    assert_eq!((value["name"].as_str(), &value["annotations"]), (Some("T"), &serde_json::json!({})));
}

#[test]
fn a_list_that_is_passed_on_is_repaired_where_it_must_be() {
    let mended = |list: &str| {
        mended_list(CapabilityKind::Tool, list).map(|text| serde_json::from_str::<Value>(&text).unwrap())
    };
    let list = r#"{"x":1,"tools":[{"name":"a","inputSchema":{"type":"object"}},{"name":"b","inputSchema":{"type":"string"}}],"nextCursor":7}"#;
    let value = mended(list).unwrap();
    assert_eq!((value["tools"].as_array().unwrap().len(), value["nextCursor"].as_str()), (1, Some("7")));
    for nothing in [r#"{"tools":null}"#, r#"{"tools":{}}"#, r#"{"tools":[],"nextCursor":null}"#, "{}"] {
        assert_eq!(mended(nothing).unwrap(), serde_json::json!({ "tools": [] }), "{nothing}");
    }
    assert_eq!(mended(r#"{"tools":[]}"#), None);
}
