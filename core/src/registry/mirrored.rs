//! The rules for `x-mcp-header` in the input schema of a tool: the name of the header in which a client repeats an argument.
//!
//! A name that is no name of a header, that stands twice, or that stands where no argument is found would leave the header out in
//! silence, and a rule that reads the header would be passed by. Clients must drop such a tool (specification 2026-07-28,
//! streamable HTTP, "Custom Headers from Tool Parameters"), and so does the gateway, with the reason.

use std::collections::HashSet;

use crate::rpc::Members;
use crate::rpc::object::text;

/// The member of a schema that names the header.
const MEMBER: &str = "x-mcp-header";
/// The types of arguments that a header can carry.
const TYPES: [&str; 3] = ["string", "integer", "boolean"];

/// Why a tool with this input schema cannot be used; `None` if it can.
pub(super) fn problem(schema: &str) -> Option<String> {
    // Hardly any tool has one. A key can also be written with escapes.
    let bytes = schema.as_bytes();
    if memchr::memmem::find(bytes, MEMBER.as_bytes()).is_none()
        && memchr::memmem::find(bytes, b"\\u").is_none()
    {
        return None;
    }
    let mut names = HashSet::new();
    find(schema, Position::Root, &mut names).err()
}

/// Where a value stands in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Root,
    /// The schema of an argument, reached through `properties` alone.
    Argument,
    /// The object that has the schemas of arguments under their names.
    Properties,
    /// Under another keyword, where no argument is found.
    Elsewhere,
    /// As `Properties`, under another keyword.
    NamedElsewhere,
}

/// Members of a schema that have schemas under names that the author chose.
const MAPS: [&str; 5] = ["patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];
/// Members of a schema that have data, without schemas in them.
const DATA: [&str; 6] = ["const", "enum", "default", "example", "examples", "required"];

fn find(value: &str, place: Position, names: &mut HashSet<String>) -> Result<(), String> {
    if value.starts_with('[') {
        let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(value).unwrap_or_default();
        return items.iter().try_for_each(|item| find(item.get(), Position::Elsewhere, names));
    }
    if !value.starts_with('{') {
        return Ok(());
    }
    let members = Members::parse(value).map_err(|error| error.message().to_owned())?;
    let named = matches!(place, Position::Properties | Position::NamedElsewhere);
    if let Some(raw) = members.get(MEMBER).filter(|_| !named) {
        check(raw, &members, place, names)?;
    }
    for (key, child) in members.iter() {
        let below = match (place, key) {
            (Position::Properties, _) => Position::Argument,
            (Position::NamedElsewhere, _) => Position::Elsewhere,
            (_, MEMBER) => continue,
            (_, key) if DATA.contains(&key) => continue,
            (Position::Root | Position::Argument, "properties") => Position::Properties,
            (_, key) if key == "properties" || MAPS.contains(&key) => Position::NamedElsewhere,
            _ => Position::Elsewhere,
        };
        find(child, below, names)?;
    }
    Ok(())
}

fn check(
    raw: &str,
    schema: &Members<'_>,
    place: Position,
    names: &mut HashSet<String>,
) -> Result<(), String> {
    let shown = || raw.chars().take(80).collect::<String>();
    let Some(name) = text(raw) else { return Err(format!("its `{MEMBER}` {} is no text", shown())) };
    if !is_token(&name) {
        return Err(format!("its `{MEMBER}` {} is no name of a header", shown()));
    }
    if place != Position::Argument {
        return Err(format!(
            "its `{MEMBER}` {} stands where no argument is found by `properties` alone",
            shown()
        ));
    }
    if !schema.text("type").is_some_and(|name| TYPES.contains(&&*name)) {
        return Err(format!(
            "its `{MEMBER}` {} is on an argument that is no string, integer or boolean",
            shown()
        ));
    }
    if !names.insert(name.to_ascii_lowercase()) {
        return Err(format!("its `{MEMBER}` {} stands twice, upper and lower case being alike", shown()));
    }
    Ok(())
}

/// Whether `name` is a token of RFC 9110.
fn is_token(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(header: &str) -> String {
        format!(r#"{{"type":"object","properties":{{"a":{{"type":"string","x-mcp-header":{header}}}}}}}"#)
    }

    /// X-17: a tool whose repeated arguments cannot be told is left out, and the reason says why.
    #[test]
    fn a_header_that_no_client_could_send_is_a_problem() {
        for header in [
            r#""A\r\nB""#,
            r#""A\nB""#,
            r#""a b""#,
            r#"" a""#,
            r#""""#,
            "5",
            "null",
            "true",
            "{}",
            "[]",
            r#""a:b""#,
            r#""ü""#,
            r#""a\u0000""#,
            r#""a\tb""#,
            r#""(a)""#,
            r#""a,b""#,
        ] {
            assert!(problem(&argument(header)).is_some_and(|told| told.contains("x-mcp-header")), "{header}");
        }
        for schema in [
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"R"},"b":{"type":"string","x-mcp-header":"r"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"R"},"b":{"type":"object","properties":{"c":{"type":"integer","x-mcp-header":"R"}}}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"R","x-mcp-header":"S"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"R","x-mcp-\u0068eader":"S"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-\u0068eader":"a b"}}}"#,
            r#"{"properties":{"a":{"type":"number","x-mcp-header":"R"}}}"#,
            r#"{"properties":{"a":{"type":"object","x-mcp-header":"R"}}}"#,
            r#"{"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"R"}}}}"#,
            r#"{"properties":{"a":{"anyOf":[{"type":"string","x-mcp-header":"R"}]}}}"#,
            r##"{"properties":{"a":{"$ref":"#/$defs/a"}},"$defs":{"a":{"type":"string","x-mcp-header":"R"}}}"##,
            r#"{"type":"object","x-mcp-header":"R"}"#,
        ] {
            assert!(problem(schema).is_some(), "{schema}");
        }
    }

    #[test]
    fn a_header_that_can_be_sent_is_none() {
        for schema in [
            &*argument(r#""Region""#),
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"object","properties":{"c":{"type":"boolean","x-mcp-header":"B"}}}}}"#,
            r#"{"properties":{"x-mcp-header":{"type":"string"}}}"#,
            r#"{"properties":{"a":{"const":{"x-mcp-header":5},"default":{"x-mcp-header":""}}}}"#,
            r#"{"properties":{"a":{"description":"the \u00fc of x-mcp-header"}}}"#,
            "{}",
        ] {
            assert_eq!(problem(schema), None, "{schema}");
        }
    }
}
