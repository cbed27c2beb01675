use std::collections::BTreeSet;

use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;

use super::*;

#[test]
fn every_reference_of_the_document_leads_somewhere_and_every_operation_answers() {
    let document = serde_json::to_value(document()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{place}");
            assert!(operation["responses"].as_object().is_some_and(|all| !all.is_empty()), "{place}");
            for name in path.split(['{', '}']).skip(1).step_by(2) {
                let named = |p: &Value| p["name"] == name && p["in"] == "path" && p["required"] == true;
                assert!(
                    operation["parameters"].as_array().is_some_and(|all| all.iter().any(named)),
                    "{place}: {name}"
                );
            }
        }
    }
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
