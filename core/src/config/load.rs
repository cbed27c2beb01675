//! From text to a configuration, key by key, so that one wrong key does not hide the next.
//!
//! The defaults, written as JSON, are the table of all keys. Each key that is given is read alone, over the defaults:
//! serde's error is then about this key, independent of errors elsewhere.

use std::path::Path;

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::check;
use super::problem::{Location, Problem, Problems, hint};
use super::sections::Config;
use super::source::{PREFIX, Sources, is_unused};
use crate::model::Registration;

/// Settings that had another name before: the former name, and the name of today.
const RENAMED: [(&str, &str); 1] = [("server.own_service", "server.builtin_service")];

/// Variables that are not keys: they say where to look, and are read by the program.
const OTHER_VARIABLES: [&str; 6] =
    ["MREG_CONFIG", "MREG_DATA_DIR", "MREG_URL", "MREG_KEY", "MREG_CA_FILE", "MREG_LOG"];

/// The configuration that `sources` describe, or everything that is wrong with them.
pub fn load(sources: &Sources) -> Result<Config, Problems> {
    read(sources).finish()
}

/// A warning for each setting that `sources` give by its former name.
pub(super) fn renamed(sources: &Sources) -> Vec<String> {
    read(sources).renamed
}

fn read(sources: &Sources) -> Loading {
    let mut loading = Loading::new();
    if let Some((path, text)) = &sources.file {
        loading.file(path, text);
    }
    if let Some(inline) = &sources.inline {
        loading.inline(inline);
    }
    if let Some(dotenv) = &sources.dotenv {
        for variable in dotenv.variables.iter().filter(|variable| !sources.is_set(&variable.name)) {
            let place = Location::Dotenv(dotenv.path.clone(), variable.line, variable.name.clone());
            loading.variable(&variable.name, place, &variable.value);
        }
    }
    for (name, value) in &sources.environment {
        loading.variable(name, Location::Variable(name.clone()), value);
    }
    for (option, key, value) in &sources.options {
        let path: Vec<&str> = key.split('.').collect();
        loading.text(&path, Location::Flag((*option).to_owned()), value);
    }
    loading
}

impl Config {
    /// Checks a configuration that a program made by the rules for one that is written down: the ranges of all keys, and what
    /// they must have in common.
    pub fn check(&self) -> Result<(), Problems> {
        let loading = Loading::new();
        let ranges =
            loading.keys().into_iter().filter_map(|key| Some((check::range(&key, self).err()?, key)));
        let ranges = ranges.map(|(message, key)| (key, message));
        let problems: Vec<_> = ranges
            .chain(check::whole(self))
            .map(|(key, message)| Problem { place: Location::Inline, key, message })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }
}

/// The name of today of a setting that is given by its former name.
fn name_of_today(key: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(former, _)| *former == key).map(|(_, today)| *today)
}

struct Loading {
    /// Every key with its default; keys without one are `null`.
    defaults: Value,
    /// The values that were given and are right.
    given: Value,
    servers: Vec<Registration>,
    /// Where each key was given, for checks that see the whole.
    places: Vec<(String, Location)>,
    problems: Vec<Problem>,
    /// Warnings about settings that were given by their former names.
    renamed: Vec<String>,
}

impl Loading {
    fn new() -> Self {
        Self {
            defaults: serde_json::to_value(Config::default()).unwrap_or_default(),
            given: Value::Object(Map::new()),
            servers: Vec::new(),
            places: Vec::new(),
            problems: Vec::new(),
            renamed: Vec::new(),
        }
    }

    fn file(&mut self, path: &Path, text: &str) {
        let at = |offset: Option<usize>| {
            Location::File(path.to_owned(), offset.map(|offset| line_of(text, offset)))
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            self.problem(at(error.span().map(|span| span.start)), "", error.message().trim().to_owned());
        }
        if !errors.is_empty() {
            return;
        }
        for (key, item) in table.get_ref() {
            let (section, place) = (key.get_ref(), at(Some(key.span().start)));
            match item.get_ref() {
                DeValue::Table(entries) if section == "servers" => {
                    for (name, entry) in entries {
                        let key = format!("servers.{}", name.get_ref());
                        self.server(
                            key,
                            at(Some(name.span().start)),
                            json(entry.get_ref()),
                            Some(name.get_ref()),
                        );
                    }
                }
                DeValue::Array(entries) if section == "servers" => {
                    for (i, entry) in entries.iter().enumerate() {
                        let place = at(Some(entry.span().start));
                        self.server(format!("servers[{i}]"), place, json(entry.get_ref()), None);
                    }
                }
                DeValue::Table(entries) if self.defaults[&**section].is_object() => {
                    self.entries(&[section], entries, &at);
                }
                value => self.value(&[section], place, json(value)),
            }
        }
    }

    /// A configuration as JSON.
    fn inline(&mut self, value: &Value) {
        let Some(entries) = value.as_object() else {
            return self.problem(Location::Inline, "", "expected an object with the sections".to_owned());
        };
        for (section, value) in entries {
            match value {
                Value::Object(servers) if section == "servers" => {
                    for (name, server) in servers {
                        self.server(format!("servers.{name}"), Location::Inline, server.clone(), Some(name));
                    }
                }
                Value::Array(servers) if section == "servers" => {
                    for (i, server) in servers.iter().enumerate() {
                        self.server(format!("servers[{i}]"), Location::Inline, server.clone(), None);
                    }
                }
                Value::Object(members) if is_section(&[section], &self.defaults) => {
                    self.members(&[section], members);
                }
                value => self.value(&[section], Location::Inline, value.clone()),
            }
        }
    }

    /// As [`Self::entries`], of JSON.
    fn members(&mut self, path: &[&str], members: &Map<String, Value>) {
        for (key, value) in members {
            let below: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
            match value {
                Value::Object(members) if is_section(&below, &self.defaults) => self.members(&below, members),
                value => self.value(&below, Location::Inline, value.clone()),
            }
        }
    }

    /// The keys of a section, and of the sections in it.
    fn entries(&mut self, path: &[&str], entries: &DeTable<'_>, at: &impl Fn(Option<usize>) -> Location) {
        for (key, item) in entries {
            let below: Vec<&str> = path.iter().copied().chain([&**key.get_ref()]).collect();
            match item.get_ref() {
                DeValue::Table(entries) if is_section(&below, &self.defaults) => {
                    self.entries(&below, entries, at);
                }
                value => self.value(&below, at(Some(key.span().start)), json(value)),
            }
        }
    }

    fn variable(&mut self, name: &str, place: Location, text: &str) {
        if name == "MREG_LOG" {
            return self.value(&["log", "level"], place, text.into());
        }
        if OTHER_VARIABLES.contains(&name) || is_unused(name) {
            return;
        }
        let lower = name.strip_prefix(PREFIX).unwrap_or(name).to_lowercase();
        let path: Vec<&str> = lower.split("__").collect();
        let known = self.keys();
        if !known.contains(&path.join(".")) && name_of_today(&path.join(".")).is_none() {
            let variables: Vec<String> = known.iter().map(|key| variable_of(key)).collect();
            let known = variables.iter().map(String::as_str).chain(OTHER_VARIABLES);
            let message = format!("the gateway has no such setting{}", hint(name, known));
            return self.problem(place, "", message);
        }
        self.text(&path, place, text);
    }

    /// A value without a type of its own: the key's type decides which reading is the right one.
    fn text(&mut self, path: &[&str], place: Location, text: &str) {
        let key = path.join(".");
        if let Some(today) = name_of_today(&key) {
            self.renamed.push(format!("{place}: `{key}` is called `{today}` today; rename it"));
            return self.text(&today.split('.').collect::<Vec<_>>(), place, text);
        }
        let readings = readings(text);
        let fits = readings.iter().find(|reading| check_one(path, reading).is_ok()).or(readings.first());
        if let Some(reading) = fits.cloned() {
            self.value(path, place, reading);
        }
    }

    fn value(&mut self, path: &[&str], place: Location, value: Value) {
        let key = path.join(".");
        if let Some(today) = name_of_today(&key) {
            self.renamed.push(format!("{place}: `{key}` is called `{today}` today; rename it"));
            return self.value(&today.split('.').collect::<Vec<_>>(), place, value);
        }
        if !self.keys().contains(&key) {
            let known = self.keys();
            let sections = known.iter().map(|key| key.split('.').next().unwrap_or(key));
            let message = match path {
                [one] if self.defaults[*one].is_object() => "expected a section".to_owned(),
                [_] => format!("there is no such key{}", hint(&key, sections)),
                _ => format!("there is no such key{}", hint(&key, known.iter().map(String::as_str))),
            };
            return self.problem(place, &key, message);
        }
        match check_one(path, &value) {
            Ok(()) => {
                insert(&mut self.given, path, value);
                self.places.push((key, place));
            }
            Err(message) => self.problem(place, &key, message),
        }
    }

    fn server(&mut self, key: String, place: Location, mut value: Value, name: Option<&str>) {
        if let (Some(name), Some(entry)) = (name, value.as_object_mut()) {
            entry.entry("name").or_insert_with(|| name.into());
        }
        match check::registration(&value) {
            Ok(registration) => {
                self.servers.push(registration);
                self.places.push((key, place));
            }
            Err((field, message)) => {
                let key = if field.is_empty() { key } else { format!("{key}.{field}") };
                self.problem(place, &key, message);
            }
        }
    }

    fn finish(mut self) -> Result<Config, Problems> {
        match serde_json::from_value::<Config>(self.given.take()) {
            Ok(mut config) => {
                config.servers = std::mem::take(&mut self.servers);
                for (key, message) in check::whole(&config) {
                    let given = self.places.iter().rev().find(|(given, _)| *given == key);
                    let place =
                        given.map_or(Location::Variable(variable_of(&key)), |(_, place)| place.clone());
                    self.problem(place, &key, message);
                }
                if self.problems.is_empty() {
                    return Ok(config);
                }
            }
            Err(error) => {
                self.problem(Location::File(super::CONFIG_FILE.into(), None), "", error.to_string());
            }
        }
        self.problems.sort_by(|a, b| a.place.cmp(&b.place));
        Err(Problems(self.problems))
    }

    /// Every key, dotted.
    fn keys(&self) -> Vec<String> {
        let mut keys = vec!["servers".to_owned()];
        collect("", &self.defaults, &mut keys);
        keys
    }

    fn problem(&mut self, place: Location, key: &str, message: String) {
        self.problems.push(Problem { place, key: key.to_owned(), message });
    }
}

/// The keys of `value`, dotted, below `above`. An object without members is a key: its members are the user's to name.
fn collect(above: &str, value: &Value, keys: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        match value {
            Value::Object(entries) if !entries.is_empty() => collect(&path, value, keys),
            _ => keys.push(path),
        }
    }
}

fn is_section(path: &[&str], defaults: &Value) -> bool {
    let value = path.iter().try_fold(defaults, |value, key| value.get(key));
    value.and_then(Value::as_object).is_some_and(|entries| !entries.is_empty())
}

/// Reads one key over the defaults, then checks its range.
fn check_one(path: &[&str], value: &Value) -> Result<(), String> {
    if path == ["servers"] {
        return Err("expected `[[servers]]` or `[servers.NAME]` in the file".into());
    }
    let mut alone = Value::Object(Map::new());
    insert(&mut alone, path, value.clone());
    let config = serde_json::from_value::<Config>(alone).map_err(|error| error.to_string())?;
    check::range(&path.join("."), &config)
}

fn insert(target: &mut Value, path: &[&str], value: Value) {
    match path {
        [] => *target = value,
        [first, rest @ ..] => {
            let next = &mut target[*first];
            if next.is_null() && !rest.is_empty() {
                *next = Value::Object(Map::new());
            }
            insert(next, rest, value);
        }
    }
}

/// The possible readings of a variable's text, most particular first; the first is the one whose error is told.
fn readings(text: &str) -> Vec<Value> {
    let list = text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect();
    let plain =
        serde_json::from_str(text).ok().filter(|value: &Value| value.is_number() || value.is_boolean());
    plain.into_iter().chain([text.into(), Value::Array(list)]).collect()
}

fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => integer(number.as_str(), number.radix()),
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(truth) => (*truth).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(entries) => {
            entries.iter().map(|(key, item)| (key.get_ref().to_string(), json(item.get_ref()))).collect()
        }
    }
}

/// TOML's integers are 64 bits wide and signed; a larger number is no integer of any key.
fn integer(text: &str, radix: u32) -> Value {
    i64::from_str_radix(text, radix).map_or_else(|_| text.into(), Value::from)
}
