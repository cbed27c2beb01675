//! Repair of single items: an item whose faults change nothing of its meaning is served in a form that clients can read.
//!
//! Clients read a list with strict schemas, and drop all of it for one item that they cannot read. Members that only decorate
//! are dropped where they have another type than they must; a list without items, in the place of an object, becomes `{}`, as
//! serializers that know only one kind of empty container write it. An item is left out where that does not help. An item
//! without such a fault stays byte for byte as it came.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::schema_repair::{self, is_empty_list};
use crate::model::CapabilityKind;
use crate::rpc::envelope::quote;
use crate::rpc::meta::REPAIRED;
use crate::rpc::{Edit, Members, object, twice};

/// The form that a member must have.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Boolean,
    Integer,
    /// A number from 0 to 1.
    Share,
    Time,
    Roles,
    Texts,
    /// One of these texts.
    Word(&'static [&'static str]),
    Object,
    /// An object, some members of which have a form.
    Of(&'static [(&'static str, Form)]),
    /// A list of objects that must have a text member of this name; others are dropped.
    Each(&'static str, &'static [(&'static str, Form)]),
}

const ICON: &[(&str, Form)] =
    &[("mimeType", Form::Text), ("sizes", Form::Texts), ("theme", Form::Word(&["light", "dark"]))];
const COMMON: &[(&str, Form)] = &[
    ("title", Form::Text),
    ("description", Form::Text),
    ("icons", Form::Each("src", ICON)),
    ("_meta", Form::Object),
];
const TOOL: &[(&str, Form)] = &[
    (
        "annotations",
        Form::Of(&[
            ("title", Form::Text),
            ("readOnlyHint", Form::Boolean),
            ("destructiveHint", Form::Boolean),
            ("idempotentHint", Form::Boolean),
            ("openWorldHint", Form::Boolean),
        ]),
    ),
    ("execution", Form::Of(&[("taskSupport", Form::Word(&["required", "optional", "forbidden"]))])),
];
const RESOURCE: &[(&str, Form)] = &[
    ("mimeType", Form::Text),
    ("size", Form::Integer),
    (
        "annotations",
        Form::Of(&[("audience", Form::Roles), ("priority", Form::Share), ("lastModified", Form::Time)]),
    ),
];
const ARGUMENT: &[(&str, Form)] =
    &[("title", Form::Text), ("description", Form::Text), ("required", Form::Boolean)];

/// The repair of a member.
enum Mend {
    Fine,
    Drop,
    Set(String),
}

/// An item as clients get it, and the members of it that were repaired.
pub(super) struct Mended<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) members: Vec<String>,
}

/// The definition `raw` of an item as clients get it.
///
/// Errors: the reason why the item cannot be used.
pub(super) fn mended(kind: CapabilityKind, raw: &str) -> Result<Mended<'_>, String> {
    if let Some(key) = twice::key_twice(raw) {
        let shown: String = key.chars().take(40).collect();
        return Err(format!("the key {shown:?} stands twice in one object"));
    }
    let mut edit = Edit::of(raw).map_err(|error| error.message().to_owned())?;
    let mut changed = Vec::new();
    let own = match kind {
        CapabilityKind::Tool => TOOL,
        CapabilityKind::Resource | CapabilityKind::ResourceTemplate => RESOURCE,
        CapabilityKind::Prompt => &[],
    };
    let mut meta = None;
    for (member, form) in COMMON.iter().chain(own) {
        let Some(value) = edit.members().get(member) else { continue };
        match mend(value, *form) {
            Mend::Fine => continue,
            // The mark is put there.
            Mend::Drop if *member == "_meta" => meta = Some("{}".to_owned()),
            Mend::Set(text) if *member == "_meta" => meta = Some(text),
            Mend::Drop => _ = edit.remove(member),
            Mend::Set(text) => _ = edit.set(member, text),
        }
        changed.push((*member).to_owned());
    }
    match kind {
        CapabilityKind::Tool => schema_repair::tool(&mut edit, &mut changed)?,
        CapabilityKind::Prompt => arguments(&mut edit, &mut changed)?,
        CapabilityKind::Resource | CapabilityKind::ResourceTemplate => name(kind, &mut edit, &mut changed),
    }
    if changed.is_empty() {
        return Ok(Mended { text: Cow::Borrowed(raw), members: changed });
    }
    let meta = meta.unwrap_or_else(|| edit.members().get("_meta").unwrap_or("{}").to_owned());
    let names: Vec<_> = changed.iter().map(|member| quote(member)).collect();
    edit.set("_meta", with(&meta, REPAIRED, &format!("[{}]", names.join(","))));
    Ok(Mended { text: Cow::Owned(edit.apply()), members: changed })
}

/// The object `raw` with this member.
pub(crate) fn with(raw: &str, key: &str, value: &str) -> String {
    let edited = Edit::of(raw).map(|mut edit| {
        edit.set(key, value);
        edit.apply()
    });
    edited.unwrap_or_else(|_| format!("{{{}:{value}}}", quote(key)))
}

fn mend(value: &str, form: Form) -> Mend {
    let is = |fine: bool| if fine { Mend::Fine } else { Mend::Drop };
    match form {
        Form::Text => is(value.starts_with('"')),
        Form::Boolean => is(matches!(value, "true" | "false")),
        Form::Integer => is(value.parse::<i64>().is_ok()),
        Form::Share => is(value.parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number))),
        Form::Time => is(object::text(value).is_some_and(|text| is_time(&text))),
        Form::Word(words) => is(object::text(value).is_some_and(|text| words.contains(&&*text))),
        Form::Texts => is(texts(value).is_some()),
        Form::Roles => {
            is(texts(value).is_some_and(|all| all.iter().all(|one| one == "user" || one == "assistant")))
        }
        Form::Object | Form::Of(_) if is_empty_list(value) => Mend::Set("{}".to_owned()),
        Form::Object => is(value.starts_with('{')),
        Form::Of(forms) => inner(value, forms),
        Form::Each(key, forms) => {
            let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(value) else { return Mend::Drop };
            each(&list, key, forms)
        }
    }
}

/// Repairs the members of an object.
fn inner(value: &str, forms: &[(&str, Form)]) -> Mend {
    let Ok(mut edit) = Edit::of(value) else { return Mend::Drop };
    for (member, form) in forms {
        let Some(value) = edit.members().get(member) else { continue };
        match mend(value, *form) {
            Mend::Fine => {}
            Mend::Drop => _ = edit.remove(member),
            Mend::Set(text) => _ = edit.set(member, text),
        }
    }
    if edit.is_empty() { Mend::Fine } else { Mend::Set(edit.apply()) }
}

/// Repairs each object of a list, and leaves out what cannot be used.
fn each(list: &[&RawValue], key: &str, forms: &[(&str, Form)]) -> Mend {
    let (mut kept, mut changed) = (Vec::with_capacity(list.len()), false);
    for one in list {
        let usable = Members::parse(one.get()).is_ok_and(|members| members.text(key).is_some());
        match inner(one.get(), forms) {
            Mend::Fine if usable => kept.push(Cow::Borrowed(one.get())),
            Mend::Set(text) if usable => {
                changed = true;
                kept.push(Cow::Owned(text));
            }
            _ => changed = true,
        }
    }
    if changed { Mend::Set(format!("[{}]", kept.join(","))) } else { Mend::Fine }
}

/// The arguments of a prompt: one without a name could never be given, so that the prompt cannot be used.
fn arguments(edit: &mut Edit<'_>, changed: &mut Vec<String>) -> Result<(), String> {
    let Some(value) = edit.members().get("arguments") else { return Ok(()) };
    if value == "null" || Members::parse(value).is_ok_and(|members| members.iter().next().is_none()) {
        edit.remove("arguments");
        changed.push("arguments".to_owned());
        return Ok(());
    }
    let list: Vec<&RawValue> =
        serde_json::from_str(value).map_err(|_| "its `arguments` are not a list".to_owned())?;
    let nameless =
        |one: &&RawValue| !Members::parse(one.get()).is_ok_and(|members| members.text("name").is_some());
    if list.iter().any(nameless) {
        return Err("one of its `arguments` has no `name`".to_owned());
    }
    if let Mend::Set(text) = each(&list, "name", ARGUMENT) {
        edit.set("arguments", text);
        changed.push("arguments".to_owned());
    }
    Ok(())
}

/// The name of a resource is for people: one that has none is called by its title or its URI.
fn name(kind: CapabilityKind, edit: &mut Edit<'_>, changed: &mut Vec<String>) {
    if edit.members().text("name").is_some() {
        return;
    }
    let title = edit.members().text("title").or_else(|| edit.members().text(kind.key()));
    if let Some(title) = title.map(Cow::into_owned) {
        edit.set("name", quote(&title));
        changed.push("name".to_owned());
    }
}

fn texts(value: &str) -> Option<Vec<String>> {
    serde_json::from_str(value).ok()
}

/// Whether a text is a time as clients want it: `2026-01-31T12:00:00Z`, or with an offset.
fn is_time(text: &str) -> bool {
    text.as_bytes().get(10) == Some(&b'T')
        && (text.ends_with('Z') || matches!(text.as_bytes().iter().rev().nth(5), Some(b'+' | b'-')))
        && text.parse::<jiff::Timestamp>().is_ok()
}
