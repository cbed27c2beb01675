//! Every setting with its type, its default and its meaning, for the pages of reference.
//!
//! The meaning is the documentation of the field itself, so that it is written once: the derived schema carries it here.

use serde::Serialize;
use serde_json::Value;
use utoipa::PartialSchema;

use super::sections::{Config, Health, Log, Server, Session, Store, Tls, Upstream};
use super::source::PREFIX;
use crate::auth::jwt::Issuer;
use crate::auth::{Access, Auth, access, vault};
use crate::model::server::HealthCheck;
use crate::model::{Configuration, Registration};
use crate::observe::AuditSettings;
use crate::transport::guard::{Outbound, Stdio};
use crate::{breaker, limit};

/// One key of the configuration file, or one member of a table in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// The key, dotted.
    pub key: String,
    /// The environment variable with the same meaning; `None` for keys that only the file has.
    pub variable: Option<String>,
    /// The type in words.
    pub kind: String,
    /// The default; `None` where nothing is set.
    pub default: Option<Value>,
    /// One paragraph.
    pub meaning: String,
}

/// Settings that stand together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Section {
    /// The table as it is written in the file.
    pub table: &'static str,
    /// Its settings, by key.
    pub settings: Vec<Setting>,
}

/// Every section of the configuration file, then the tables of which there may be several.
pub fn sections() -> Vec<Section> {
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut all: Vec<Section> = [
        section::<Server>("[server]", &defaults),
        section::<Tls>("[server.tls]", &defaults),
        section::<Auth>("[auth]", &defaults),
        section::<Session>("[session]", &defaults),
        section::<Upstream>("[upstream]", &defaults),
        section::<Store>("[store]", &defaults),
        section::<Log>("[log]", &defaults),
        section::<Health>("[health]", &defaults),
        section::<breaker::Settings>("[breaker]", &defaults),
        section::<limit::Settings>("[limits]", &defaults),
        section::<AuditSettings>("[audit]", &defaults),
        section::<Access>("[access]", &defaults),
        section::<Outbound>("[outbound]", &defaults),
        section::<vault::Credentials>("[credentials]", &defaults),
        section::<Stdio>("[stdio]", &defaults),
    ]
    .into();
    // The certificate has a section of its own.
    all[0].settings.retain(|setting| setting.key != "server.tls");
    all.push(Section { table: "Keys outside of sections", settings: top_level() });
    all.push(Section {
        table: "[[auth.issuers]]",
        settings: members::<Issuer>("", &serde_json::to_value(Issuer::default()).unwrap_or_default()),
    });
    all.push(Section { table: "[[access.rules]]", settings: members::<access::Rule>("", &Value::Null) });
    all.push(Section { table: "[[servers]]", settings: of_a_server() });
    all
}

fn top_level() -> Vec<Setting> {
    let setting = |key: &str, variable: Option<String>, kind: &str, meaning: &str| Setting {
        key: key.into(),
        variable,
        kind: kind.into(),
        default: None,
        meaning: meaning.into(),
    };
    vec![
        setting(
            "import",
            Some(format!("{PREFIX}IMPORT")),
            "text",
            "A file of an MCP client or of another gateway, whose servers are registered, too. `${VAR}` in it stands for a variable of the process that reads it.",
        ),
        setting(
            "servers",
            None,
            "tables",
            "Servers that are registered at the start: `[[servers]]` or `[servers.NAME]`, with the members of a registration below.",
        ),
    ]
}

/// The members of a registration; those with members of their own by these.
fn of_a_server() -> Vec<Setting> {
    let mut all = members::<Registration>("", &Value::Null);
    all.retain(|setting| !["health_check", "configuration"].contains(&setting.key.as_str()));
    let probing = serde_json::to_value(HealthCheck::default()).unwrap_or_default();
    all.extend(members::<HealthCheck>("health_check.", &probing));
    let calling = serde_json::to_value(Configuration::default()).unwrap_or_default();
    all.extend(members::<Configuration>("configuration.", &calling));
    all
}

fn section<T: PartialSchema>(table: &'static str, defaults: &Value) -> Section {
    let name = table.trim_matches(['[', ']']);
    let own = name.split('.').fold(defaults, |value, part| &value[part]);
    let mut settings = members::<T>(&format!("{name}."), own);
    for setting in &mut settings {
        if setting.kind != "tables" {
            setting.variable = Some(format!("{PREFIX}{}", setting.key.replace('.', "__").to_uppercase()));
        }
    }
    Section { table, settings }
}

fn members<T: PartialSchema>(prefix: &str, defaults: &Value) -> Vec<Setting> {
    let schema = serde_json::to_value(T::schema()).unwrap_or_default();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let setting = |(name, schema): (&String, &Value)| Setting {
        key: format!("{prefix}{name}"),
        variable: None,
        kind: kind(schema),
        default: defaults.get(name).filter(|value| !is_nothing(value)).cloned(),
        meaning: meaning(schema),
    };
    properties.map(setting).collect()
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// The type that a schema describes, in a word.
fn kind(schema: &Value) -> String {
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect(),
        _ => Vec::new(),
    };
    let word = match types.first() {
        Some(&"boolean") => "`true` or `false`",
        Some(&"integer") => "whole number",
        Some(&"number") => "number",
        Some(&"string") => "text",
        Some(&"array") if schema["items"]["type"] == "string" => "texts",
        Some(&"array") if schema["items"]["type"] == "integer" => "whole numbers",
        Some(&"array") => "tables",
        Some(&"object") => "table",
        // A reference to another schema: one of its words, which the meaning lists.
        _ => "word",
    };
    word.to_owned()
}

/// The description of a schema, also of one that refers to another, on one line.
fn meaning(schema: &Value) -> String {
    let nested = ["oneOf", "allOf", "anyOf"].iter().filter_map(|key| schema[key].as_array()).flatten();
    let own = std::iter::once(schema).chain(nested);
    let text = own.filter_map(|schema| schema["description"].as_str()).next_back().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_setting_has_a_meaning_and_every_key_of_the_file_is_a_setting() {
        let all = sections();
        for setting in all.iter().flat_map(|section| &section.settings) {
            assert!(setting.meaning.ends_with(['.', ')', '}', '`']), "{setting:?}");
        }
        let keys: BTreeSet<_> =
            all.iter().flat_map(|section| &section.settings).map(|setting| setting.key.as_str()).collect();
        let defaults = serde_json::to_value(Config::default()).unwrap();
        for (section, value) in defaults.as_object().unwrap() {
            for key in value.as_object().into_iter().flatten().map(|(key, _)| format!("{section}.{key}")) {
                let inside = format!("{key}.");
                assert!(keys.iter().any(|known| *known == key || known.starts_with(&inside)), "{key}");
            }
        }
    }
}
