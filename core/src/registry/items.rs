//! The items of MCP's lists: those that a server reports, or that are declared for it.
//!
//! A definition without a fault is kept byte for byte. One with a fault that changes nothing of its meaning is repaired, and one
//! that cannot be used is left out with the reason. Neither takes the rest of the list with it: clients drop a whole list for
//! one item that they cannot read.

pub(crate) mod repair;
mod schema_repair;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{mirrored, schema};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Capability, CapabilityKind, Listing};
use crate::rpc::envelope::quote;
use crate::rpc::{Edit, Members};

/// Items of one server at most, over all kinds.
pub const MAX_ITEMS: usize = 10_000;
/// Bytes of one definition at most.
pub const MAX_DEFINITION: usize = 1024 * 1024;
/// Bytes of a URI or URI template at most.
pub const MAX_URI: usize = 8 * 1024;
/// Characters of the name of a tool or prompt at most.
pub const MAX_ITEM_NAME: usize = 512;

/// Capabilities of servers that have no items.
const CAPABILITIES: [&str; 6] = ["completions", "experimental", "extensions", "logging", "sampling", "tasks"];

/// Something of a list that is not used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// The kind of the item.
    pub kind: CapabilityKind,
    /// Its name, cut to 128 characters; empty where it has none, or where it is the list itself that was cut.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Whether it is the list itself that was cut.
    pub is_list: bool,
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: {}", self.kind.as_str(), self.name, self.reason)
    }
}

/// An item that is served in another form than the server sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The kind of the item.
    pub kind: CapabilityKind,
    /// Its name, cut to 128 characters.
    pub name: String,
    /// The members that were dropped or replaced, as paths such as `inputSchema.properties`.
    pub members: Vec<String>,
}

/// The items of a list, and the faults of it.
#[derive(Clone, Debug, Default)]
pub struct Items {
    /// The items that can be used.
    pub items: Vec<Capability>,
    /// Those that are left out.
    pub excluded: Vec<Excluded>,
    /// Those that were repaired.
    pub repaired: Vec<Repaired>,
}

/// The items of a JSON array. `null` and an empty object are lists without items, as some serializers write them.
///
/// Errors: [`ErrorKind::BadUpstream`] if `raw` is something else.
pub fn items(kind: CapabilityKind, raw: &str) -> Result<Items> {
    let mut found = Items::default();
    if raw == "null" || Members::parse(raw).is_ok_and(|members| members.iter().next().is_none()) {
        return Ok(found);
    }
    let list: Vec<&RawValue> = serde_json::from_str(raw).map_err(|error| {
        Error::new(ErrorKind::BadUpstream, format!("`{}` is not a list: {error}", kind.list_member()))
    })?;
    let mut seen = HashSet::new();
    for raw in list {
        let exclude = |name: &str, reason: String| Excluded { kind, name: cut(name), reason, is_list: false };
        match item(kind, raw) {
            Ok((item, _)) if !seen.insert(item.name.clone()) => {
                let reason = "it stands in the list twice; the first is used".into();
                found.excluded.push(exclude(&item.name, reason));
            }
            Ok((item, members)) => {
                if !members.is_empty() {
                    found.repaired.push(Repaired { kind, name: cut(&item.name), members });
                }
                found.items.push(item);
            }
            Err((name, reason)) => found.excluded.push(exclude(&name, reason)),
        }
    }
    Ok(found)
}

/// The raw `result` of a list as clients can read it; `None` if they can as it is.
pub fn mended_list(kind: CapabilityKind, result: &str) -> Option<String> {
    let mut edit = Edit::of(result).ok()?;
    let raw = edit.members().get(kind.list_member()).unwrap_or("null");
    let found = items(kind, raw).ok()?;
    let faulty = !raw.starts_with('[') || !found.excluded.is_empty() || !found.repaired.is_empty();
    match edit.members().get("nextCursor") {
        None => {}
        Some(cursor) if cursor.starts_with('"') => {}
        Some(number) if number.parse::<f64>().is_ok() => _ = edit.set("nextCursor", quote(number)),
        Some(_) => _ = edit.remove("nextCursor"),
    }
    if faulty {
        let all: Vec<_> = found.items.iter().map(|item| item.definition.get()).collect();
        edit.set(kind.list_member(), format!("[{}]", all.join(",")));
    }
    (!edit.is_empty()).then(|| edit.apply())
}

fn cut(name: &str) -> String {
    name.chars().take(128).collect()
}

/// An item, and the members of it that were repaired.
fn item(kind: CapabilityKind, raw: &RawValue) -> Result<(Capability, Vec<String>), (String, String)> {
    let text = raw.get();
    let unnamed = |reason: String| (name_of(kind, text), reason);
    if text.len() > MAX_DEFINITION {
        return Err(unnamed(format!(
            "its definition has {} bytes; the limit is {MAX_DEFINITION}",
            text.len()
        )));
    }
    let repaired = repair::mended(kind, text).map_err(unnamed)?;
    let members = Members::parse(&repaired.text).map_err(|error| unnamed(error.to_string()))?;
    let key = kind.key();
    let name = members.text(key).ok_or_else(|| unnamed(format!("it has no `{key}`")))?.into_owned();
    if let Some(problem) = problem(kind, &name, &members) {
        return Err((name, problem));
    }
    let description = members.text("description").map(std::borrow::Cow::into_owned);
    // One without a fault shares no text with the list, and is the same text.
    let definition = RawValue::from_string(repaired.text.clone().into_owned())
        .map_err(|error| unnamed(error.to_string()))?;
    Ok((Capability { kind, name, description, definition: Arc::from(definition) }, repaired.members))
}

fn problem(kind: CapabilityKind, name: &str, members: &Members<'_>) -> Option<String> {
    match kind {
        CapabilityKind::Tool | CapabilityKind::Prompt if !is_item_name(name) => Some(format!(
            "a name has 1 to {MAX_ITEM_NAME} characters, and none that is invisible or controls a terminal"
        )),
        CapabilityKind::Tool => ["inputSchema", "outputSchema"].iter().find_map(|member| {
            let raw = members.get(member)?;
            let mirrored = || mirrored::problem(raw).filter(|_| *member == "inputSchema");
            let problem = schema::problem(raw).or_else(mirrored)?;
            Some(format!("`{member}` cannot be used: {problem}"))
        }),
        CapabilityKind::Resource | CapabilityKind::ResourceTemplate
            if name.is_empty() || name.len() > MAX_URI || name.contains(char::is_control) =>
        {
            Some(format!("a `{}` has 1 to {MAX_URI} bytes and no control characters", kind.key()))
        }
        _ => None,
    }
}

/// The name in a definition that cannot be read as it must be, for the person who looks for it; empty if there is none.
fn name_of(kind: CapabilityKind, text: &str) -> String {
    // Of two equal keys this reads the last. Only the report has it.
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let named = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    named(kind.key()).or_else(|| named("name")).unwrap_or_default()
}

/// Whether a tool or prompt may have this name: people and terminals read it as programs do. The aggregated route gives it
/// another spelling where clients want one.
fn is_item_name(name: &str) -> bool {
    let deceives = |c: char| {
        c.is_control()
            || matches!(c,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    !name.trim().is_empty() && name.chars().count() <= MAX_ITEM_NAME && !name.contains(deceives)
}

/// The listing that a registration declares: `{tools, resources, resourceTemplates, prompts}`, each optional: a list of items, or
/// of their names. A tool that is declared without an `inputSchema` gets `{"type":"object"}`. An object, `true` or `null` in the
/// place of a list, as servers write their capabilities, declares no item.
///
/// Errors: every problem; unlike a server, the author of a registration can correct it.
pub(super) fn declared(raw: &str) -> Result<Listing, Vec<String>> {
    let members = Members::parse(raw).map_err(|error| vec![error.to_string()])?;
    let mut problems = Vec::new();
    let mut listing = Listing::default();
    for (member, list) in members.iter() {
        let member = if member == "resource_templates" { "resourceTemplates" } else { member };
        let names_none = list.starts_with('{') || matches!(list, "true" | "false" | "null");
        if names_none
            && (CAPABILITIES.contains(&member)
                || CapabilityKind::ALL.iter().any(|kind| kind.list_member() == member))
        {
            continue;
        }
        let Some(kind) = CapabilityKind::ALL.into_iter().find(|kind| kind.list_member() == member) else {
            let shown: String = member.chars().take(40).collect();
            problems.push(format!(
                "unknown member {shown:?}: there are tools, resources, resourceTemplates, prompts"
            ));
            continue;
        };
        let list = from_names(kind, list);
        let list = if kind == CapabilityKind::Tool { with_schemas(&list) } else { list };
        match items(kind, &list) {
            Ok(found) => {
                listing.items.extend(found.items);
                problems.extend(found.excluded.iter().map(ToString::to_string));
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    if listing.items.len() > MAX_ITEMS {
        problems.push(format!("{} items; a server has at most {MAX_ITEMS}", listing.items.len()));
    }
    if problems.is_empty() { Ok(listing) } else { Err(problems) }
}

/// `list` with an item in the place of each name; as it is if it is no list.
fn from_names(kind: CapabilityKind, list: &str) -> String {
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(list) else { return list.to_owned() };
    let items = items.iter().map(|item| {
        let name = item.get();
        match kind.key() {
            _ if !name.starts_with('"') => name.to_owned(),
            "name" => format!(r#"{{"name":{name}}}"#),
            key => format!(r#"{{"{key}":{name},"name":{name}}}"#),
        }
    });
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// `list` with an `inputSchema` in each tool that has none; as it is if it is no list.
fn with_schemas(list: &str) -> String {
    let Ok(tools) = serde_json::from_str::<Vec<&RawValue>>(list) else { return list.to_owned() };
    let tools = tools.iter().map(|tool| {
        let text = tool.get();
        match (Members::parse(text), text.strip_suffix('}')) {
            (Ok(members), Some(open)) if members.get("inputSchema").is_none() => {
                let comma = if members.iter().next().is_some() { "," } else { "" };
                format!(r#"{open}{comma}"inputSchema":{{"type":"object"}}}}"#)
            }
            _ => text.to_owned(),
        }
    });
    format!("[{}]", tools.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
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
        let listing = declared(
            r#"{"tools":[{"name":"a", "x":1.0}, {"name":"b","inputSchema":{"type":"object","x":1}}]}"#,
        )
        .unwrap();
        let definitions: Vec<_> = listing.items.iter().map(|item| item.definition.get()).collect();
        let first = r#"{"name":"a", "x":1.0,"inputSchema":{"type":"object"}}"#;
        assert_eq!(definitions, [first, r#"{"name":"b","inputSchema":{"type":"object","x":1}}"#]);
        assert_eq!(listing.initialize, None);
        let named = declared(r#"{"tools":["read_file"],"resources":["file://"],"resource_templates":["x:{y}"],"prompts":["p"],"logging":{}}"#)
            .unwrap();
        let definitions: Vec<_> = named.items.iter().map(|item| item.definition.get()).collect();
        let tool = r#"{"name":"read_file","inputSchema":{"type":"object"}}"#;
        let resources =
            [r#"{"uri":"file://","name":"file://"}"#, r#"{"uriTemplate":"x:{y}","name":"x:{y}"}"#];
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
        assert_eq!(
            value["arguments"],
            serde_json::json!([{ "name": "a" }, { "name": "b", "required": true }])
        );
        for arguments in [r#"[{"description":"x"}]"#, r#""a""#, r#"{"a":1}"#, "[null]"] {
            let found = one(CapabilityKind::Prompt, &format!(r#"{{"name":"p","arguments":{arguments}}}"#));
            assert_eq!(found.excluded.len(), 1, "{arguments}");
        }
        let (value, members) =
            repaired(CapabilityKind::Resource, r#"{"uri":"a:b","size":null,"mimeType":null}"#);
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
}
