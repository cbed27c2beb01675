//! The reference names every setting that there is: of the configuration file, and of a registered server.

use std::collections::BTreeSet;

use mcp_registry_gateway::config::Config;
use mcp_registry_gateway::server;
use serde_json::Value;

/// Every key of `mcp-gateway.toml`, dotted.
fn keys_of_the_file() -> BTreeSet<String> {
    let defaults = serde_json::to_value(Config::default()).expect("the defaults");
    let mut keys = BTreeSet::new();
    for (section, value) in defaults.as_object().expect("sections") {
        match value {
            Value::Object(entries) => keys.extend(entries.keys().map(|key| format!("{section}.{key}"))),
            _ => drop(keys.insert(section.clone())),
        }
    }
    keys
}

/// Every member of a registration, dotted; those with members of their own by these.
fn members_of_a_server() -> BTreeSet<String> {
    let document = serde_json::to_value(server::document()).expect("the document");
    let members = |schema: &str| -> Vec<String> {
        let properties = &document["components"]["schemas"][schema]["properties"];
        properties.as_object().expect(schema).keys().cloned().collect()
    };
    let mut all: BTreeSet<String> = members("Registration").into_iter().collect();
    for (member, schema) in [("health_check", "HealthCheck"), ("configuration", "Configuration")] {
        assert!(all.remove(member), "a registration has `{member}`");
        all.extend(members(schema).into_iter().map(|inner| format!("{member}.{inner}")));
    }
    all
}

/// The keys that do not stand in a table's first column.
pub(super) fn missing(page: &str) -> Vec<String> {
    let first = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let named: BTreeSet<&str> = first.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let keys = keys_of_the_file().into_iter().chain(members_of_a_server());
    let is_named = |key: &str| {
        let inside = format!("{key}.");
        named.contains(key) || named.iter().any(|name| name.starts_with(&inside))
    };
    keys.filter(|key| !is_named(key)).collect()
}
