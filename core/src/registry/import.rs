//! Servers written down elsewhere: the `mcpServers` file of desktop clients, and `name=…` on the command line.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::server_json::{self, ServerJson};
use crate::error::{Error, ErrorKind, Result};
use crate::model::ids::RESERVED_SERVICES;
use crate::model::{Configuration, Registration, ServiceName, TransportType};

/// The contents of a file of servers.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// One for each server of the file, ordered by its name there.
    pub registrations: Vec<Registration>,
    /// Changes and omissions, for people: one sentence each.
    pub notes: Vec<String>,
}

#[derive(Deserialize)]
struct Entry {
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<String>,
    #[serde(alias = "serverUrl")]
    url: Option<String>,
    #[serde(alias = "transport", rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    description: Option<String>,
    #[serde(default)]
    disabled: bool,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// A `server.json` of the official registry, which describes one server.
fn one(text: &str) -> Result<Import> {
    let bad = |error: serde_json::Error| Error::new(ErrorKind::InvalidParams, error.to_string());
    let file = RawValue::from_string(text.trim().to_owned()).map_err(bad)?;
    let asked = ServerJson {
        server_json: file,
        name: None,
        service: None,
        package: None,
        env: BTreeMap::new(),
        headers: BTreeMap::new(),
        variables: BTreeMap::new(),
        tags: Vec::new(),
    };
    let registration = server_json::server_json(asked).map_err(|error| {
        error.with(
            "hint",
            "`mcp-gateway register --server-json FILE` takes values with --env, --header and --variable",
        )
    })?;
    Ok(Import { registrations: vec![registration], notes: Vec::new() })
}

/// Reads `{"mcpServers": {name: {command, args, env, cwd} | {url, type, headers}}}`; `servers`, as VS Code has it, and
/// `serverUrl` are understood as well, and so is a `server.json` of the official registry. A name that cannot be a service's is turned into one, and a note says so.
///
/// Errors: [`ErrorKind::InvalidParams`], with a problem for each entry that cannot be read.
pub fn mcp_servers(text: &str) -> Result<Import> {
    let bad = |message: String| Error::new(ErrorKind::InvalidParams, message);
    let text = text.trim_start_matches('\u{feff}');
    let file: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        bad(format!("the file is not a JSON object (comments and trailing commas are not JSON): {error}"))
    })?;
    if ["packages", "remotes"].iter().any(|member| file.get(*member).is_some_and(Value::is_array)) {
        return one(text);
    }
    let servers = file.get("mcpServers").or_else(|| file.get("servers")).and_then(Value::as_object);
    let servers = servers.ok_or_else(|| bad("the file has no object `mcpServers` (or `servers`)".into()))?;
    let mut import = Import::default();
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    // By name, independent of the order that the JSON library keeps, so that the result is the same everywhere.
    for (name, value) in servers.iter().collect::<BTreeMap<_, _>>() {
        match entry(name, value, &mut import.notes) {
            Ok(Some(registration)) => {
                if let Some(other) = taken.insert(registration.name.clone(), name) {
                    problems.push(format!(
                        "{other:?} and {name:?} both become `{}`; rename one",
                        registration.name
                    ));
                }
                import.registrations.push(registration);
            }
            Ok(None) => {}
            Err(problem) => problems.push(format!("{name:?}: {problem}")),
        }
    }
    if problems.is_empty() {
        return Ok(import);
    }
    let error = bad("the file has entries that cannot be imported; correct or remove them".into());
    Err(problems.into_iter().fold(error, |error, problem| error.with("entry", problem)))
}

fn entry(name: &str, value: &Value, notes: &mut Vec<String>) -> Result<Option<Registration>, String> {
    let entry = Entry::deserialize(value).map_err(|error| error.to_string())?;
    if entry.disabled {
        notes.push(format!("{name:?} is disabled in the file and was passed over"));
        return Ok(None);
    }
    if entry.command.is_some() == entry.url.is_some() {
        return Err("give it either a `command` or a `url`".into());
    }
    let transport_type = match entry.kind.as_deref() {
        None => None,
        Some("stdio") => Some(TransportType::Stdio),
        Some("http" | "streamable-http" | "streamableHttp" | "streamable_http") => Some(TransportType::Http),
        Some("sse") => Some(TransportType::Sse),
        Some("ws" | "websocket") => Some(TransportType::Websocket),
        Some(other) => {
            return Err(format!("unknown `type` {other:?}: there are stdio, http, sse, websocket"));
        }
    };
    let mapped = mapped(name).ok_or("the name has no letter or digit of a-z 0-9; rename it")?;
    if mapped != name {
        notes.push(format!("{name:?} is registered as `{mapped}`"));
    }
    if !entry.other.is_empty() {
        let members: Vec<_> = entry.other.keys().map(String::as_str).collect();
        notes.push(format!("{name:?}: {} mean nothing here and were passed over", members.join(", ")));
    }
    if value.to_string().contains("${") {
        notes.push(format!(
            "{name:?} has a placeholder `${{…}}`, which is not replaced: write the value instead"
        ));
    }
    let configuration = (!entry.headers.is_empty())
        .then(|| Configuration { headers: entry.headers, ..Configuration::default() });
    Ok(Some(Registration {
        name: mapped,
        endpoint_url: entry.url,
        command: entry.command,
        args: entry.args,
        env: entry.env,
        cwd: entry.cwd,
        transport_type,
        description: entry.description,
        configuration,
        ..Registration::default()
    }))
}

/// The service name nearest to `name`: lower case, `-` for characters that are not allowed, one `_` for several, cut to 63
/// characters; a reserved name gets `-server`. `None` if nothing remains.
pub(super) fn mapped(name: &str) -> Option<String> {
    if ServiceName::new(name).is_ok() {
        return Some(name.to_owned());
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '-');
    let mut text: String = name.to_lowercase().chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    while text.contains("__") {
        text = text.replace("__", "_");
    }
    let edge = |c: char| !c.is_ascii_alphanumeric();
    let mut text = text.trim_start_matches(edge);
    text = &text[..text.len().min(63)];
    let text = text.trim_end_matches(edge);
    let text = if RESERVED_SERVICES.contains(&text) { format!("{text}-server") } else { text.to_owned() };
    ServiceName::new(&text).is_ok().then_some(text)
}

/// Reads `name=url`, or `name=command args…` with words quoted as in a shell. With `service/replica` for the name the
/// server is called `service.replica` and is a replica of `service`:
/// `calc/a=http://127.0.0.1:1/mcp` and `calc/b=http://127.0.0.1:2/mcp` are two replicas of `calc`.
///
/// Errors: [`ErrorKind::InvalidParams`].
pub fn server_option(text: &str) -> Result<Registration> {
    let bad = |message: String| Error::new(ErrorKind::InvalidParams, message).with("option", name_of(text));
    let (name, target) = text
        .split_once('=')
        .ok_or_else(|| bad("write it as name=url, or name=\"command and arguments\"".into()))?;
    let (name, target) = (name.trim(), target.trim());
    if name.split('/').any(str::is_empty) {
        return Err(bad("there is no name before `=`, or none on one side of `/`".into()));
    }
    let (name, service) = match name.split_once('/') {
        Some((service, replica)) => (format!("{service}.{replica}"), Some(service.to_owned())),
        None => (name.to_owned(), None),
    };
    let registration = Registration { name, service, ..Registration::default() };
    let schemes: BTreeSet<_> = ["http", "https", "ws", "wss"].into();
    if target.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&*scheme.to_ascii_lowercase())) {
        return Ok(Registration { endpoint_url: Some(target.to_owned()), ..registration });
    }
    let mut words = shell_words::split(target)
        .map_err(|_| bad("a quote in the command is not closed".into()))?
        .into_iter();
    let command = words.next().ok_or_else(|| bad("there is no URL or command after `=`".into()))?;
    Ok(Registration { command: Some(command), args: words.collect(), ..registration })
}

/// The text before the `=`: the rest may hold secrets.
fn name_of(text: &str) -> String {
    text.split('=').next().unwrap_or_default().chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_desktop_client_is_read() {
        let file = r#"{"mcpServers": {
            "files": {"command": "npx", "args": ["-y", "server-filesystem", "/tmp"], "env": {"A": "b"}},
            "web": {"type": "streamable-http", "url": "https://h/mcp", "headers": {"Authorization": "Bearer x"}},
            "old": {"type": "sse", "serverUrl": "https://h/sse"},
            "My Server!": {"url": "http://h/mcp", "autoApprove": ["x"]},
            "off": {"command": "x", "disabled": true}
        }, "theme": "dark"}"#;
        let import = mcp_servers(file).unwrap();
        let names: Vec<_> = import.registrations.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["my-server", "files", "old", "web"]);
        let [_, files, old, web] = &import.registrations[..] else { panic!("four") };
        assert_eq!(
            (files.command.as_deref(), files.args.len(), &files.env["A"]),
            (Some("npx"), 3, &"b".to_owned())
        );
        assert_eq!(
            (old.transport_type, web.transport_type),
            (Some(TransportType::Sse), Some(TransportType::Http))
        );
        assert_eq!(web.configuration.as_ref().unwrap().headers["Authorization"], "Bearer x");
        let notes = import.notes.join("\n");
        for part in ["`my-server`", "autoApprove", "\"off\" is disabled"] {
            assert!(notes.contains(part), "{notes}");
        }
    }

    #[test]
    fn the_key_of_vs_code_is_read_and_a_placeholder_is_pointed_out() {
        let import = mcp_servers(
            r#"{"inputs": [], "servers": {"a": {"type": "http", "url": "http://h/${input:x}"}}}"#,
        )
        .unwrap();
        assert_eq!(import.registrations[0].endpoint_url.as_deref(), Some("http://h/${input:x}"));
        assert!(import.notes[0].contains("placeholder"), "{:?}", import.notes);
    }

    #[test]
    fn names_are_mapped_the_same_way_every_time() {
        for (name, expected) in [
            ("GitHub", Some("github")),
            ("@scope/pkg", Some("scope-pkg")),
            ("a__b", Some("a_b")),
            ("tools", Some("tools-server")),
            ("-x-", Some("x")),
            ("Größe", Some("gr--e")),
            ("日本", None),
            (&format!("{}-b", "a".repeat(62)), Some("a".repeat(62).as_str())),
        ] {
            assert_eq!(mapped(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn every_entry_that_cannot_be_read_is_named() {
        let file = r#"{"mcpServers": {"a": {}, "b": {"command": 1}, "c": {"url": "u", "type": "smoke"},
            "d": {"url": "u", "command": "c"}, "日": {"url": "u"}, "X y": {"url": "u"}, "x-y": {"url": "u"}}}"#;
        let error = mcp_servers(file).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.context().len(), 6, "{text}");
        for name in ["\"a\"", "\"b\"", "\"c\"", "\"d\"", "\"日\"", "\"X y\" and \"x-y\""] {
            assert!(text.contains(name), "{name} in {text}");
        }
        for bad in ["", "[]", "{}", r#"{"mcpServers": []}"#, "// x\n{}"] {
            assert_eq!(mcp_servers(bad).unwrap_err().kind(), ErrorKind::InvalidParams, "{bad}");
        }
    }

    #[test]
    fn an_option_is_a_url_or_a_command() {
        let url = server_option("web = HTTPS://h/mcp?a=b").unwrap();
        assert_eq!((url.name.as_str(), url.endpoint_url.as_deref()), ("web", Some("HTTPS://h/mcp?a=b")));
        let command = server_option("fs=npx -y server '/my files' --x=1").unwrap();
        assert_eq!(command.command.as_deref(), Some("npx"));
        assert_eq!(command.args, ["-y", "server", "/my files", "--x=1"]);
        let replica = server_option("calc/a=http://h/").unwrap();
        assert_eq!((replica.name.as_str(), replica.service.as_deref()), ("calc.a", Some("calc")));
        for bad in ["web", "web=", "web='x", "=http://h", "/a=http://h", "a/=http://h"] {
            assert_eq!(server_option(bad).unwrap_err().kind(), ErrorKind::InvalidParams, "{bad}");
        }
        let error = server_option("web='hush").unwrap_err();
        assert!(!format!("{error:?}").contains("hush"), "{error}");
    }
}
