//! Servers written down elsewhere: files of MCP clients and of other gateways, and `name=…` on the command line.
//!
//! One reader for all of them: `document` makes one value of JSON, YAML or TOML, `found` finds the entries, `variables` replaces
//! placeholders, and `entry` makes a registration of each. A fault in an entry costs that entry, and is reported.

mod docker;
mod document;
mod entry;
mod export;
mod format;
mod found;
mod option;
mod variables;
#[cfg(feature = "import")]
mod yaml;
#[cfg(test)]
#[cfg(feature = "import")]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::Value;
use serde_json::value::RawValue;

use self::document::Document;
use self::variables::Variables;
use super::server_json::{self, ServerJson};
use crate::error::{Error, ErrorKind, Result};
use crate::model::ids::RESERVED_SERVICES;
use crate::model::{Registration, ServiceName};

pub use export::{Client, Target, export};
pub use format::Format;
pub use option::server_option;
pub use variables::Lookup;

/// The contents of a file of servers.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The format that the file was read in.
    pub format: Format,
    /// One for each server of the file that can be used, in the order of the file's format.
    pub registrations: Vec<Registration>,
    /// The entries that cannot be used, which cost no other entry anything.
    pub excluded: Vec<Excluded>,
    /// Changes and omissions, for people.
    pub notes: Vec<Note>,
}

impl Import {
    /// Logs the entries that cannot be used, and the notes.
    pub fn tell(&self) {
        for excluded in &self.excluded {
            tracing::warn!("{excluded}");
        }
        for note in &self.notes {
            tracing::warn!("{note}");
        }
    }
}

/// An entry of a file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// Its name in the file, cut to 80 characters.
    pub name: String,
    /// One sentence, without any value of the entry.
    pub reason: String,
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} cannot be imported: {}", self.name, self.reason)
    }
}

/// The outcome for a part of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The entry's name in the file, cut to 80 characters.
    pub name: String,
    /// The name under which it is registered.
    pub registered: String,
    /// One sentence.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.name, self.text)
    }
}

/// How a file is read.
#[derive(Clone, Copy, Default)]
pub struct Reading<'a> {
    /// The file's format; `None` finds out.
    pub format: Option<Format>,
    /// Variables for `${VAR}` in a file that an operator named, of the process that reads it. `None`: placeholders stay as they
    /// are.
    pub variables: Option<Lookup<'a>>,
    /// The file's folder.
    pub folder: Option<&'a Path>,
}

impl fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("format", &self.format)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Reads a file with `mcpServers` that no operator named: its placeholders stay as they are. Otherwise as [`read`].
pub fn mcp_servers(text: &str) -> Result<Import> {
    read(text, &Reading::default())
}

/// Reads the servers of a file, in JSON, JSON with comments, JSON5, YAML or TOML, and in any [`Format`].
///
/// An entry that cannot be used costs itself alone and is in [`Import::excluded`]. A name that cannot be a service's is turned into
/// one, with a note.
///
/// Errors: [`ErrorKind::InvalidParams`], if the file as a whole cannot be read.
pub fn read(text: &str, reading: &Reading<'_>) -> Result<Import> {
    let bad = |message: String| Error::new(ErrorKind::InvalidParams, message);
    let Document { root, twice } = document::read(text).map_err(bad)?;
    let format = reading.format.or_else(|| Format::of(&root)).ok_or_else(|| {
        bad("the file has neither `mcpServers` nor `servers`, nor anything else that servers are known to be written under; \
             say with `--format` which program it is from"
            .into())
    })?;
    if format == Format::ServerJson {
        return one(&root);
    }
    let found = found::entries(&root, format).map_err(bad)?;
    if let Some(path) = twice
        .iter()
        .find(|path| found.iter().any(|one| one.path.len() > path.len() && one.path.starts_with(path)))
    {
        return Err(bad(format!("`{}` stands twice in the file; keep one", path.join("."))));
    }
    let variables = Variables {
        lookup: reading.variables,
        folder: reading.folder,
        bare: matches!(format, Format::Gemini | Format::AgentGateway),
        braces: format == Format::OpenCode,
        own: None,
    };
    let mut import = Import { format, ..Import::default() };
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    for mut one in found {
        let name = shown(&one.name);
        let stands_twice = twice.iter().any(|path| path.starts_with(&one.path));
        let outcome = if stands_twice {
            Err("it, or a member of it, stands twice in the file; keep one".to_owned())
        } else {
            entry::registration(&mut one, format, variables)
        };
        let outcome = outcome.and_then(|registration| match taken.get(&registration.name) {
            Some(other) => Err(format!("it becomes `{}`, as {other:?} does; rename one", registration.name)),
            None => Ok(registration),
        });
        match outcome {
            Ok(registration) => {
                taken.insert(registration.name.clone(), name.clone());
                let registered = &registration.name;
                let note = |text| Note { name: name.clone(), registered: registered.clone(), text };
                import.notes.extend(one.notes.into_iter().map(note));
                import.registrations.push(registration);
            }
            Err(reason) => import.excluded.push(Excluded { name, reason }),
        }
    }
    Ok(import)
}

/// A name of a file's author, cut to 80 characters and without those that change how the text around them is shown.
fn shown(name: &str) -> String {
    let misleads = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    name.chars().take(80).map(|c| if misleads(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A registration in a file that an operator named, or standard input: one server in the words of this gateway, or of a client.
///
/// Errors: [`ErrorKind::InvalidParams`].
pub fn registration(text: &str, reading: &Reading<'_>) -> Result<(Registration, Vec<Note>)> {
    let bad = |message: String| Error::new(ErrorKind::InvalidParams, message);
    let mut import = read(text, reading)?;
    match (import.registrations.pop(), import.registrations.len(), import.excluded.pop()) {
        (Some(registration), 0, None) => Ok((registration, import.notes)),
        (None, _, Some(excluded)) if import.excluded.is_empty() => Err(bad(excluded.to_string())),
        _ => {
            Err(bad("the file has other than one server; `mcp-gateway import FILE` registers all of a file"
                .into()))
        }
    }
}

/// A `server.json` of the official registry, which describes one server.
fn one(root: &Value) -> Result<Import> {
    let bad = |error: serde_json::Error| Error::new(ErrorKind::InvalidParams, error.to_string());
    let file = RawValue::from_string(root.to_string()).map_err(bad)?;
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
    Ok(Import { format: Format::ServerJson, registrations: vec![registration], ..Import::default() })
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
