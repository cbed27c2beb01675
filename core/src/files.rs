//! Files that somebody names: in a registration, in a configuration, on a command line.
//!
//! A named path need not be a file. A named pipe without a writer holds an open for ever, a device yields bytes without end, and
//! a disk that is gone answers nothing. So every named file is opened here: without waiting, only if it is a regular file
//! (looked at before it is opened, and again on what was opened), and up to a size. Symbolic links are followed, since secrets
//! are often mounted as such. Threads that serve calls read nothing themselves: [`in_time`] reads on a thread of its own, and gives up.

use std::fmt;
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::future::Future;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::tasks;

/// How long a thread that serves calls waits for a file.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Why a file cannot be used. Its text goes on where the name of the setting ends: "`server.tls.cert` is a folder, …".
#[derive(Debug)]
pub enum Fault {
    /// The system does not let it be read, or it is not there.
    Unreadable(io::Error),
    /// It is something else than a regular file.
    NotRegular(&'static str),
    /// It is larger than so many bytes.
    TooLarge(u64),
    /// It is no text in UTF-8.
    NotText,
    /// It was not read within [`PATIENCE`].
    Late,
}

impl Fault {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Unreadable(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// An error of `kind`, in which `what` is the setting or thing that names the file at `path`.
    pub fn into_error(self, kind: ErrorKind, what: &str, path: &Path) -> Error {
        let error = Error::new(kind, format!("{what} {self}")).with("file", path.display());
        match self {
            Self::Unreadable(cause) => error.caused_by(cause),
            _ => error,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => {
                write!(f, "cannot be read: {error}; check the path and its permissions")
            }
            Self::NotRegular(found) => {
                write!(f, "is {found}, and only a regular file is read; name a regular file")
            }
            Self::TooLarge(limit) => {
                write!(f, "is larger than the limit of {limit} bytes; name a smaller file")
            }
            Self::NotText => f.write_str("is not UTF-8 text; save it as UTF-8"),
            Self::Late => {
                write!(f, "was not read within {} s; put the file on a disk that answers", PATIENCE.as_secs())
            }
        }
    }
}

impl std::error::Error for Fault {}

/// Whether the entry at `path` is a regular file, for a library that opens it itself.
pub fn check(path: &Path) -> Result<(), Fault> {
    regular(&std::fs::metadata(path).map_err(Fault::Unreadable)?)
}

/// Opens the regular file at `path`. Never waits for another process.
pub fn open(path: &Path) -> Result<File, Fault> {
    // Before it is opened, too: to open a device can do something by itself.
    check(path)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt as _;
        // The standard library adds O_CLOEXEC.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    }
    let file = options.open(path).map_err(Fault::Unreadable)?;
    // The opened file counts: the path may lead elsewhere by now.
    regular(&file.metadata().map_err(Fault::Unreadable)?)?;
    Ok(file)
}

/// The bytes of a file that is open, at most `limit`.
pub fn rest(file: File, limit: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Fault::Unreadable)?;
    if bytes.len() as u64 > limit { Err(Fault::TooLarge(limit)) } else { Ok(bytes) }
}

/// The bytes of the regular file at `path`, at most `limit`.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Fault> {
    rest(open(path)?, limit)
}

/// The text of the regular file at `path`, at most `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> Result<String, Fault> {
    String::from_utf8(read(path, limit)?).map_err(|_| Fault::NotText)
}

/// Runs `work`, which may wait for a disk, on a thread of its own. [`Fault::Late`] if it has not ended within [`PATIENCE`].
pub async fn in_time<T, F>(work: F) -> Result<T, Fault>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    soon(tasks::aside(work)).await?.ok_or(Fault::Late)
}

/// The outcome of `waiting`. [`Fault::Late`] if that takes longer than [`PATIENCE`].
pub async fn soon<T>(waiting: impl Future<Output = T>) -> Result<T, Fault> {
    tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| Fault::Late)
}

fn regular(found: &Metadata) -> Result<(), Fault> {
    if found.is_file() { Ok(()) } else { Err(Fault::NotRegular(kind(found.file_type()))) }
}

fn kind(found: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if found.is_fifo() {
            return "a named pipe";
        }
        if found.is_socket() {
            return "a socket";
        }
        if found.is_char_device() || found.is_block_device() {
            return "a device";
        }
    }
    if found.is_dir() { "a folder" } else { "no file" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &Path, limit: u64) -> String {
        let error = read(path, limit).unwrap_err().into_error(ErrorKind::InvalidParams, "`ca_file`", path);
        error.to_string()
    }

    #[test]
    fn a_regular_file_is_read_up_to_its_limit_also_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_text(&path, 5).unwrap(), "12345");
        assert!(said(&path, 4).contains("`ca_file` is larger than the limit of 4 bytes"));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(matches!(read_text(&path, 5), Err(Fault::NotText)));
        assert!(read(&folder.path().join("none"), 5).unwrap_err().is_missing());
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            assert_eq!(read(&link, 5).unwrap(), [0xff]);
        }
    }

    /// a path that is no regular file is refused at once, and the refusal says its kind; nothing waits for a writer.
    #[cfg(unix)]
    #[test]
    fn pipes_folders_devices_and_sockets_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for (path, found) in [
            (pipe.as_path(), "a named pipe"),
            (&link, "a named pipe"),
            (folder.path(), "a folder"),
            (Path::new("/dev/zero"), "a device"),
            (&socket, "a socket"),
        ] {
            let said = said(path, 1024);
            assert!(said.contains(&format!("`ca_file` is {found}, and only a regular file")), "{said}");
            assert!(said.contains(&path.display().to_string()), "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_answers_nothing_is_given_up() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let outcome = in_time(move || held.recv()).await;
        assert!(matches!(outcome, Err(Fault::Late)), "{outcome:?}");
        drop(hold);
    }
}
