//! Repair of the schemas of a tool. The meaning of a schema is never changed: a keyword whose value is `null` says nothing, an
//! empty list where a keyword wants an object is an empty object, and the arguments of a tool are an object whether its schema
//! says so or not.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::rpc::envelope::quote;
use crate::rpc::{Edit, object};

/// Deeper schemas are left as they are; the rules for schemas leave their tools out.
const MAX_DEPTH: usize = 64;

/// Keywords whose values are objects with schemas, or lists, under names that the author chose.
const MAPS: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependentRequired"];
/// Keywords whose value is one schema.
const SCHEMAS: [&str; 12] = [
    "additionalProperties",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
    "additionalItems",
    "contains",
    "contentSchema",
    "not",
    "if",
    "then",
    "else",
    "items",
];
/// Keywords whose value is a list of schemas.
const LISTS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
/// The other keywords whose value is never `null`.
const OTHERS: [&str; 37] = [
    "type",
    "required",
    "enum",
    "title",
    "description",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "dependencies",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "nullable",
    "contentEncoding",
    "contentMediaType",
    "$schema",
    "$id",
    "$ref",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$comment",
    "$vocabulary",
];
/// The types of JSON Schema.
const TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];

/// Whether a raw value is a list without items.
pub(super) fn is_empty_list(value: &str) -> bool {
    let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.trim().is_empty())
}

fn is_empty_object(value: &str) -> bool {
    let inner = value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| inner.trim().is_empty())
}

/// Repairs the schemas of a tool. An output schema that no client could use is dropped: it describes the result, and the tool
/// works without.
///
/// Errors: the reason why the tool cannot be used.
pub(super) fn tool(edit: &mut Edit<'_>, changed: &mut Vec<String>) -> Result<(), String> {
    let input = edit.members().get("inputSchema").unwrap_or("null");
    if input == "null" || is_empty_list(input) || is_empty_object(input) {
        edit.set("inputSchema", r#"{"type":"object"}"#);
        changed.push("inputSchema".to_owned());
    } else if !input.starts_with('{') {
        return Err("its `inputSchema` is not an object".to_owned());
    } else {
        let mut walk = Walk { changed };
        let mended = walk.schema(input, "inputSchema", true, 1);
        let mended = mended.map_err(|problem| format!("its `inputSchema` cannot be used: {problem}"))?;
        if let Some(text) = mended {
            edit.set("inputSchema", text);
        }
    }
    let Some(output) = edit.members().get("outputSchema") else { return Ok(()) };
    let mut inner = Vec::new();
    let usable = output.starts_with('{') && !is_empty_object(output);
    let mended = if usable {
        Walk { changed: &mut inner }.schema(output, "outputSchema", true, 1)
    } else {
        Err(String::new())
    };
    match mended {
        Ok(mended) if is_valid_text(mended.as_deref().unwrap_or(output)) => {
            changed.extend(inner);
            if let Some(text) = mended {
                edit.set("outputSchema", text);
            }
        }
        _ => {
            edit.remove("outputSchema");
            changed.push("outputSchema".to_owned());
        }
    }
    Ok(())
}

struct Walk<'c> {
    changed: &'c mut Vec<String>,
}

impl Walk<'_> {
    /// The repaired schema; `None` if it needs no repair.
    fn schema(&mut self, raw: &str, path: &str, root: bool, depth: usize) -> Result<Option<String>, String> {
        if depth > MAX_DEPTH {
            return Ok(None);
        }
        let mut edit = Edit::of(raw).map_err(|error| error.message().to_owned())?;
        let members: Vec<(String, &str)> =
            edit.members().iter().map(|(key, value)| (key.to_owned(), value)).collect();
        for (key, value) in &members {
            let (key, at) = (key.as_str(), || format!("{path}.{key}"));
            if root && key == "type" {
                continue;
            }
            let keyword = OTHERS.contains(&key) || MAPS.contains(&key);
            if *value == "null" && (keyword || SCHEMAS.contains(&key) || LISTS.contains(&key)) {
                edit.remove(key);
                self.changed.push(at());
                continue;
            }
            let mended = if MAPS.contains(&key) {
                self.map(value, &at(), root && key == "properties", depth)?
            } else if SCHEMAS.contains(&key) && value.starts_with('{') {
                self.schema(value, &at(), false, depth + 1)?
            } else if LISTS.contains(&key) || key == "items" {
                self.list(value, &at(), depth)?
            } else if SCHEMAS.contains(&key) && is_empty_list(value) {
                self.changed.push(at());
                Some("{}".to_owned())
            } else {
                None
            };
            if let Some(text) = mended {
                edit.set(key, text);
            }
        }
        if root {
            self.root(&mut edit, &members, path)?;
        }
        Ok((!edit.is_empty()).then(|| edit.apply()))
    }

    /// The rules for the outermost schema: clients want an object, and a list of names under `required`.
    fn root(&mut self, edit: &mut Edit<'_>, members: &[(String, &str)], path: &str) -> Result<(), String> {
        let get = |key: &str| members.iter().find(|(name, _)| name == key).map(|(_, value)| *value);
        let told = |value: &str| value.chars().take(40).collect::<String>();
        match get("type") {
            Some(r#""object""#) => {}
            Some(value) if object::text(value).as_deref() == Some("object") => {}
            None | Some("null") => {
                edit.set("type", r#""object""#);
                self.changed.push(format!("{path}.type"));
            }
            Some(value)
                if serde_json::from_str(value)
                    .is_ok_and(|all: Vec<Value>| all.contains(&"object".into())) =>
            {
                edit.set("type", r#""object""#);
                self.changed.push(format!("{path}.type"));
            }
            Some(value) => return Err(format!("its `type` is {}, not \"object\"", told(value))),
        }
        match get("required") {
            None | Some("null") => {}
            Some(value) if serde_json::from_str::<Vec<String>>(value).is_ok() => {}
            Some(value) if value == "false" || is_empty_object(value) => {
                edit.remove("required");
                self.changed.push(format!("{path}.required"));
            }
            Some(value) => return Err(format!("its `required` is {}, not a list of names", told(value))),
        }
        match get("properties") {
            Some(value) if value != "null" && !value.starts_with('{') && !is_empty_list(value) => {
                Err(format!("its `properties` is {}, not an object", told(value)))
            }
            _ => Ok(()),
        }
    }

    /// An object with schemas under any names. Clients want objects for the properties of the outermost schema.
    fn map(&mut self, raw: &str, path: &str, strict: bool, depth: usize) -> Result<Option<String>, String> {
        if is_empty_list(raw) {
            self.changed.push(path.to_owned());
            return Ok(Some("{}".to_owned()));
        }
        if !raw.starts_with('{') {
            return Ok(None);
        }
        let mut edit = Edit::of(raw).map_err(|error| error.message().to_owned())?;
        let members: Vec<(String, &str)> =
            edit.members().iter().map(|(key, value)| (key.to_owned(), value)).collect();
        // The lists of `dependentRequired` are names.
        let lists_names = path.ends_with(".dependentRequired");
        for (key, value) in members {
            let at = format!("{path}.{key}");
            let mended = match value {
                _ if value.starts_with('{') => self.schema(value, &at, false, depth + 1)?,
                "null" => Some("{}".to_owned()),
                _ if is_empty_list(value) && !lists_names => Some("{}".to_owned()),
                "true" if strict => Some("{}".to_owned()),
                "false" if strict => Some(r#"{"not":{}}"#.to_owned()),
                _ if strict && !value.starts_with('[') => {
                    return Err(format!("its property {} is not a schema", quote(&key)));
                }
                _ => None,
            };
            if let Some(text) = mended {
                if !value.starts_with('{') {
                    self.changed.push(at);
                }
                edit.set(&key, text);
            }
        }
        Ok((!edit.is_empty()).then(|| edit.apply()))
    }

    /// A schema, or a list of schemas.
    fn list(&mut self, raw: &str, path: &str, depth: usize) -> Result<Option<String>, String> {
        if raw.starts_with('{') {
            return self.schema(raw, path, false, depth + 1);
        }
        let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(raw) else { return Ok(None) };
        let (mut all, mut changes) = (Vec::with_capacity(list.len()), false);
        for (place, one) in list.iter().enumerate() {
            let mended = if one.get().starts_with('{') {
                self.schema(one.get(), &format!("{path}.{place}"), false, depth + 1)?
            } else {
                None
            };
            changes |= mended.is_some();
            all.push(mended.map_or(Cow::Borrowed(one.get()), Cow::Owned));
        }
        Ok(changes.then(|| format!("[{}]", all.join(","))))
    }
}

/// Whether a client can make a validator of this schema: the official client for TypeScript does so for each output schema of
/// a list, and drops the list if one fails.
fn is_valid_text(raw: &str) -> bool {
    serde_json::from_str::<Value>(raw).is_ok_and(|schema| is_valid(&schema, &schema, 1))
}

fn is_valid(schema: &Value, root: &Value, depth: usize) -> bool {
    let members = match schema {
        Value::Bool(_) => return true,
        Value::Object(members) if depth <= MAX_DEPTH => members,
        _ => return false,
    };
    let valid = |one: &Value| is_valid(one, root, depth + 1);
    members.iter().all(|(key, value)| match key.as_str() {
        "type" => match value {
            Value::Array(all) => !all.is_empty() && all.iter().all(is_type),
            one => is_type(one),
        },
        "required" => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
        "enum" => value.as_array().is_some_and(|all| !all.is_empty()),
        "$ref" => value.as_str().is_some_and(|target| resolves(target, root)),
        "$schema" | "$id" | "$anchor" | "pattern" | "format" | "title" | "description" | "$comment" => {
            value.is_string()
        }
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => value.is_number(),
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties"
        | "minContains" | "maxContains" => value.is_u64(),
        "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" => value.is_boolean(),
        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
            value.as_object().is_some_and(|all| all.values().all(valid))
        }
        "anyOf" | "oneOf" | "allOf" | "prefixItems" => {
            value.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(valid))
        }
        "items" => match value {
            Value::Array(all) => all.iter().all(valid),
            one => valid(one),
        },
        key if SCHEMAS.contains(&key) => valid(value),
        _ => true,
    })
}

fn is_type(value: &Value) -> bool {
    value.as_str().is_some_and(|name| TYPES.contains(&name))
}

/// Whether a reference into the schema itself has a target. Others are judged by the rules for schemas.
fn resolves(target: &str, root: &Value) -> bool {
    match target.strip_prefix("#/") {
        Some(pointer) => {
            // A name with escapes of URLs is not looked for.
            pointer.contains('%') || root.pointer(&format!("/{pointer}")).is_some()
        }
        None => true,
    }
}
