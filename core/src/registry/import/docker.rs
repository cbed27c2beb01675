//! Docker's MCP Toolkit: catalogs, which describe servers, and profiles, which choose some and configure them.

use serde_json::{Map, Value, json};

use super::found::Found;

/// `{{…}}` in one text at most.
const MAX_PLACEHOLDERS: usize = 8;
/// Texts at most that one becomes.
const MAX_FILLED: usize = 256;

/// The servers of a catalog or of a profile; `None` if it is neither.
pub(super) fn entries(root: &Value) -> Option<Vec<Found>> {
    if let Some(registry) = root["registry"].as_object() {
        let mut all: Vec<_> = registry.iter().collect();
        all.sort_by_key(|(name, _)| *name);
        let found = all.into_iter().map(|(name, server)| {
            let entry = described(name, server, &Value::Null);
            found(name, &["registry", name], server, entry)
        });
        return Some(found.collect());
    }
    let chosen = root["servers"].as_array()?.iter().map(|chosen| {
        let server = &chosen["snapshot"]["server"];
        let image = chosen["image"].as_str().or(server["image"].as_str());
        let source = chosen["source"].as_str().or(chosen["endpoint"].as_str()).unwrap_or("server");
        let name = server["name"].as_str().map_or_else(|| last_part(image.unwrap_or(source)), str::to_owned);
        let mut server = server.as_object().cloned().unwrap_or_default();
        for (member, given) in [("image", "image"), ("sseEndpoint", "sse")] {
            if let Some(value) = chosen.get(given) {
                server.insert(member.to_owned(), value.clone());
            }
        }
        if let Some(endpoint) = chosen.get("endpoint") {
            let remote = server.entry("remote").or_insert_with(|| json!({}));
            remote["url"] = endpoint.clone();
        }
        let server = Value::Object(server);
        let entry = if chosen["type"] == "registry" && server["image"].is_null() {
            Err("it names an entry of a registry; give its `server.json` to `mcp-gateway register --server-json`".to_owned())
        } else {
            described(&name, &server, &chosen["config"])
        };
        found(&name, &["servers", "[]"], &server, entry)
    });
    Some(chosen.collect())
}

fn found(name: &str, path: &[&str], server: &Value, entry: Result<Value, String>) -> Found {
    let found = Found::new(name, path, entry);
    match server["oauth"]["providers"].as_array() {
        Some(providers) if !providers.is_empty() => {
            found.noted("it wants OAuth: let the gateway in with `mcp-gateway credentials login`")
        }
        _ => found,
    }
}

/// The name of an image or an address, without its folder, tag and digest.
fn last_part(text: &str) -> String {
    let bare = text.split('@').next().unwrap_or(text);
    let last = bare.trim_end_matches('/').rsplit('/').next().unwrap_or(bare);
    last.split(':').next().unwrap_or(last).to_owned()
}

/// A server of a catalog in the members of a client's file.
fn described(name: &str, server: &Value, config: &Value) -> Result<Value, String> {
    let mut entry = Map::new();
    for member in ["description", "title"] {
        if let Some(text) = server.get(member) {
            entry.insert(member.to_owned(), text.clone());
        }
    }
    let remote = &server["remote"];
    if let Some(url) = remote["url"].as_str().or(server["sseEndpoint"].as_str()) {
        let kind =
            if remote["url"].is_null() { "sse" } else { remote["transport_type"].as_str().unwrap_or("http") };
        entry.insert("url".into(), url.into());
        entry.insert("type".into(), kind.into());
        entry.insert("headers".into(), remote["headers"].clone());
        return Ok(Value::Object(entry));
    }
    if server["type"] == "poci" {
        return Err("its tools are containers that run once, and no MCP server".into());
    }
    let Some(image) = server["image"].as_str() else {
        return Err(
            "it names neither an image nor a remote server; import the catalog that describes it".into()
        );
    };
    let (args, env) = run(name, image, server, config)?;
    entry.insert("command".into(), "docker".into());
    entry.insert("args".into(), args.into());
    entry.insert("env".into(), Value::Object(env));
    Ok(Value::Object(entry))
}

/// The arguments of `docker` and its environment: a secret is handed on by its name, so that no argument shows it.
fn run(
    name: &str,
    image: &str,
    server: &Value,
    config: &Value,
) -> Result<(Vec<String>, Map<String, Value>), String> {
    let mut args: Vec<String> = ["run", "-i", "--rm", "--init"].map(str::to_owned).into();
    let mut env = Map::new();
    let filled = |text: &str| fill(name, text, config);
    for secret in server["secrets"].as_array().into_iter().flatten() {
        if let Some(variable) = secret["env"].as_str() {
            args.extend(["-e".to_owned(), variable.to_owned()]);
            env.insert(variable.to_owned(), format!("${{{variable}}}").into());
        }
    }
    for variable in server["env"].as_array().into_iter().flatten() {
        if let (Some(variable), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) {
            args.extend(["-e".to_owned(), variable.to_owned()]);
            env.insert(variable.to_owned(), filled(value)?.join(",").into());
        }
    }
    for volume in server["volumes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        for volume in filled(volume)? {
            args.extend([
                "-v".to_owned(),
                if volume.contains(':') { volume } else { format!("{volume}:{volume}") },
            ]);
        }
    }
    if let Some(user) = server["user"].as_str() {
        args.extend(["-u".to_owned(), filled(user)?.join("")]);
    }
    if server["disableNetwork"] == true {
        args.extend(["--network", "none"].map(str::to_owned));
    }
    args.push(image.to_owned());
    for word in server["command"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        args.extend(filled(word)?);
    }
    Ok((args, env))
}

/// `text` with `{{name.key}}` replaced from the configuration of a profile; several texts where that has a list.
fn fill(name: &str, text: &str, config: &Value) -> Result<Vec<String>, String> {
    let Some((before, rest)) = text.split_once("{{") else { return Ok(vec![text.to_owned()]) };
    if text.matches("{{").count() > MAX_PLACEHOLDERS {
        return Err(format!("it has more than {MAX_PLACEHOLDERS} `{{{{…}}}}` in one text"));
    }
    let (inside, after) = rest.split_once("}}").ok_or("a `{{` in it is not closed")?;
    let key = inside.split('|').next().unwrap_or(inside).trim();
    let path = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')).unwrap_or(key);
    let steps =
        [config, &config[name]].map(|root| path.split('.').try_fold(root, |value, step| value.get(step)));
    let value = steps.into_iter().flatten().next().ok_or_else(|| {
        format!("`{{{{{key}}}}}` has no value in the file; put the value in its place, or import a profile that sets it")
    })?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let values = match value {
        Value::Array(all) => all.iter().map(text).collect(),
        one => vec![text(one)],
    };
    let mut filled = Vec::new();
    for value in values {
        for rest in fill(name, after, config)? {
            filled.push(format!("{before}{value}{rest}"));
            if filled.len() > MAX_FILLED {
                return Err(format!("one text of it becomes more than {MAX_FILLED}"));
            }
        }
    }
    Ok(filled)
}
