//! The rules for the schema of a tool: small enough for its readers, and whole in itself.
//!
//! Nothing here follows a reference or compiles a pattern. A schema that points to another document would make a client fetch
//! it from wherever the server says, so the tool is left out, with the reason; the others stay.

use serde_json::Value;

/// Deepest nesting of a schema, in objects and arrays.
const MAX_DEPTH: usize = 64;
/// Objects in a schema, which is to say subschemas and their containers.
const MAX_SUBSCHEMAS: usize = 2000;

/// Members whose values are data, without schemas in them.
const DATA: [&str; 5] = ["const", "enum", "default", "example", "examples"];
/// Members whose values have schemas under names that the author chose.
const MAPS: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

/// Why a tool with this schema cannot be used; `None` if it can.
pub(super) fn problem(raw: &str) -> Option<String> {
    // It was read as part of a message, so that its depth is bounded already.
    let schema: Value = match serde_json::from_str(raw) {
        Ok(schema) => schema,
        Err(error) => return Some(format!("it cannot be read: {error}")),
    };
    Walk { subschemas: 0 }.value(&schema, false, 1).err()
}

struct Walk {
    subschemas: usize,
}

impl Walk {
    /// Looks at a schema, or, if `map`, at an object that has schemas under any names.
    fn value(&mut self, value: &Value, map: bool, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("it nests deeper than the limit of {MAX_DEPTH}"));
        }
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.value(item, false, depth + 1)),
            Value::Object(members) => {
                self.subschemas += 1;
                if self.subschemas > MAX_SUBSCHEMAS {
                    return Err(format!("it has more than the limit of {MAX_SUBSCHEMAS} subschemas"));
                }
                for (key, value) in members {
                    let key = key.as_str();
                    if let ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(target)) = (key, value) {
                        within(key, target)?;
                    }
                    if map || !DATA.contains(&key) {
                        self.value(value, !map && MAPS.contains(&key), depth + 1)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A reference must stay within its document: a fragment, or a relative name of something that the document itself has.
fn within(key: &str, target: &str) -> Result<(), String> {
    let scheme = target.split_once(':').map(|(scheme, _)| scheme);
    let has_scheme = scheme.is_some_and(|scheme| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    });
    if has_scheme || target.starts_with("//") {
        let shown: String = target.chars().take(100).collect();
        return Err(format!("its `{key}` points to another document, which nobody is to fetch: {shown}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// B-12: nothing is fetched, and the reason is told.
    #[test]
    fn a_reference_to_another_document_is_a_problem_and_one_within_is_none() {
        for target in [
            "http://169.254.169.254/latest/meta-data",
            "https://example.com/schema.json#/a",
            "file:///etc/passwd",
            "urn:x:y",
            "//example.com/schema",
            "HTTP://example.com",
        ] {
            for schema in [
                json!({ "$ref": target }),
                json!({ "type": "object", "properties": { "a": { "items": [{ "$dynamicRef": target }] } } }),
                json!({ "$defs": { "default": { "$ref": target }, "type": {} } }),
                json!({ "properties": { "const": { "not": { "$ref": target } } } }),
            ] {
                let problem = problem(&schema.to_string()).unwrap();
                assert!(problem.contains("another document") && problem.contains(target), "{problem}");
            }
        }
        for schema in [
            json!({ "$ref": "#/$defs/a", "$defs": { "a": {} } }),
            json!({ "$ref": "#" }),
            json!({ "$ref": "other.json" }),
            json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/a" }),
            json!({ "properties": { "$ref": { "type": "string" } } }),
            json!({ "type": "object", "default": { "$ref": "http://example.com" }, "examples": [{ "$ref": "file:x" }] }),
            json!({ "const": { "$ref": "http://example.com" } }),
        ] {
            assert_eq!(problem(&schema.to_string()), None, "{schema}");
        }
    }

    /// B-12, B-13: the tool is left out with the reason, and the others stay.
    #[test]
    fn a_tool_whose_schema_cannot_be_used_is_left_out_alone() {
        let bomb = json!({ "anyOf": vec![json!({}); 3000] });
        let tools = json!([
            { "name": "a", "inputSchema": { "type": "object" } },
            { "name": "b", "inputSchema": { "properties": { "x": { "$ref": "http://169.254.169.254/" } } } },
            { "name": "c", "inputSchema": {}, "outputSchema": bomb },
            { "name": "d", "inputSchema": { "type": "object" } },
        ]);
        let found =
            super::super::items::items(crate::model::CapabilityKind::Tool, &tools.to_string()).unwrap();
        let (items, excluded) = (found.items, found.excluded);
        assert_eq!(items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["a", "d"]);
        let reasons: Vec<_> = excluded.iter().map(ToString::to_string).collect();
        assert!(
            reasons[0].contains("`inputSchema`") && reasons[0].contains("169.254.169.254"),
            "{reasons:?}"
        );
        assert!(reasons[1].contains("`outputSchema`") && reasons[1].contains("2000"), "{reasons:?}");
    }

    /// B-14: a name that people and terminals read otherwise than programs is left out, and so is a huge description.
    #[test]
    fn a_tool_whose_name_could_deceive_is_left_out_alone() {
        let long = "x".repeat(10 * 1024);
        let bad =
            [&long, "", " ", "a\u{202e}b", "a\u{200b}b", "\u{1b}[31mred", "a\r\nb", "a\u{feff}", "a\u{ad}b"];
        let tools: Vec<_> =
            bad.into_iter().chain(["good"]).map(|name| json!({ "name": name, "inputSchema": {} })).collect();
        let huge = json!({ "name": "huge", "inputSchema": {}, "description": "x".repeat(1024 * 1024) });
        let tools: Vec<_> = tools.into_iter().chain([huge]).collect();
        let found = super::super::items::items(crate::model::CapabilityKind::Tool, &json!(tools).to_string())
            .unwrap();
        let (items, excluded) = (found.items, found.excluded);
        assert_eq!(items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["good"]);
        assert_eq!(excluded.len(), bad.len() + 1);
        assert!(excluded.iter().all(|one| one.name.chars().count() <= 128 && !one.reason.is_empty()));
    }

    /// B-13: a schema that would cost a client its time is counted, not evaluated.
    #[test]
    fn a_schema_that_is_a_bomb_is_a_problem() {
        let many = json!({ "anyOf": vec![json!({ "type": "null" }); 10_000] });
        assert!(problem(&many.to_string()).unwrap().contains("2000 subschemas"));
        let deep = |levels: usize| format!("{}{{}}{}", r#"{"not":"#.repeat(levels), "}".repeat(levels));
        assert!(problem(&deep(64)).unwrap().contains("limit of 64"));
        assert_eq!(problem(&deep(63)), None);
        // Read, never followed or compiled.
        let recursive = json!({
            "$ref": "#/$defs/a", "$defs": { "a": { "anyOf": [{ "$ref": "#/$defs/a" }, { "$ref": "#" }] } },
            "pattern": "^(a+)+$",
        });
        assert_eq!(problem(&recursive.to_string()), None);
    }
}
