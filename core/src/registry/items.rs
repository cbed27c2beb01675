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
mod tests;
