//! Placeholders in a file of servers: `${VAR}` and its relatives, replaced by variables of the process that reads the file.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};

/// The beginning of the names of the gateway's own variables, which no server is given.
const OWN: &str = "MREG_";
/// How often a default may have a placeholder in it.
const MAX_NESTED: usize = 8;
/// The folders in which clients keep their files: such a file belongs to the folder around it.
const INNER: [&str; 7] = [".claude", ".cursor", ".gemini", ".roo", ".vscode", ".windsurf", ".zed"];
/// Placeholders in one text at most.
const MAX_PLACEHOLDERS: usize = 256;
/// Bytes of one text at most after its placeholders were replaced.
const MAX_EXPANDED: usize = 64 * 1024;

/// Looks up a variable of the process that reads the file.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How the placeholders of one file are read.
#[derive(Clone, Copy, Default)]
pub(super) struct Variables<'a> {
    /// `None`: nobody's variables are read, and placeholders stay as they are.
    pub(super) lookup: Option<Lookup<'a>>,
    /// The file's folder.
    pub(super) folder: Option<&'a Path>,
    /// `$VAR` stands for a variable wherever it is, not only as a whole word.
    pub(super) bare: bool,
    /// `{env:VAR}`, without a dollar, stands for a variable.
    pub(super) braces: bool,
    /// The variables that the entry itself gives its program: in an argument, the program replaces them.
    pub(super) own: Option<&'a Map<String, Value>>,
}

impl fmt::Debug for Variables<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variables").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The expansion of one server's texts, with the values that it took from the environment.
#[derive(Debug, Default)]
pub(super) struct Expansion {
    secrets: RefCell<BTreeSet<String>>,
    /// The placeholders that stay as they are, because nobody's variables are read.
    pub(super) left: RefCell<BTreeSet<String>>,
}

impl Expansion {
    /// The values that were taken from the environment.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.secrets.borrow().iter().cloned().collect()
    }

    /// `text` with its placeholders replaced. A value is not looked at again, whatever stands in it.
    ///
    /// Errors: a sentence about each placeholder that cannot be replaced, with its name and never with a value.
    pub(super) fn expand(&self, text: &str, variables: Variables<'_>) -> Result<String, String> {
        self.expand_at(text, variables, 0)
    }

    fn expand_at(&self, text: &str, variables: Variables<'_>, nested: usize) -> Result<String, String> {
        if nested > MAX_NESTED {
            return Err(format!("a default stands in a default more than {MAX_NESTED} times"));
        }
        if text.matches('$').count() > MAX_PLACEHOLDERS || text.matches("{env:").count() > MAX_PLACEHOLDERS {
            return Err(format!("it has more than {MAX_PLACEHOLDERS} placeholders"));
        }
        let (mut out, mut rest) = (String::with_capacity(text.len().min(MAX_EXPANDED)), text);
        let mut before = None;
        while let Some(next) = rest.chars().next() {
            let (piece, after) = if let Some((asked, after)) = placeholder(rest, before, variables) {
                (self.value(&asked, variables, nested)?, after)
            } else {
                let (piece, after) = rest.split_at(next.len_utf8());
                (piece.to_owned(), after)
            };
            before = rest[..rest.len() - after.len()].chars().next_back();
            rest = after;
            out.push_str(&piece);
            if out.len() > MAX_EXPANDED {
                return Err(format!(
                    "it has more than {MAX_EXPANDED} bytes after its variables are replaced"
                ));
            }
        }
        Ok(out)
    }

    fn value(
        &self,
        asked: &Placeholder<'_>,
        variables: Variables<'_>,
        nested: usize,
    ) -> Result<String, String> {
        let Some(lookup) = variables.lookup else {
            self.left.borrow_mut().insert(asked.shown());
            return Ok(asked.text.to_owned());
        };
        let (kind, name) = match asked.inside.split_once(':') {
            Some((kind, rest)) if !rest.starts_with(['-', '?', '=', '+']) => (kind, rest),
            _ => ("env", asked.inside),
        };
        match kind {
            "env" => self.variable(asked, name, lookup, variables, nested),
            "input" => Err(format!(
                "`{}` asks a person, and nobody is here to answer; put `${{env:NAME}}` or the value in its place",
                asked.shown()
            )),
            _ => Err(format!(
                "`{}` is a placeholder that only its own program can replace; put the value in its place",
                asked.shown()
            )),
        }
    }

    fn variable(
        &self,
        asked: &Placeholder<'_>,
        inside: &str,
        lookup: Lookup<'_>,
        variables: Variables<'_>,
        nested: usize,
    ) -> Result<String, String> {
        if let Some(known) = predefined(inside, lookup, variables) {
            return known;
        }
        let end = inside.find(|c: char| !is_name(c)).unwrap_or(inside.len());
        let (name, rest) = inside.split_at(end);
        if variables.own.is_some_and(|own| own.contains_key(name)) {
            return Ok(asked.text.to_owned());
        }
        let default = rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-'));
        let ends = rest.is_empty() || default.is_some() || rest.starts_with(":?") || rest.starts_with('?');
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !ends {
            return Err(format!(
                "`{}` is a placeholder that is not understood; write `${{NAME}}` or `${{NAME:-default}}`",
                asked.shown()
            ));
        }
        if name.to_ascii_uppercase().starts_with(OWN) {
            return Err(format!("`{name}` is a variable of the gateway itself, which no server is given"));
        }
        // `:-` stands in for an empty value, too, as in a shell.
        let keeps_empty = !rest.starts_with(':');
        match (lookup(name).filter(|value| keeps_empty || !value.is_empty()), default) {
            (Some(value), _) => {
                if !value.is_empty() {
                    self.secrets.borrow_mut().insert(value.clone());
                }
                Ok(value)
            }
            (None, Some(default)) => self.expand_at(default, variables, nested + 1),
            (None, None) => Err(format!(
                "the variable `{name}` is not set in the environment of the process that reads the file; set it, or write \
                 `${{{name}:-default}}`"
            )),
        }
    }
}

/// Folders and signs that programs know without being told. None is a variable.
fn predefined(name: &str, lookup: Lookup<'_>, variables: Variables<'_>) -> Option<Result<String, String>> {
    let folder = || {
        let own = variables.folder?;
        let inner = own.file_name().and_then(|name| name.to_str()).is_some_and(|name| INNER.contains(&name));
        let folder = if inner { own.parent()? } else { own };
        Some(folder.to_path_buf())
    };
    let found = match name {
        "workspaceFolder" | "workspaceRoot" => folder().map(|folder| folder.display().to_string()),
        "workspaceFolderBasename" => {
            folder().and_then(|folder| Some(folder.file_name()?.to_string_lossy().into_owned()))
        }
        "userHome" => lookup("HOME").or_else(|| lookup("USERPROFILE")),
        "pathSeparator" | "/" => Some(std::path::MAIN_SEPARATOR.to_string()),
        _ => return None,
    };
    Some(found.ok_or_else(|| format!("`${{{name}}}` has no value here; write the path in its place")))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A placeholder as it is written.
struct Placeholder<'t> {
    text: &'t str,
    inside: &'t str,
}

impl Placeholder<'_> {
    /// Its text up to a default, which may be a secret.
    fn shown(&self) -> String {
        let bare = || self.inside.find('-').filter(|at| !self.inside[..*at].contains(':'));
        let end = self.inside.find(":-").or_else(bare).unwrap_or(self.inside.len());
        let name: String = self.inside[..end].chars().take(80).collect();
        format!("${{{}}}", name.escape_debug())
    }
}

/// The placeholder at the beginning of `text`, and the text behind it. `before` is the character before it.
fn placeholder<'t>(
    text: &'t str,
    before: Option<char>,
    variables: Variables<'_>,
) -> Option<(Placeholder<'t>, &'t str)> {
    if let Some(inside) = text.strip_prefix("${") {
        let end = closing(inside)?;
        let (whole, after) = text.split_at("${".len() + end + 1);
        return Some((Placeholder { text: whole, inside: &inside[..end] }, after));
    }
    if variables.braces && text.starts_with("{env:") {
        let end = text.find('}')?;
        return Some((Placeholder { text: &text[..=end], inside: &text[1..end] }, &text[end + 1..]));
    }
    let name = text.strip_prefix('$')?;
    let end = name.find(|c: char| !is_name(c)).unwrap_or(name.len());
    let (name, after) = name.split_at(end);
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
        return None;
    }
    // Elsewhere a dollar may be a part of a password: only a word that is nothing but the name of a variable stands for one.
    let blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
    let constant = name.len() > 1 && !name.contains(|c: char| c.is_ascii_lowercase());
    let word = blank(before) && blank(after.chars().next()) && constant;
    (variables.bare || word).then(|| (Placeholder { text: &text[..=end], inside: name }, after))
}

/// Where the brace that is open closes; a default may have braces of its own.
fn closing(inside: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let value = match name {
            "TOKEN" => "s3cret",
            "TRICK" => "${TOKEN}",
            "EMPTY" => "",
            "HOME" => "/home/ann",
            "MREG_KEY" => "the gateway's own",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn variables() -> Variables<'static> {
        Variables {
            lookup: Some(&lookup),
            folder: Some(Path::new("/work/app/.vscode")),
            ..Variables::default()
        }
    }

    #[test]
    fn every_form_of_a_placeholder_is_replaced() {
        for (text, expected) in [
            ("${TOKEN}", "s3cret"),
            ("Bearer ${env:TOKEN}!", "Bearer s3cret!"),
            ("${NONE:-d}${NONE-e}${EMPTY:-f}${EMPTY-g}", "def"),
            ("${NONE:-${TOKEN}}", "s3cret"),
            ("${NONE:-${ALSO:-a{b}c}}", "a{b}c"),
            ("${TOKEN:-d}", "s3cret"),
            ("${TRICK}", "${TOKEN}"),
            ("$TOKEN", "s3cret"),
            ("Bearer $TOKEN", "Bearer s3cret"),
            ("pa$$TOKEN", "pa$$TOKEN"),
            ("a$TOKEN", "a$TOKEN"),
            ("$lower $1 $ ${", "$lower $1 $ ${"),
            ("{env:TOKEN}", "{env:TOKEN}"),
            ("${workspaceFolder}/x", "/work/app/x"),
            ("${workspaceFolderBasename}", "app"),
            ("${userHome}${/}x", "/home/ann/x"),
            ("ä${TOKEN}ö", "äs3cretö"),
        ] {
            assert_eq!(Expansion::default().expand(text, variables()).as_deref(), Ok(expected), "{text}");
        }
        let gemini = Variables { bare: true, ..variables() };
        assert_eq!(Expansion::default().expand("x-$TOKEN/y", gemini).unwrap(), "x-s3cret/y");
        let opencode = Variables { braces: true, ..variables() };
        assert_eq!(Expansion::default().expand("Bearer {env:TOKEN}", opencode).unwrap(), "Bearer s3cret");
    }

    #[test]
    fn what_cannot_be_replaced_is_named_and_its_default_is_not() {
        for (text, named) in [
            ("${NONE}", "`NONE` is not set"),
            ("$NONE", "`NONE` is not set"),
            ("${EMPTY:?}", "`EMPTY` is not set"),
            ("${input:api-key}", "`${input:api-key}` asks a person"),
            ("${config:x.y}", "`${config:x.y}` is a placeholder that only"),
            ("${MREG_KEY}", "`MREG_KEY` is a variable of the gateway"),
            ("${env:mreg_key:-x}", "`mreg_key` is a variable of the gateway"),
            ("${A B}", "not understood"),
            ("${}", "not understood"),
            ("${TOKEN:+other}", "not understood"),
        ] {
            let error = Expansion::default().expand(text, variables()).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
        let error = Expansion::default().expand("${x.y:-hush}", variables()).unwrap_err();
        assert!(!error.contains("hush"), "{error}");
        let nested = format!("{}x{}", "${A:-".repeat(50), "}".repeat(50));
        assert!(Expansion::default().expand(&nested, variables()).unwrap_err().contains("default"));
    }

    #[test]
    fn without_somebodys_variables_a_placeholder_stays() {
        let expansion = Expansion::default();
        let text = "a ${TOKEN} $TOKEN ${X:-hush}";
        assert_eq!(expansion.expand(text, Variables::default()).unwrap(), text);
        assert_eq!(expansion.left.take().into_iter().collect::<Vec<_>>(), ["${TOKEN}", "${X}"]);
        assert!(expansion.secrets().is_empty());
    }

    #[test]
    fn values_of_the_environment_are_secrets_and_defaults_are_not() {
        let expansion = Expansion::default();
        expansion.expand("${TOKEN} ${NONE:-d} ${EMPTY}", variables()).unwrap();
        assert_eq!(expansion.secrets(), ["s3cret"]);
    }
}
