//! The servers that a configuration names, itself and in the file that it imports.

use super::Config;
use crate::error::{ErrorKind, Result};
use crate::files;
use crate::registry::import::{self, Import};

/// Largest file of servers, in bytes.
const MAX_IMPORT_BYTES: u64 = 4 * 1024 * 1024;

impl Config {
    /// The servers of the configuration, and of the file that `import` names, with the notes about that.
    ///
    /// Errors: [`ErrorKind::InvalidParams`], with the file, if it cannot be read or understood.
    pub fn declared(&self) -> Result<Import> {
        let mut declared = Import { registrations: self.servers.clone(), notes: Vec::new() };
        if let Some(path) = &self.import {
            let text = files::read_text(path, MAX_IMPORT_BYTES)
                .map_err(|fault| fault.into_error(ErrorKind::InvalidParams, "`import`", path))?;
            let import = import::mcp_servers(&text).map_err(|error| error.with("file", path.display()))?;
            declared.registrations.extend(import.registrations);
            declared.notes.extend(import.notes);
        }
        Ok(declared)
    }
}
