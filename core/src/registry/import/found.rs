//! The entries of a file, whatever its format, with the members that every entry is read by.

use serde_json::{Map, Value, json};

use super::docker;
use super::document::Path;
use super::format::Format;

/// An entry of a file.
#[derive(Debug)]
pub(super) struct Found {
    /// Its name in the file.
    pub(super) name: String,
    /// Where it stands.
    pub(super) path: Path,
    /// The entry in the members of a client's file, or why it cannot be used.
    pub(super) entry: Result<Value, String>,
    /// The outcome for parts of it: one sentence each.
    pub(super) notes: Vec<String>,
}

impl Found {
    pub(super) fn new(name: &str, path: &[&str], entry: Result<Value, String>) -> Self {
        let path = path.iter().map(|step| (*step).into()).collect();
        Self { name: name.to_owned(), path, entry, notes: Vec::new() }
    }

    pub(super) fn noted(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// The entries of a file of `format`. An error says that it is no such file.
pub(super) fn entries(root: &Value, format: Format) -> Result<Vec<Found>, String> {
    let missing = || format!("the file has no {}, as a file of the format `{format}` has", format.member());
    let found = match format {
        Format::VsCode => members(root, &["servers"])
            .or_else(|| members(root, &["mcp", "servers"]))
            .or_else(|| members(root, &["mcp.servers"])),
        Format::Zed => members(root, &["context_servers"]).map(|all| all.into_iter().map(zed).collect()),
        Format::Codex => members(root, &["mcp_servers"]).map(|all| all.into_iter().map(codex).collect()),
        Format::OpenCode => members(root, &["mcp"]),
        Format::Docker => docker::entries(root),
        Format::AgentGateway => {
            let mut all = Vec::new();
            targets(root, &mut all);
            (!all.is_empty()).then_some(all)
        }
        Format::ContextForge => root["entities"]["gateways"]
            .as_array()
            .map(|all| all.iter().enumerate().map(|(at, gateway)| context_forge(at, gateway)).collect()),
        Format::ClaudeCode => claude_code(root),
        Format::Registrations => registrations(root),
        Format::Gemini => members(root, &["mcpServers"]).map(|all| gemini(root, all)),
        // Read elsewhere: it describes one server in its own words.
        Format::ServerJson => None,
        Format::McpServers
        | Format::Claude
        | Format::Cursor
        | Format::Windsurf
        | Format::Cline
        | Format::LibreChat => members(root, &["mcpServers"]),
    };
    found.ok_or_else(missing)
}

/// The members of the object at `path` by name, or the entries of a list there, which name themselves.
fn members(root: &Value, path: &[&str]) -> Option<Vec<Found>> {
    let place = path.iter().try_fold(root, |value, step| value.get(step))?;
    match place {
        Value::Object(all) => {
            // By name, independent of the order that a JSON library keeps, so that the result is the same everywhere.
            let mut all: Vec<_> = all.iter().collect();
            all.sort_by_key(|(name, _)| *name);
            let found = all.into_iter().map(|(name, entry)| {
                let path: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
                Found::new(name, &path, Ok(entry.clone()))
            });
            Some(found.collect())
        }
        Value::Array(all) => {
            let path: Vec<&str> = path.iter().copied().chain(["[]"]).collect();
            let found = all.iter().enumerate().map(|(at, entry)| {
                let mut entry = entry.clone();
                let name = entry.as_object_mut().and_then(|entry| entry.remove("name"));
                let name = name
                    .as_ref()
                    .and_then(Value::as_str)
                    .map_or_else(|| format!("entry-{}", at + 1), str::to_owned);
                Found::new(&name, &path, Ok(entry))
            });
            Some(found.collect())
        }
        _ => None,
    }
}

/// Registrations of this gateway, in a list, under `servers`, or one alone.
fn registrations(root: &Value) -> Option<Vec<Found>> {
    if root.is_array() {
        return members(&json!({ "servers": root }), &["servers"]);
    }
    members(root, &["servers"]).or_else(|| {
        let mut entry = root.as_object()?.clone();
        let name = entry.remove("name")?.as_str()?.to_owned();
        Some(vec![Found::new(&name, &[], Ok(Value::Object(entry)))])
    })
}

/// The servers of the user, and those of each project.
fn claude_code(root: &Value) -> Option<Vec<Found>> {
    let mut all = members(root, &["mcpServers"]).unwrap_or_default();
    let projects = root["projects"].as_object();
    for (folder, project) in projects.into_iter().flatten() {
        let off = |name: &str| {
            let lists = ["disabledMcpServers", "disabledMcpjsonServers"].map(|list| project[list].as_array());
            lists.into_iter().flatten().flatten().any(|listed| listed.as_str() == Some(name))
        };
        for mut found in members(root, &["projects", folder, "mcpServers"]).unwrap_or_default() {
            if all.iter().any(|known| known.name == found.name && known.entry == found.entry) {
                continue;
            }
            if off(&found.name) {
                found.entry = found.entry.map(switched_off);
            }
            let shown: String = folder.chars().take(80).collect();
            all.push(
                found.noted(format!("it belongs to the project {shown:?}, and is served everywhere here")),
            );
        }
    }
    (root.get("mcpServers").is_some() || projects.is_some()).then_some(all)
}

/// The servers of which the settings say that they are not used, switched off.
fn gemini(root: &Value, all: Vec<Found>) -> Vec<Found> {
    let listed = |list: &str, name: &str| {
        let list = root["mcp"][list].as_array();
        list.map(|list| list.iter().any(|one| one.as_str() == Some(name)))
    };
    let off = |name: &str| listed("excluded", name) == Some(true) || listed("allowed", name) == Some(false);
    let switch = |mut found: Found| {
        if off(&found.name) {
            found.entry = found.entry.map(switched_off);
        }
        found
    };
    all.into_iter().map(switch).collect()
}

fn switched_off(mut entry: Value) -> Value {
    if let Some(entry) = entry.as_object_mut() {
        entry.remove("enabled");
        entry.insert("disabled".into(), true.into());
    }
    entry
}

/// `command` may be an object with the path; a server of an extension has neither command nor URL.
fn zed(mut found: Found) -> Found {
    found.entry = found.entry.map(|mut entry| {
        let Some(members) = entry.as_object_mut() else { return entry };
        members.remove("source");
        if members.get("command").is_some_and(Value::is_object)
            && let Some(Value::Object(command)) = members.remove("command")
        {
            for (member, value) in command {
                members.entry(if member == "path" { "command".into() } else { member }).or_insert(value);
            }
        }
        entry
    });
    found
}

/// Tokens and variables are named, not written.
fn codex(mut found: Found) -> Found {
    found.entry = found.entry.map(|mut entry| {
        let Some(members) = entry.as_object_mut() else { return entry };
        let variable = |name: &Value| name.as_str().map(|name| format!("${{{name}}}"));
        if let Some(token) = members.remove("bearer_token_env_var").as_ref().and_then(variable) {
            put(members, "http_headers", "Authorization", format!("Bearer {token}"));
        }
        if let Some(Value::Object(headers)) = members.remove("env_http_headers") {
            for (header, name) in &headers {
                if let Some(value) = variable(name) {
                    put(members, "http_headers", header, value);
                }
            }
        }
        if let Some(Value::Array(names)) = members.remove("env_vars") {
            for name in &names {
                if let (Some(name), Some(value)) = (name.as_str(), variable(name)) {
                    put(members, "env", name, value);
                }
            }
        }
        entry
    });
    found
}

fn put(members: &mut Map<String, Value>, object: &str, member: &str, value: String) {
    let object = members.entry(object).or_insert_with(|| json!({}));
    if let Some(object) = object.as_object_mut() {
        object.entry(member).or_insert_with(|| value.into());
    }
}

/// Every target of an MCP backend, wherever it stands.
fn targets(value: &Value, all: &mut Vec<Found>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| targets(value, all)),
        Value::Object(members) => {
            for (member, value) in members {
                let own = match (member.as_str(), value) {
                    ("targets", Value::Array(list)) => Some(list),
                    // The form before version 0.6.
                    ("targets", Value::Object(kinds)) => kinds.get("mcp").and_then(Value::as_array),
                    _ => None,
                };
                match own {
                    Some(list) => {
                        let before = all.len();
                        all.extend(list.iter().enumerate().map(|(at, one)| target(before + at, one)));
                    }
                    None => targets(value, all),
                }
            }
        }
        _ => {}
    }
}

fn target(before: usize, target: &Value) -> Found {
    let name = target["name"].as_str().map_or_else(|| format!("target-{}", before + 1), str::to_owned);
    let remote = |kind: &str, place: &Value| match address(place) {
        Some(url) => Ok(json!({ "type": kind, "url": url })),
        None => Err(format!("its `{kind}` target has no `host`")),
    };
    let entry = if let Some(program) = target.get("stdio") {
        Ok(json!({ "command": program["cmd"], "args": program["args"], "env": program["env"] }))
    } else if let Some(place) = target.get("mcp") {
        remote("http", place)
    } else if let Some(place) = target.get("sse") {
        remote("sse", place)
    } else if target.get("openapi").is_some() {
        Err("an `openapi` target is no MCP server".to_owned())
    } else {
        Err("it has none of `stdio`, `mcp` and `sse`".to_owned())
    };
    let found = Found::new(&name, &["targets", "[]"], entry);
    if target.get("policies").is_some() || target["mcp"].get("policies").is_some() {
        return found
            .noted("its `policies` were passed over; set credentials with `mcp-gateway credentials set`");
    }
    found
}

/// The URL of a target: `host` is one, or goes with `port` and `path`.
fn address(place: &Value) -> Option<String> {
    let host = place["host"].as_str()?;
    if host.contains("://") {
        return Some(host.to_owned());
    }
    let port = place["port"].as_u64().map_or_else(String::new, |port| format!(":{port}"));
    let scheme = if port == ":443" { "https" } else { "http" };
    let path = place["path"].as_str().unwrap_or("/mcp");
    Some(format!("{scheme}://{host}{port}{path}"))
}

/// A peer, whose credential is sealed with the exporting gateway's own key.
fn context_forge(at: usize, gateway: &Value) -> Found {
    let name = gateway["name"].as_str().map_or_else(|| format!("gateway-{}", at + 1), str::to_owned);
    let mut entry = Map::new();
    for member in ["url", "transport", "description", "tags", "is_active", "enabled"] {
        if let Some(value) = gateway.get(member) {
            entry.insert(member.to_owned(), value.clone());
        }
    }
    if entry.contains_key("is_active") {
        entry.remove("enabled");
    }
    // Tags are texts, or objects with an id and a label.
    if let Some(Value::Array(tags)) = entry.get_mut("tags") {
        let text = |tag: &Value| tag["id"].as_str().or(tag["label"].as_str()).map(Value::from);
        for tag in tags {
            *tag = text(tag).unwrap_or_else(|| tag.take());
        }
    }
    let found = Found::new(&name, &["entities", "gateways", "[]"], Ok(Value::Object(entry)));
    if gateway["auth_value"].is_null() {
        return found;
    }
    found.noted("its credential is sealed with the key of the exporting gateway; set it with `mcp-gateway credentials set`")
}
