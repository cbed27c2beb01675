//! The location of a store: in memory, in a file, or at a URL.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// The location of a store. Not every store is a file, so nothing but a file has a folder in which other files can lie.
///
/// ```
/// use std::path::Path;
/// use mcp_registry_gateway::store::StoreLocation;
///
/// # fn main() -> mcp_registry_gateway::Result<()> {
/// let location = StoreLocation::parse("sqlite:gateway.db")?.within(Path::new("/var/lib/mcp"));
/// assert_eq!(location.file(), Some(Path::new("/var/lib/mcp/gateway.db")));
/// assert_eq!(StoreLocation::parse("memory:")?, StoreLocation::Memory);
/// assert_eq!(StoreLocation::parse("postgres://app:secret@db/gateway")?.to_string(), "postgres://db/gateway");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// The memory of this process.
    Memory,
    /// A SQLite database.
    File(PathBuf),
    /// A server that keeps it, with which other processes may work at the same time.
    Url(url::Url),
}

impl StoreLocation {
    /// Reads `memory:`, `sqlite:PATH`, `postgres://…` or `postgresql://…`.
    ///
    /// [`ErrorKind::InvalidParams`] for any other text.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) => match path.strip_prefix("//").unwrap_or(path) {
                ":memory:" => Ok(Self::Memory),
                "" => Err(unusable("it names no file")),
                path => Ok(Self::File(path.into())),
            },
            Some(("postgres" | "postgresql", _)) => match url::Url::parse(text) {
                Ok(url) if url.has_host() => Ok(Self::Url(url)),
                _ => Err(unusable("it names no database server")),
            },
            _ => Err(unusable("expected `sqlite:PATH` or `memory:`")),
        }
    }

    /// The same location, where a relative path leads from `folder`.
    #[must_use]
    pub fn within(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            other => other,
        }
    }

    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Memory | Self::Url(_) => None,
        }
    }
}

/// Without user, password and parameters, of which any may be a secret.
impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => {
                write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
                if let Some(port) = url.port() {
                    write!(f, ":{port}")?;
                }
                f.write_str(url.path())
            }
        }
    }
}

fn unusable(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidParams, message).with("field", "url")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_place_is_read_and_others_are_refused() {
        let file = |path: &str| StoreLocation::File(path.into());
        for (text, expected) in [
            ("memory:", StoreLocation::Memory),
            ("sqlite::memory:", StoreLocation::Memory),
            ("sqlite:a.db", file("a.db")),
            ("sqlite:///a/b.db", file("/a/b.db")),
        ] {
            assert_eq!(StoreLocation::parse(text).unwrap(), expected, "{text}");
        }
        for text in
            ["", "a.db", "memory:x", "sqlite:", "sqlite://", "mysql://db/x", "postgres:", "postgres:///x"]
        {
            let error = StoreLocation::parse(text).unwrap_err();
            assert_eq!(error.context(), [("field", "url".to_owned())], "{text}");
        }
    }

    #[test]
    fn a_url_is_shown_without_its_secrets_and_has_no_folder() {
        let location = StoreLocation::parse("postgresql://ann:pw@db:5433/x?password=pw").unwrap();
        assert_eq!(location.to_string(), "postgresql://db:5433/x");
        assert_eq!(location.clone().within(Path::new("/data")), location);
        assert_eq!(location.file(), None);
    }
}
