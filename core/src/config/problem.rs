//! Problems of a configuration: all of them, each with its place and its remedy.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Location {
    /// In the file, at a line counted from 1 where it is known.
    File(PathBuf, Option<usize>),
    /// In the configuration that a program gave.
    Inline,
    /// In a `.env` file, at a line, as the variable of this name.
    Dotenv(PathBuf, usize, String),
    /// In an environment variable.
    Variable(String),
    /// On the command line.
    Flag(String),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, Some(line)) => write!(f, "{}:{line}", file.display()),
            Self::File(file, None) => write!(f, "{}", file.display()),
            Self::Inline => f.write_str("the given configuration"),
            Self::Dotenv(file, line, name) => write!(f, "{}:{line}: {name}", file.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "option {name}"),
        }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(super) place: Location,
    /// The key, dotted; empty where there is none.
    pub key: String,
    /// The problem, and the value that was expected.
    pub message: String,
}

impl Problem {
    /// Where: `file:line`, the variable, or the option.
    pub fn place(&self) -> String {
        self.place.to_string()
    }

    /// The file, if it is in one.
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            Location::File(file, _) | Location::Dotenv(file, ..) => Some(file),
            Location::Inline | Location::Variable(_) | Location::Flag(_) => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.place, self.message),
            key => write!(f, "{}: `{key}`: {}", self.place, self.message),
        }
    }
}

/// Everything that is wrong, in the order of the file, then `.env`, then variables, then options. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub(super) Vec<Problem>);

impl Problems {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} problem{}", if count == 1 { "" } else { "s" })?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        Self::new(ErrorKind::InvalidParams, problems.to_string())
    }
}

/// ` (did you mean …?)`, if one of `known` is near.
pub(super) fn hint<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(asked, name), name))
        .filter(|(distance, name)| *distance <= name.len().max(asked.len()).div_ceil(3))
        .min();
    near.map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}
