//! Files with a secret that are made once: readable for this user alone, and whole from the moment they have their name.

use std::io::{ErrorKind, Result, Write};
use std::path::Path;

/// Makes the file at `path` with `text`, readable for this user alone. Returns `false`, and leaves the file as it is, where there
/// is one: of two processes that begin on one folder one makes it, and the other finds it whole.
pub(crate) fn make(path: &Path, text: &str) -> Result<bool> {
    // Written whole under another name first.
    let unique = format!("{}.{}", path.display(), uuid::Uuid::new_v4());
    let made = write(Path::new(&unique), text).and_then(|()| std::fs::hard_link(&unique, path));
    let removed = std::fs::remove_file(&unique);
    match made.and(removed) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts a file with `text` in the place of the one at `path`, if there is one: at every moment, also after a loss of power, one of
/// the two is there whole.
#[cfg(feature = "sqlite")]
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    let unique = format!("{}.{}", path.display(), uuid::Uuid::new_v4());
    let unique = Path::new(&unique);
    let replaced = write(unique, text).and_then(|()| std::fs::rename(unique, path));
    if replaced.is_err() {
        // The rest is of no use; the first error gives the reason.
        let _ = std::fs::remove_file(unique);
    }
    replaced.and_then(|()| flush_folder(path))
}

/// Makes the names in the folder of `path` survive a loss of power.
#[cfg(all(feature = "sqlite", unix))]
fn flush_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(all(feature = "sqlite", not(unix)))]
#[expect(clippy::unnecessary_wraps, reason = "there are systems where it can fail")]
fn flush_folder(_: &Path) -> Result<()> {
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
