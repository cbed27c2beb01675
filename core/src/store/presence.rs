//! A locked file beside a database, which names the process that has it open.
//!
//! One process does not see the registrations of another, so that commands have to find the gateway that runs, wherever it
//! listens, and a second one must not start. The system releases the lock when its holder ends, however it ends; a
//! file that is left behind means nothing.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::store::StoreLocation;

/// Longest wait for a command that has the database for the time of its work.
const WAIT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// The holder of a database.
#[derive(Clone, Copy, Debug)]
pub enum Holder<'a> {
    /// A gateway that is reached at this URL.
    Served(&'a str),
    /// A program that embeds a gateway, by the number of its process.
    Embedded(u32),
    /// A command, which is done soon.
    Command,
}

/// A claim on the location of a store, until it is dropped. Only a file is for one at a time: memory is this process's own,
/// and a server at a URL takes many.
#[derive(Debug)]
pub struct Presence {
    _file: Option<File>,
}

impl Presence {
    /// Claims `location`. Waits for a command, not for a gateway.
    ///
    /// [`ErrorKind::Conflict`], naming the holder, where another has it; [`ErrorKind::Storage`] if the lock cannot be made.
    pub async fn claim(location: &StoreLocation, holder: Holder<'_>) -> Result<Self> {
        let Some(database) = location.file() else { return Ok(Self { _file: None }) };
        let path = beside(database);
        let failed = |error: std::io::Error| {
            let message = format!("{}: cannot be made or locked: {error}", path.display());
            Error::new(ErrorKind::Storage, message)
        };
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open().map_err(failed)?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let taken = |by: &str| Error::new(ErrorKind::Conflict, format!("{} {by}", database.display()));
            if let Some(holder) = read(&mut file) {
                return Err(taken(&if is_url(&holder) {
                    format!("is served by the gateway at {holder}")
                } else {
                    format!("is open in a program with a gateway of its own, {holder}")
                }));
            }
            if waited >= WAIT {
                return Err(taken("is in use by another command for longer than 10 s"));
            }
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
            file = open().map_err(failed)?;
        }
        let text = match holder {
            Holder::Served(url) => url.to_owned(),
            Holder::Embedded(process) => format!("process {process}"),
            Holder::Command => String::new(),
        };
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(failed)?;
        Ok(Self { _file: Some(file) })
    }
}

fn is_url(holder: &str) -> bool {
    holder.starts_with("http://") || holder.starts_with("https://")
}

/// The URL of the gateway that serves the database at `location` now; `None` for a location that no gateway has for itself.
pub fn serving(location: &StoreLocation) -> Option<String> {
    let database = location.file()?;
    let mut file = files::open(&beside(database)).ok()?;
    // Shared, so that commands that look at the same time do not take each other for a gateway.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read(&mut file).filter(|holder| is_url(holder)),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn read(file: &mut File) -> Option<String> {
    let mut url = String::new();
    file.take(1024).read_to_string(&mut url).ok()?;
    Some(url).filter(|url| !url.is_empty())
}

fn beside(database: &Path) -> PathBuf {
    let mut name = OsString::from(database.as_os_str());
    name.push(".serving");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gateway_is_found_while_it_lives_and_keeps_others_out() {
        let folder = tempfile::tempdir().unwrap();
        let database = StoreLocation::File(folder.path().join("gateway.db"));
        assert_eq!(serving(&database), None);
        let own = Presence::claim(&database, Holder::Served("http://127.0.0.1:4711")).await.unwrap();
        assert_eq!(serving(&database).as_deref(), Some("http://127.0.0.1:4711"));
        let refused = Presence::claim(&database, Holder::Command).await.unwrap_err().to_string();
        assert!(refused.contains("http://127.0.0.1:4711"), "{refused}");
        drop(own);
        assert_eq!(serving(&database), None, "what is left behind says nothing");
    }

    #[tokio::test]
    async fn a_place_that_is_no_file_keeps_nobody_out() {
        for location in ["memory:", "postgres://db/x"].map(|text| StoreLocation::parse(text).unwrap()) {
            let _one = Presence::claim(&location, Holder::Served("http://x")).await.unwrap();
            let _other = Presence::claim(&location, Holder::Served("http://y")).await.unwrap();
            assert_eq!(serving(&location), None);
        }
    }

    #[tokio::test]
    async fn a_command_is_waited_for_and_is_no_gateway() {
        let folder = tempfile::tempdir().unwrap();
        let database = StoreLocation::File(folder.path().join("gateway.db"));
        let command = Presence::claim(&database, Holder::Command).await.unwrap();
        assert_eq!(serving(&database), None);
        let (serve, ()) = tokio::join!(Presence::claim(&database, Holder::Served("http://x")), async {
            tokio::task::yield_now().await;
            drop(command);
        });
        assert_eq!((serve.is_ok(), serving(&database).as_deref()), (true, Some("http://x")));
    }

    #[tokio::test]
    async fn a_program_that_embeds_a_gateway_keeps_others_out_and_is_not_called() {
        let folder = tempfile::tempdir().unwrap();
        let database = StoreLocation::File(folder.path().join("gateway.db"));
        let _own = Presence::claim(&database, Holder::Embedded(7)).await.unwrap();
        assert_eq!(serving(&database), None);
        let refused = Presence::claim(&database, Holder::Served("http://x")).await.unwrap_err();
        assert!(
            refused.kind() == ErrorKind::Conflict && refused.message().contains("process 7"),
            "{refused}"
        );
    }
}
