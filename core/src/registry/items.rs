//! The items of MCP's lists: those that a server reports, or that are declared for it.
//!
//! A definition is kept byte for byte. An item that cannot be used is left out with the reason, and never takes the
//! rest of the list with it: clients drop a whole list for one item that they cannot read.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::fields::is_name;
use super::schema;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Capability, CapabilityKind, Listing};
use crate::rpc::Members;

/// Items of one server at most, over all kinds.
pub const MAX_ITEMS: usize = 10_000;
/// Bytes of one definition at most.
pub const MAX_DEFINITION: usize = 1024 * 1024;
/// Bytes of a URI or URI template at most.
pub const MAX_URI: usize = 8 * 1024;

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
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: {}", self.kind.as_str(), self.name, self.reason)
    }
}

/// The items of a JSON array, and those that are left out of it.
///
/// Errors: [`ErrorKind::BadUpstream`] if `raw` is not a JSON array.
pub fn items(kind: CapabilityKind, raw: &str) -> Result<(Vec<Capability>, Vec<Excluded>)> {
    let list: Vec<&RawValue> = serde_json::from_str(raw).map_err(|error| {
        Error::new(ErrorKind::BadUpstream, format!("`{}` is not a list: {error}", kind.list_member()))
    })?;
    let (mut items, mut excluded) = (Vec::with_capacity(list.len()), Vec::new());
    let mut seen = HashSet::new();
    for raw in list {
        let exclude =
            |name: &str, reason: String| Excluded { kind, name: name.chars().take(128).collect(), reason };
        match item(kind, raw) {
            Ok(item) if !seen.insert(item.name.clone()) => {
                excluded.push(exclude(&item.name, "it stands in the list twice; the first is used".into()));
            }
            Ok(item) => items.push(item),
            Err((name, reason)) => excluded.push(exclude(&name, reason)),
        }
    }
    Ok((items, excluded))
}

fn item(kind: CapabilityKind, raw: &RawValue) -> Result<Capability, (String, String)> {
    let nameless = |reason: String| (String::new(), reason);
    let text = raw.get();
    if text.len() > MAX_DEFINITION {
        return Err(nameless(format!(
            "its definition has {} bytes; the limit is {MAX_DEFINITION}",
            text.len()
        )));
    }
    let members = Members::parse(text).map_err(|error| nameless(error.to_string()))?;
    let key = kind.key();
    let name = members.text(key).ok_or_else(|| nameless(format!("it has no `{key}`")))?.into_owned();
    let problem = match kind {
        CapabilityKind::Tool | CapabilityKind::Prompt if !is_name(&name) => {
            Some("a name has 1 to 128 of A-Z a-z 0-9 _ . -".to_owned())
        }
        CapabilityKind::Tool if !members.get("inputSchema").is_some_and(|schema| schema.starts_with('{')) => {
            Some("`inputSchema` is missing or not an object".to_owned())
        }
        CapabilityKind::Tool => ["inputSchema", "outputSchema"].iter().find_map(|member| {
            let problem = schema::problem(members.get(member)?)?;
            Some(format!("`{member}` cannot be used: {problem}"))
        }),
        CapabilityKind::Resource | CapabilityKind::ResourceTemplate
            if name.is_empty() || name.len() > MAX_URI || name.contains(char::is_control) =>
        {
            Some(format!("a `{key}` has 1 to {MAX_URI} bytes and no control characters"))
        }
        _ => None,
    };
    match problem {
        Some(problem) => Err((name, problem)),
        None => Ok(Capability {
            kind,
            name,
            description: members.text("description").map(std::borrow::Cow::into_owned),
            definition: Arc::from(raw.to_owned()),
        }),
    }
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
            Ok((items, excluded)) => {
                listing.items.extend(items);
                problems.extend(excluded.iter().map(ToString::to_string));
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
        let tool = r#"{ "x":12345678901234567890123,"name":"a" , "inputSchema":{"$defs":{},"b":1,"a":1.0}, "ü":"\u00fc" }"#;
        let (items, excluded) = items(CapabilityKind::Tool, &format!("[ {tool} ]")).unwrap();
        assert_eq!((items[0].definition.get(), items[0].name.as_str()), (tool, "a"));
        assert_eq!(excluded, []);
    }

    /// B-14: a name that cannot be used takes nothing else along.
    #[test]
    fn a_bad_item_is_left_out_with_its_reason_and_the_others_stay() {
        let long = "a".repeat(129);
        let big = format!(r#"{{"name":"big","inputSchema":{{}},"x":"{}"}}"#, "x".repeat(MAX_DEFINITION));
        let list = format!(
            r#"[1, {{}}, {{"name":1}}, {{"name":"a b","inputSchema":{{}}}}, {{"name":"{long}","inputSchema":{{}}}},
            {{"name":"n"}}, {{"name":"dup","name":"dup","inputSchema":{{}}}}, {big},
            {{"name":"good","inputSchema":{{}}}}, {{"name":"good","inputSchema":{{}}}}]"#
        );
        let (items, excluded) = items(CapabilityKind::Tool, &list).unwrap();
        assert_eq!(items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["good"]);
        assert_eq!(excluded.len(), 9);
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
            let (items, excluded) = items(kind, &format!("[{item}]")).unwrap();
            assert_eq!((items.len(), excluded.len()), (1, 0), "{item}");
        }
        let (_, excluded) =
            items(CapabilityKind::Resource, r#"[{"uri":""},{"uri":"a\nb"},{"name":"x"}]"#).unwrap();
        assert_eq!(excluded.len(), 3);
        assert_eq!(items(CapabilityKind::Tool, "{}").unwrap_err().kind(), ErrorKind::BadUpstream);
    }

    #[test]
    fn a_declared_tool_gets_a_schema_and_its_other_bytes_stay() {
        let listing =
            declared(r#"{"tools":[{"name":"a", "x":1.0}, {"name":"b","inputSchema":{"x":1}}]}"#).unwrap();
        let definitions: Vec<_> = listing.items.iter().map(|item| item.definition.get()).collect();
        let first = r#"{"name":"a", "x":1.0,"inputSchema":{"type":"object"}}"#;
        assert_eq!(definitions, [first, r#"{"name":"b","inputSchema":{"x":1}}"#]);
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
}
