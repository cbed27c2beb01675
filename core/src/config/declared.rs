//! The servers that a configuration names, itself and in the file that it imports.

use std::io::Read;
use std::path::Path;

use super::Config;
use crate::error::{Error, ErrorKind, Result};
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
            let import =
                import::mcp_servers(&read(path)?).map_err(|error| error.with("file", path.display()))?;
            declared.registrations.extend(import.registrations);
            declared.notes.extend(import.notes);
        }
        Ok(declared)
    }
}

fn read(path: &Path) -> Result<String> {
    let failed = |message: String| Error::new(ErrorKind::InvalidParams, message).with("file", path.display());
    let file =
        std::fs::File::open(path).map_err(|error| failed(format!("the file cannot be read: {error}")))?;
    let mut text = String::new();
    let mut limited = file.take(MAX_IMPORT_BYTES + 1);
    limited.read_to_string(&mut text).map_err(|error| failed(format!("the file cannot be read: {error}")))?;
    if text.len() as u64 > MAX_IMPORT_BYTES {
        return Err(failed(format!("the file is larger than the limit of {MAX_IMPORT_BYTES} bytes")));
    }
    Ok(text)
}
