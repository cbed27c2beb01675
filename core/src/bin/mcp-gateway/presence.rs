//! Who has a database open: a locked file beside it, with the URL of the gateway that serves it.
//!
//! What one process registers, another does not see, so that commands have to find the gateway that runs, wherever it
//! listens, and a second one must not start. The system gives the lock back when its holder ends, however it ends; a
//! file that is left behind says nothing.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::exit::Failure;

/// Longest wait for a command that has the database for the time of its work.
const WAIT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// A claim on a database, until it is dropped.
#[derive(Debug)]
pub(crate) struct Presence {
    _file: File,
}

impl Presence {
    /// Claims `database`, to serve it at `url` or, without one, for the time of a command. Waits for a command, not for
    /// a gateway: that is an error which names its URL.
    pub(crate) async fn claim(database: &Path, url: Option<&str>) -> Result<Self, Failure> {
        let path = beside(database);
        let failed = |error: std::io::Error| {
            Failure::failed(format!("{}: cannot be made or locked: {error}", path.display()))
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
            if let Some(url) = read(&mut file) {
                return Err(Failure::failed(format!(
                    "{} is served by the gateway at {url}",
                    database.display()
                )));
            }
            if waited >= WAIT {
                let message = "is in use by another command for longer than 10 s";
                return Err(Failure::failed(format!("{} {message}", database.display())));
            }
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
            file = open().map_err(failed)?;
        }
        file.set_len(0).and_then(|()| file.write_all(url.unwrap_or_default().as_bytes())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// The URL of the gateway that serves `database` now.
pub(crate) fn serving(database: &Path) -> Option<String> {
    let mut file = OpenOptions::new().read(true).open(beside(database)).ok()?;
    // Shared, so that commands that look at the same time do not take each other for a gateway.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read(&mut file),
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
        let database = folder.path().join("gateway.db");
        assert_eq!(serving(&database), None);
        let own = Presence::claim(&database, Some("http://127.0.0.1:4711")).await.unwrap();
        assert_eq!(serving(&database).as_deref(), Some("http://127.0.0.1:4711"));
        let refused = Presence::claim(&database, None).await.unwrap_err().to_string();
        assert!(refused.contains("http://127.0.0.1:4711"), "{refused}");
        drop(own);
        assert_eq!(serving(&database), None, "what is left behind says nothing");
    }

    #[tokio::test]
    async fn a_command_is_waited_for_and_is_no_gateway() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("gateway.db");
        let command = Presence::claim(&database, None).await.unwrap();
        assert_eq!(serving(&database), None);
        let (serve, ()) = tokio::join!(Presence::claim(&database, Some("http://x")), async {
            tokio::task::yield_now().await;
            drop(command);
        });
        assert_eq!((serve.is_ok(), serving(&database).as_deref()), (true, Some("http://x")));
    }
}
