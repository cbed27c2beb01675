//! Where files live unless the user says otherwise.

use std::path::PathBuf;

/// The platform's directory for the data of programs: `~/.local/share/mcp-gateway` on Linux.
///
/// `None` where there is no home directory, or in a build without the feature `cli`.
pub fn default_data_dir() -> Option<PathBuf> {
    #[cfg(feature = "cli")]
    {
        directories::ProjectDirs::from("", "", "mcp-gateway").map(|dirs| dirs.data_local_dir().to_owned())
    }
    #[cfg(not(feature = "cli"))]
    {
        None
    }
}
