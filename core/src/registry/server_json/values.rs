//! The sources of the values of a `server.json`: first the user who registers it, then the file.

use std::collections::BTreeMap;

use super::form::{Argument, Input, Kind, Named};
use crate::registry::fields::Problems;

/// The values that the user who registers the server gave.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) env: BTreeMap<String, String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) variables: BTreeMap<String, String>,
}

impl Values {
    pub(super) fn variable(&self, variable: &Named, problems: &mut Problems) -> Option<String> {
        self.value("env", &variable.name, self.env.get(&variable.name), &variable.input, problems)
    }

    pub(super) fn header(&self, header: &Named, problems: &mut Problems) -> Option<String> {
        let given = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(&header.name));
        self.value("headers", &header.name, given.map(|(_, value)| value), &header.input, problems)
    }

    /// The words of `arguments` that have a value.
    pub(super) fn arguments(&self, arguments: &[Argument], problems: &mut Problems) -> Vec<String> {
        let mut words = Vec::new();
        for argument in arguments {
            let (name, hint) = (argument.name.as_deref(), argument.value_hint.as_deref());
            let called = [name, name.map(|name| name.trim_start_matches('-')), hint];
            let given = called.into_iter().flatten().find_map(|name| self.variables.get(name));
            let shown = match argument.kind {
                Kind::Named => name.or(hint),
                Kind::Positional => hint.or(name),
            };
            let input = &argument.input;
            // A flag that never has a value stands for itself.
            let bare = argument.kind == Kind::Named
                && hint.is_none()
                && input.value.is_none()
                && input.default.is_none();
            if bare && given.is_none() && !input.is_required {
                words.extend(argument.name.clone());
                continue;
            }
            let Some(value) = self.value("variables", shown.unwrap_or("argument"), given, input, problems)
            else {
                continue;
            };
            if argument.kind == Kind::Named {
                words.extend(argument.name.clone());
            }
            words.push(value);
        }
        words
    }

    /// The given value, or else the file's. A fixed value of the file is not for others to change.
    fn value(
        &self,
        member: &'static str,
        name: &str,
        given: Option<&String>,
        input: &Input,
        problems: &mut Problems,
    ) -> Option<String> {
        let value = match (&input.value, given) {
            (Some(fixed), _) => self.filled(member, fixed, &input.variables, problems),
            (None, Some(given)) => Some(given.clone()),
            (None, None) => input.default.clone(),
        };
        let Some(value) = value.filter(|value| !(value.is_empty() && input.is_required)) else {
            if input.is_required && input.value.is_none() {
                problems.add(member, missing(name, input));
            }
            return None;
        };
        if !input.choices.is_empty() && !input.choices.contains(&value) {
            problems.add(member, format!("`{name}` is one of {}", input.choices.join(", ")));
        }
        Some(value)
    }

    /// `text` with its `{variables}` replaced; a problem for each that has no value.
    pub(super) fn filled(
        &self,
        member: &'static str,
        text: &str,
        known: &BTreeMap<String, Input>,
        problems: &mut Problems,
    ) -> Option<String> {
        let nothing = Input::default();
        let (mut filled, mut rest, mut whole) = (String::with_capacity(text.len()), text, true);
        while let Some((before, name, after)) = placeholder(rest) {
            filled.push_str(before);
            let input = known.get(name).unwrap_or(&nothing);
            let value = self.variables.get(name).or(input.value.as_ref()).or(input.default.as_ref());
            if let Some(value) = value {
                filled.push_str(value);
            } else {
                whole = false;
                let member = if member == "env" { "env" } else { "variables" };
                problems.add(member, missing(name, input));
            }
            rest = after;
        }
        filled.push_str(rest);
        whole.then_some(filled)
    }
}

/// The text before the first `{name}`, the name, and the text behind it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    let is_name = !name.is_empty()
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.'));
    is_name.then_some((before, name, after))
}

fn missing(name: &str, input: &Input) -> String {
    match &input.description {
        Some(about) => format!("`{name}` is required and has no value: {about}"),
        None => format!("`{name}` is required and has no value"),
    }
}
