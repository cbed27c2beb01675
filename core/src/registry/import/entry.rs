//! From an entry of a file to a registration.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::format::Format;
use super::found::Found;
use super::mapped;
use super::variables::{Expansion, Variables};
use crate::files;
use crate::model::registration::MEMBERS;
use crate::model::{Registration, ServerEndpoint, Status, TenantId, TransportType, redact};
use crate::registry::validate;
use crate::transport::guard::Guard;

/// The members in which placeholders are replaced.
const EXPANDED: [&str; 6] = ["command", "args", "env", "cwd", "endpoint_url", "headers"];
/// The member that names a file of variables.
const ENV_FILE: [&str; 2] = ["envFile", "env_file"];
/// Largest file of variables, in bytes.
const MAX_ENV_FILE: u64 = 64 * 1024;

/// The registration that `found` describes; notes about it are added to its own.
///
/// Errors: a sentence, which repeats no value of the entry.
pub(super) fn registration(
    found: &mut Found,
    format: Format,
    variables: Variables<'_>,
) -> Result<Registration, String> {
    let entry = std::mem::replace(&mut found.entry, Ok(Value::Null))?;
    let Value::Object(members) = entry else {
        return Err("it is not an object with a `command` or a `url`".into());
    };
    let own = format == Format::Registrations;
    let name = if own { Some(found.name.clone()) } else { mapped(&found.name) };
    let name = name.ok_or("the name has no letter or digit of a-z 0-9; rename it")?;
    if name != found.name {
        found.notes.push(format!("it is registered as `{name}`"));
    }
    let Canonical { mut document, passed, env_file } = canonical(members)?;
    if !passed.is_empty() {
        let shown = passed.iter().take(20).map(|member| member.chars().take(40).collect::<String>());
        let list = shown.map(|member| format!("`{}`", member.escape_debug())).collect::<Vec<_>>().join(", ");
        if own {
            return Err(format!("a registration has no {list}; correct the name or leave it out"));
        }
        found.notes.push(format!("{list}: no meaning here, passed over"));
    }
    one_endpoint(&mut document)?;
    let expansion = Expansion::default();
    expand(&mut document, format, &expansion, variables)?;
    if let Some(file) = env_file {
        read_variables(&file, &mut document, &expansion, variables, &mut found.notes)?;
    }
    words(&mut document)?;
    document.insert("name".into(), name.into());
    let mut registration = deserialized(&Value::Object(document))?;
    let left = expansion.left.take();
    if !left.is_empty() {
        let left = left.into_iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
        found.notes.push(format!(
            "{left} stays as it is: placeholders are replaced only in files that the operator names"
        ));
    }
    keep_secret(&mut registration, expansion.secrets());
    checked(&registration)?;
    if registration.status == Some(Status::Inactive) {
        found.notes.push("it is switched off in the file, and registered as inactive".into());
    }
    Ok(registration)
}

/// The members of an entry, told apart.
struct Canonical {
    /// Those of a registration, by their own names.
    document: Map<String, Value>,
    /// The names of those that mean nothing here.
    passed: Vec<String>,
    /// The file of variables that the entry names.
    env_file: Option<String>,
}

fn canonical(mut members: Map<String, Value>) -> Result<Canonical, String> {
    if members.get("httpUrl").is_some_and(Value::is_string) {
        // As Gemini has it, which reads `url` as the address of HTTP+SSE.
        members.remove("url");
    }
    let (mut document, mut passed, mut env_file) = (Map::new(), Vec::new(), None);
    for (member, value) in members {
        if ENV_FILE.contains(&member.as_str()) {
            env_file = value.as_str().map(str::to_owned);
            continue;
        }
        let known = MEMBERS.iter().find(|(name, others)| *name == member || others.contains(&&*member));
        let name = match known {
            _ if value.is_null() => continue,
            // A name beside the entry's own is one for people.
            Some(("name", _)) => "display_name",
            // Some clients keep there how they found the server.
            Some(("status", _)) if value.as_str().is_none_or(|word| Status::of_word(word).is_none()) => {
                passed.push(member);
                continue;
            }
            Some((name, _)) => name,
            None => {
                passed.push(member);
                continue;
            }
        };
        match document.get(name) {
            Some(other) if name == "transport_type" && same_transport(other, &value) => {}
            Some(other) if *other == value || name == "display_name" => {}
            Some(_) => {
                return Err(format!(
                    "`{member}` says something else than another name of the same member; keep one"
                ));
            }
            None => drop(document.insert(name.to_owned(), value)),
        }
    }
    Ok(Canonical { document, passed, env_file })
}

fn same_transport(one: &Value, other: &Value) -> bool {
    let transport = |value: &Value| value.as_str().and_then(TransportType::of_word);
    transport(one).is_some() && transport(one) == transport(other)
}

/// Leaves the URL or the command that the transport asks for, where an entry has both.
fn one_endpoint(document: &mut Map<String, Value>) -> Result<(), String> {
    const EITHER: &str = "give it either a `command` or a `url`";
    let transport = document.get("transport_type").and_then(Value::as_str).and_then(TransportType::of_word);
    match (document.contains_key("command"), document.contains_key("endpoint_url"), transport) {
        (true, true, Some(TransportType::Stdio)) => drop(document.remove("endpoint_url")),
        (true, true, Some(_)) => {
            for member in ["command", "args", "env", "cwd"] {
                document.remove(member);
            }
        }
        (true, true, None) | (false, false, _) => return Err(EITHER.into()),
        _ => {}
    }
    if document.contains_key("endpoint_url") {
        // Many clients write an empty list and an empty object beside a URL.
        let empty = |value: &Value| {
            value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty)
        };
        document.retain(|member, value| !(["args", "env"].contains(&&**member) && empty(value)));
    }
    Ok(())
}

/// Replaces the placeholders; every one that cannot be replaced is told at once.
fn expand(
    document: &mut Map<String, Value>,
    format: Format,
    expansion: &Expansion,
    variables: Variables<'_>,
) -> Result<(), String> {
    let mut problems = Vec::new();
    let own = document.get("env").and_then(Value::as_object).cloned();
    for (member, value) in document.iter_mut().filter(|(member, _)| EXPANDED.contains(&&***member)) {
        let own = own.as_ref().filter(|_| member == "args");
        let variables = Variables { own, ..variables };
        texts(value, &mut |text| {
            if matches!(format, Format::LibreChat) && text.contains("{{") {
                problems.push(format!(
                    "`{member}` has a `{{{{…}}}}` that LibreChat fills in for each of its users; put the value in its place"
                ));
            }
            match expansion.expand(text, variables) {
                Ok(expanded) => *text = expanded,
                Err(problem) if problems.contains(&problem) => {}
                Err(problem) => problems.push(problem),
            }
        });
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

/// Takes arguments apart that a file has in one text, as a shell does.
fn words(document: &mut Map<String, Value>) -> Result<(), String> {
    if let Some(Value::String(text)) = document.get("args") {
        let words = shell_words::split(text).map_err(|_| "a quote in `args` is not closed; write a list")?;
        document.insert("args".into(), words.into());
    }
    Ok(())
}

/// Every text in `value`, but for the keys of its objects.
fn texts(value: &mut Value, each: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(all) => all.iter_mut().for_each(|value| texts(value, each)),
        Value::Object(all) => all.values_mut().for_each(|value| texts(value, each)),
        _ => {}
    }
}

/// Puts the variables of the file that the entry names under those of its own.
fn read_variables(
    file: &str,
    document: &mut Map<String, Value>,
    expansion: &Expansion,
    variables: Variables<'_>,
    notes: &mut Vec<String>,
) -> Result<(), String> {
    if variables.lookup.is_none() {
        notes.push("its `envFile` was not read: only files that the operator names may name others".into());
        return Ok(());
    }
    let path = expansion.expand(file, variables)?;
    let path = variables.folder.map_or_else(|| Path::new(&path).to_owned(), |folder| folder.join(&path));
    let text = files::read_text(&path, MAX_ENV_FILE).map_err(|fault| format!("its `envFile` {fault}"))?;
    let mut env: BTreeMap<String, Value> = BTreeMap::new();
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| format!("line {} of its `envFile` is not `NAME=value`", at + 1))?;
        env.insert(name.trim().to_owned(), unquoted(value.trim()).into());
    }
    match document.get("env") {
        Some(Value::Object(own)) => env.extend(own.clone()),
        Some(_) => return Err("with an `envFile`, `env` is an object".into()),
        None => {}
    }
    document.insert("env".into(), Value::Object(env.into_iter().collect()));
    Ok(())
}

fn unquoted(value: &str) -> &str {
    let within = |quote| value.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

fn deserialized(document: &Value) -> Result<Registration, String> {
    let text = document.to_string();
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(&text)).map_err(|error| {
        let field = Some(error.path().to_string()).filter(|path| path != "." && path != "?");
        let message = error.into_inner().to_string();
        // The position is one in the text made above, which nobody has seen.
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        let message = redact::without_value(message);
        field.map_or_else(|| message.clone(), |field| format!("`{field}`: {message}"))
    })
}

/// Values of the environment that stand in the endpoint are never shown. Those of `env` and of headers never are anyway.
fn keep_secret(registration: &mut Registration, secrets: Vec<String>) {
    let Some(endpoint) = registration.endpoint() else { return };
    let texts: Vec<&String> = match &endpoint {
        ServerEndpoint::Url { endpoint_url } => vec![endpoint_url],
        ServerEndpoint::Command { command, args, cwd, .. } => {
            std::iter::once(command).chain(args).chain(cwd).collect()
        }
    };
    let stand: Vec<String> = secrets
        .into_iter()
        .filter(|secret| texts.iter().any(|text| text.contains(secret.as_str())))
        .collect();
    if !stand.is_empty() {
        registration.configuration.get_or_insert_default().secrets.extend(stand);
    }
}

/// Whether the register would take it.
fn checked(registration: &Registration) -> Result<(), String> {
    let tenant = TenantId::default_tenant();
    match validate::registration(&tenant, registration.clone(), Timestamp::UNIX_EPOCH) {
        // An operator's own file leads nowhere that nobody may lead.
        Ok(checked) if checked.server.transport_type != TransportType::Custom => {
            let judged = Guard::default().for_operator().check_endpoint(&checked.server.endpoint);
            let secrets = &checked.server.configuration.secrets;
            judged.map_err(|error| redact::covered(error.message(), secrets))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
