//! The servers that a configuration names, itself and in the file that it imports.

use std::path::Path;

use super::Config;
use crate::error::{ErrorKind, Result};
use crate::files;
use crate::registry::import::{self, Excluded, Format, Import, Reading};

/// Largest file of servers, in bytes.
pub const MAX_IMPORT_BYTES: u64 = 4 * 1024 * 1024;

impl Config {
    /// The servers of the configuration, and of the file that `import` names, with the notes about that. An entry of the file that
    /// cannot be used costs itself alone.
    ///
    /// Errors: [`ErrorKind::InvalidParams`], with the file, if it cannot be read or understood.
    pub fn declared(&self) -> Result<Import> {
        let mut declared = Import { registrations: self.servers.clone(), ..Import::default() };
        let Some(path) = &self.import else { return Ok(declared) };
        let import = import_file(path, None)?;
        declared.format = import.format;
        declared.notes = import.notes;
        declared.excluded = import.excluded;
        for registration in import.registrations {
            if self.servers.iter().any(|own| own.name == registration.name) {
                let reason = "the configuration itself has a server of this name, which counts".to_owned();
                declared.excluded.push(Excluded { name: registration.name, reason });
            } else {
                declared.registrations.push(registration);
            }
        }
        Ok(declared)
    }
}

/// The servers of a file that the operator named, on the command line or in the configuration. Placeholders in it stand for the
/// variables of this process; see [`import::read`].
///
/// Errors: [`ErrorKind::InvalidParams`], with the file, if it cannot be read or understood.
pub fn import_file(path: &Path, format: Option<Format>) -> Result<Import> {
    let text = files::read_text(path, MAX_IMPORT_BYTES)
        .map_err(|fault| fault.into_error(ErrorKind::InvalidParams, "`import`", path))?;
    let read = with_variables(path, format, |reading| import::read(&text, reading));
    read.map_err(|error| error.with("file", path.display()))
}

/// Reads by `read` what the operator named as `path`, which is `-` for standard input, with the variables of this process.
pub fn with_variables<T>(path: &Path, format: Option<Format>, read: impl FnOnce(&Reading<'_>) -> T) -> T {
    let folder = std::path::absolute(path).ok();
    let folder = folder.as_deref().and_then(Path::parent);
    read(&Reading { format, variables: Some(&variable), folder })
}

/// A variable of this process, if it is text.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}
