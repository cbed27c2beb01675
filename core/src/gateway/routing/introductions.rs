//! The introduction of a server as clients can read it, where the server's own has another form than it must.

use std::borrow::Cow;

use crate::model::{CapabilityKind, Listing};
use crate::rpc::envelope::quote;
use crate::rpc::{Edit, Members};

/// The members of `capabilities` that must be objects.
const CAPABILITIES: [&str; 7] =
    ["tools", "resources", "prompts", "logging", "completions", "tasks", "extensions"];

/// The `initialize` result `said` as clients can read it, by the listing of the server; `None` if they can as it is. `name` is
/// the name of a server that does not give its own.
pub(super) fn mended(said: &str, listing: &Listing, name: &str) -> Option<String> {
    let mut edit = Edit::of(said).ok()?;
    let raw = edit.members().get("capabilities").unwrap_or("null");
    let capabilities = capabilities(raw, listing);
    if capabilities != raw {
        edit.set("capabilities", capabilities.into_owned());
    }
    let info = edit.members().get("serverInfo").unwrap_or("null");
    let mended = server_info(info, name);
    if mended != info {
        edit.set("serverInfo", mended.into_owned());
    }
    for member in ["instructions", "_meta"] {
        if edit.members().get(member) == Some("null") {
            edit.remove(member);
        }
    }
    (!edit.is_empty()).then(|| edit.apply())
}

fn capabilities<'a>(raw: &'a str, listing: &Listing) -> Cow<'a, str> {
    let source = if raw.starts_with('{') { raw } else { "{}" };
    let Ok(mut edit) = Edit::of(source) else { return Cow::Borrowed(raw) };
    let offers = |capability: &str| {
        CapabilityKind::ALL
            .into_iter()
            .any(|kind| kind.list_method().starts_with(capability) && listing.of(kind).next().is_some())
    };
    for capability in CAPABILITIES {
        match edit.members().get(capability) {
            Some(value) if value.starts_with('{') => {
                if let Some(text) = without_nulls(value) {
                    edit.set(capability, text);
                }
            }
            Some("null") if !offers(capability) => _ = edit.remove(capability),
            Some(_) => _ = edit.set(capability, "{}"),
            // A server that declares nothing was asked for its tools.
            None if capability == "tools" && offers(capability) => _ = edit.set(capability, "{}"),
            None => {}
        }
    }
    if edit.members().get("experimental").is_some_and(|value| !value.starts_with('{')) {
        edit.remove("experimental");
    }
    if edit.is_empty() && source == raw { Cow::Borrowed(raw) } else { Cow::Owned(edit.apply()) }
}

fn server_info<'a>(raw: &'a str, name: &str) -> Cow<'a, str> {
    let source = if raw.starts_with('{') { raw } else { "{}" };
    let Ok(mut edit) = Edit::of(source) else { return Cow::Borrowed(raw) };
    for (member, value) in [("name", name), ("version", "unknown")] {
        if edit.members().text(member).is_none() {
            edit.set(member, quote(value));
        }
    }
    for member in ["title", "description", "websiteUrl", "icons"] {
        if edit.members().get(member) == Some("null") {
            edit.remove(member);
        }
    }
    if edit.is_empty() { Cow::Borrowed(raw) } else { Cow::Owned(edit.apply()) }
}

/// The object without members that are `null`; `None` if it has none of these.
fn without_nulls(raw: &str) -> Option<String> {
    let members = Members::parse(raw).ok()?;
    let nulls: Vec<_> = members.iter().filter(|(_, value)| *value == "null").collect();
    let mut edit = Edit::of(raw).ok()?;
    for (key, _) in &nulls {
        edit.remove(key);
    }
    (!edit.is_empty()).then(|| edit.apply())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::items::items;

    #[test]
    fn an_introduction_without_a_fault_stays_as_it_is() {
        let good = r#"{ "protocolVersion":"x","capabilities":{"tools":{"listChanged":true},"x":null},"serverInfo":{"name":"n","version":"1"}}"#;
        assert_eq!(mended(good, &Listing::default(), "s"), None);
    }

    #[test]
    fn capabilities_become_objects_and_tools_that_were_found_are_declared() {
        let tool = items(CapabilityKind::Tool, r#"[{"name":"a"}]"#).unwrap().items;
        let listing = Listing { items: tool, ..Listing::default() };
        let info = r#""serverInfo":{"name":"n","version":"1"}"#;
        for (said, expected) in [
            ("[]", r#"{"tools":{}}"#),
            ("null", r#"{"tools":{}}"#),
            ("{}", r#"{"tools":{}}"#),
            (r#"{"tools":[]}"#, r#"{"tools":{}}"#),
            (r#"{"tools":null,"prompts":null,"logging":[]}"#, r#"{"tools":{},"logging":{}}"#),
            (r#"{"tools":{"listChanged":null}}"#, r#"{"tools":{}}"#),
        ] {
            let said = format!(r#"{{"capabilities":{said},{info}}}"#);
            assert_eq!(
                mended(&said, &listing, "s").unwrap(),
                format!(r#"{{"capabilities":{expected},{info}}}"#),
                "{said}"
            );
        }
        let said = mended(r#"{"capabilities":{},"instructions":null}"#, &Listing::default(), "s").unwrap();
        assert_eq!(said, r#"{"capabilities":{},"serverInfo":{"name":"s","version":"unknown"}}"#);
    }
}
