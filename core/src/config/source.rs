//! Where a configuration comes from: the file and the environment, gathered before anything is decided.

use std::path::{Path, PathBuf};

use super::MAX_FILE_BYTES;
use super::dotenv::Dotenv;
use super::problem::{Location, Problem, Problems};
use crate::files;

/// The file that is looked for in the working directory, then in the data directory.
pub const CONFIG_FILE: &str = "mcp-gateway.toml";

/// Prefix of every variable that the gateway reads.
pub(super) const PREFIX: &str = "MREG_";

/// The sources of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file's path and text, if there is one.
    pub file: Option<(PathBuf, String)>,
    /// The configuration of the embedding program, as JSON under the same keys, over the file.
    pub inline: Option<serde_json::Value>,
    /// The variables of a `.env` file, under those of the environment.
    pub dotenv: Option<Dotenv>,
    /// The variables whose names begin with `MREG_`, with their values.
    pub environment: Vec<(String, String)>,
    /// The options of the command line, over both: the option's name, the key, the value.
    pub options: Vec<(&'static str, &'static str, String)>,
}

impl Sources {
    /// The sources of a program that embeds the gateway: a file, or a configuration as JSON, or neither. Neither the environment
    /// nor the working directory is looked at, so that two gateways in one process have nothing in common.
    pub fn embedded(file: Option<&Path>, inline: Option<serde_json::Value>) -> Result<Self, Problems> {
        let file = file.map(|path| Ok((path.to_owned(), read(path)?))).transpose()?;
        Ok(Self { file, inline, ..Self::default() })
    }

    /// Reads `file`, or else the first [`CONFIG_FILE`] in the working directory and in `data_dir`, and the environment, under which
    /// `dotenv` stands.
    ///
    /// A file that is named and cannot be read is a problem; none at all is not.
    pub fn gather(
        file: Option<&Path>,
        data_dir: Option<&Path>,
        dotenv: Option<Dotenv>,
    ) -> Result<Self, Problems> {
        let found = match file {
            Some(file) => Some(file.to_owned()),
            None => [Some(PathBuf::from(CONFIG_FILE)), data_dir.map(|dir| dir.join(CONFIG_FILE))]
                .into_iter()
                .flatten()
                .find(|path| path.is_file()),
        };
        let file = match found {
            Some(path) => Some((read(&path)?, path)),
            None => None,
        };
        Ok(Self {
            file: file.map(|(text, path)| (path, text)),
            inline: None,
            dotenv,
            environment: environment(),
            options: Vec::new(),
        })
    }

    /// The variables of `.env` that count, and those for which the environment has another value.
    pub fn dotenv_names(&self) -> (Vec<&str>, Vec<&str>) {
        let names = self.dotenv.as_ref().map(Dotenv::names).unwrap_or_default();
        names.into_iter().partition(|name| !self.is_set(name))
    }

    /// Whether the environment has a variable of this name.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.environment.iter().any(|(set, _)| set == name)
    }

    /// The names of all variables that count.
    fn names(&self) -> impl Iterator<Item = &str> {
        let set = self.environment.iter().map(|(name, _)| name.as_str());
        self.dotenv_names().0.into_iter().chain(set)
    }

    /// Warnings to the operator although nothing is wrong: variables that this build does not use, a `.env` that others can read, and
    /// settings that are given by their former names.
    pub fn warnings(&self) -> Vec<String> {
        let exposed = self.dotenv.as_ref().and_then(Dotenv::exposed);
        exposed.into_iter().chain(self.names().filter_map(unused)).chain(super::load::renamed(self)).collect()
    }
}

/// Variables of the first gateway of this name, by their prefixes, with a note on each.
const ALIASES: [(&str, &str); 3] = [
    (
        "MREG_POSTGRES_",
        "this build has no PostgreSQL store; `store.path` says where the SQLite database lives",
    ),
    ("MREG_REDIS_URL", "this build keeps counters and sessions in its own memory, not in Redis"),
    (
        "MREG_AZURE_",
        "issuers of tokens are configured in `[[auth.issuers]]`, with `preset = \"entra\"` for Microsoft Entra ID",
    ),
];

/// Whether a variable is known and has no effect here.
pub(super) fn is_unused(name: &str) -> bool {
    ALIASES.iter().any(|(start, _)| name.starts_with(start))
}

/// The warning about a variable that has no effect here.
fn unused(name: &str) -> Option<String> {
    let (_, why) = ALIASES.iter().find(|(start, _)| name.starts_with(start))?;
    Some(format!("{name} is not used by this build: {why}"))
}

fn read(path: &Path) -> Result<String, Problems> {
    files::read_text(path, MAX_FILE_BYTES).map_err(|fault| {
        let (place, message) = (Location::File(path.to_owned(), None), fault.to_string());
        Problems(vec![Problem { place, key: String::new(), message }])
    })
}

fn environment() -> Vec<(String, String)> {
    let mut variables: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    variables.sort();
    variables
}
