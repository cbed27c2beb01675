//! The anchor's file: lines that each say what some commits made, signed. Together they say what was acknowledged.
//!
//! A line is appended by one write. It survives the end of the process as soon as it is written, and the loss of power once it is
//! flushed, moments later; a line that was cut by a loss of power is passed over. When the lines are many, one line replaces
//! them: written whole under another name, flushed, and renamed. Several processes may append: they lock the file, and
//! notice when another has replaced it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::record::Acknowledged;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::store::secret_file;
use crate::store::signing::SigningKey;

/// Largest size that is read, in bytes: some 500,000 tenants.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// Lines are replaced by one when they have grown by this, and to twice the size of that one.
const GROWN: u64 = 64 * 1024;
const CONTEXT: &[u8] = b"mcp-registry-gateway anchor 1\0";

/// A line as it is signed.
#[derive(Serialize, Deserialize)]
struct Line {
    /// The key that signs it.
    key: String,
    #[serde(flatten)]
    says: Acknowledged,
}

/// The contents of a file.
#[derive(Debug)]
pub(in crate::store) struct Reading {
    pub(in crate::store) says: Acknowledged,
    /// Whether another key signed it, so that nobody can tell who wrote it.
    pub(in crate::store) foreign: bool,
}

/// Reads the file at `path`; `None` if there is none.
pub(in crate::store) fn read(path: &Path, key: &SigningKey) -> Result<Option<Reading>> {
    match files::read(path, MAX_FILE) {
        Ok(bytes) => match parse(&bytes, key) {
            Some(reading) => Ok(Some(reading)),
            None => Err(damaged(path)),
        },
        Err(fault) if fault.is_missing() => Ok(None),
        Err(fault) => Err(fault.into_error(ErrorKind::Storage, "the record of what was acknowledged", path)),
    }
}

/// All lines that `key` signed, or, if it signed none, those of another key.
fn parse(bytes: &[u8], key: &SigningKey) -> Option<Reading> {
    let (mut own, mut others): (Option<Acknowledged>, Option<Acknowledged>) = (None, None);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let Some((signature, text)) = halves(line) else { continue };
        let Ok(line) = serde_json::from_slice::<Line>(text) else { continue };
        let says = if line.key != key.id() {
            &mut others
        } else if key.signed(&statement(text), &signature) {
            &mut own
        } else {
            continue;
        };
        match says {
            Some(says) => says.add(line.says),
            None => *says = Some(line.says),
        }
    }
    let foreign = own.is_none();
    own.or(others).map(|says| Reading { says, foreign })
}

fn halves(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    Some((BASE64_STANDARD.decode(&line[..space]).ok()?, &line[space + 1..]))
}

fn statement(text: &[u8]) -> Vec<u8> {
    [CONTEXT, text].concat()
}

fn line(key: &SigningKey, says: &Acknowledged) -> io::Result<String> {
    let line = Line { key: key.id().to_owned(), says: says.clone() };
    let text = serde_json::to_string(&line)?;
    Ok(format!("\n{} {text}\n", BASE64_STANDARD.encode(key.sign(&statement(text.as_bytes())))))
}

/// Makes the file; leaves one that another process has made as it is.
pub(in crate::store) fn make(path: &Path, key: &SigningKey, says: &Acknowledged) -> Result<()> {
    let made = line(key, says).and_then(|text| secret_file::make(path, &text));
    made.map(drop).map_err(|error| unwritten(path, &error))
}

/// Puts this in the place of all that the file says.
pub(in crate::store) fn put(path: &Path, key: &SigningKey, says: &Acknowledged) -> Result<()> {
    let put = line(key, says).and_then(|text| secret_file::replace(path, &text));
    put.map_err(|error| unwritten(path, &error))
}

/// Removes the file, for data that is no more.
pub(in crate::store) fn forget(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritten(path, &error)),
        _ => Ok(()),
    }
}

fn damaged(path: &Path) -> Error {
    let message = "the record of what was acknowledged is damaged, so that nobody can tell whether the database is whole; \
        restore both from a backup, or remove the file to go on with the database as it is";
    Error::new(ErrorKind::Storage, message).with("file", path.display())
}

fn unwritten(path: &Path, error: &io::Error) -> Error {
    let message = format!(
        "the record of what was acknowledged cannot be written: {error}; check the path and its permissions"
    );
    Error::new(ErrorKind::Storage, message).with("file", path.display())
}

/// The file, open to append to it.
pub(super) struct AnchorFile {
    path: PathBuf,
    key: Arc<SigningKey>,
    /// All that it says, as far as this process knows.
    says: Acknowledged,
    file: Option<File>,
    /// Its size when it had one line.
    base: u64,
    /// Whether a line is missing that could not be written.
    behind: bool,
}

impl AnchorFile {
    pub(super) fn new(path: &Path, key: Arc<SigningKey>, says: Acknowledged) -> Self {
        Self { path: path.to_owned(), key, says, file: None, base: 0, behind: false }
    }

    /// Adds what commits made.
    pub(super) fn append(&mut self, made: &Acknowledged) -> io::Result<()> {
        self.says.add(made.clone());
        let outcome = self.write(made);
        self.behind = outcome.is_err();
        outcome
    }

    fn write(&mut self, made: &Acknowledged) -> io::Result<()> {
        let Some(mut file) = self.locked()? else { return self.replace() };
        let text = line(&self.key, if self.behind { &self.says } else { made })?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.metadata());
        let grown = written.as_ref().is_ok_and(|found| found.len() > GROWN + 2 * self.base);
        // The lock is held until the file is replaced, so that no line gets lost.
        let outcome = if grown { self.gather().and_then(|()| self.replace()) } else { Ok(()) };
        let unlocked = file.unlock();
        if !grown {
            self.file = Some(file);
        }
        written.and(outcome).and(unlocked)
    }

    /// Flushes what was appended.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// The file that the path leads to now, locked; `None` if there is none.
    fn locked(&mut self) -> io::Result<Option<File>> {
        loop {
            let file = match self.file.take() {
                Some(file) => file,
                None => match OpenOptions::new().append(true).open(&self.path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error),
                },
            };
            file.lock()?;
            if is_at(&file, &self.path) {
                return Ok(Some(file));
            }
        }
    }

    /// Takes in what other processes have appended.
    fn gather(&mut self) -> io::Result<()> {
        let bytes = files::read(&self.path, MAX_FILE).map_err(io::Error::other)?;
        if let Some(Reading { says, foreign: false }) = parse(&bytes, &self.key) {
            self.says.add(says);
        }
        Ok(())
    }

    /// Puts one line in the place of all.
    fn replace(&mut self) -> io::Result<()> {
        let text = line(&self.key, &self.says)?;
        self.base = text.len() as u64;
        self.file = None;
        secret_file::replace(&self.path, &text)
    }
}

/// Whether `path` leads to the open file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let place = |found: std::fs::Metadata| (found.dev(), found.ino());
    let (open, named) = (file.metadata().map(place), std::fs::metadata(path).map(place));
    matches!((open, named), (Ok(open), Ok(named)) if open == named)
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}
