//! The part of the gateway's environment that a child gets, and the path of its program.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// Variables that every child inherits: those that programs need to find their files, their language and their terminal. Anything
/// else, the gateway's own secrets above all, stays here.
pub const INHERITED: [&str; 22] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TERM",
    "TMPDIR",
    "TEMP",
    "TMP",
    "APPDATA",
    "LOCALAPPDATA",
    "PATHEXT",
    "PROGRAMDATA",
    "PROGRAMFILES",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "USERNAME",
    "USERPROFILE",
    "WINDIR",
];

/// Those of `vars` that a child inherits: [`INHERITED`] and `LC_*`. Values that begin with `()`, which a shell would
/// take for a function, are left out.
pub fn inherited(
    vars: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    vars.filter(|(name, value)| {
        let known = name.to_str().is_some_and(|name| {
            name.starts_with("LC_") || INHERITED.iter().any(|kept| name.eq_ignore_ascii_case(kept))
        });
        known && !value.as_encoded_bytes().starts_with(b"()")
    })
}

/// The whole environment of a child: the inherited variables, overlaid with those of its registration.
pub(super) fn of_child(configured: &BTreeMap<String, String>) -> BTreeMap<OsString, OsString> {
    // The one place outside `config` that reads the environment: this is not configuration, it is handed on unread.
    let mut all: BTreeMap<OsString, OsString> = inherited(std::env::vars_os()).collect();
    all.extend(configured.iter().map(|(name, value)| (name.into(), value.into())));
    all
}

/// The executable file that `command` names: a path as it is (a relative one from `cwd`), a bare name looked up on
/// `path`. [`ErrorKind::Unavailable`] if there is none, with what to do about it.
pub(super) fn find_program(command: &str, cwd: Option<&Path>, path: Option<&OsStr>) -> Result<PathBuf> {
    if let Some(cwd) = cwd.filter(|cwd| !cwd.is_dir()) {
        return Err(missing("the working directory does not exist; create it or change `cwd`")
            .with("cwd", cwd.display()));
    }
    if command.contains(std::path::is_separator) {
        let file = cwd.map_or_else(|| PathBuf::from(command), |cwd| cwd.join(command));
        if !is_executable(&file) {
            return Err(missing("the program is not an executable file; check `command`")
                .with("command", file.display()));
        }
        return Ok(file);
    }
    path.into_iter()
        .flat_map(std::env::split_paths)
        .filter(|folder| !folder.as_os_str().is_empty())
        .flat_map(|folder| candidates(&folder, command))
        .find(|file| is_executable(file))
        .ok_or_else(|| {
            missing("no program of this name is on PATH; install it, or give its full path as `command`")
                .with("command", command)
        })
}

fn missing(message: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, message).not_sent()
}

#[cfg(unix)]
fn candidates(folder: &Path, command: &str) -> [PathBuf; 1] {
    [folder.join(command)]
}

#[cfg(not(unix))]
fn candidates(folder: &Path, command: &str) -> [PathBuf; 4] {
    ["", ".exe", ".cmd", ".bat"].map(|ending| folder.join(format!("{command}{ending}")))
}

#[cfg(unix)]
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(file: &Path) -> bool {
    file.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_inherits_its_surroundings_and_no_secret() {
        let vars = [
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("MCP_GATEWAY_KEY", "secret"),
            ("SHELL", "() { :; }"),
            ("LCX", "1"),
        ];
        let kept: Vec<_> = inherited(vars.iter().map(|(k, v)| (k.into(), v.into()))).collect();
        assert_eq!(kept, [("PATH".into(), "/bin".into()), ("LC_ALL".into(), "C".into())]);
    }

    #[test]
    fn what_is_configured_wins_over_what_is_inherited() {
        let configured = BTreeMap::from([("PATH".to_owned(), "/only".to_owned())]);
        assert_eq!(of_child(&configured).get(OsStr::new("PATH")).unwrap(), "/only");
    }

    #[cfg(unix)]
    #[test]
    fn a_program_is_found_by_name_and_by_path_and_a_missing_one_is_named() {
        let path = OsStr::new("/nowhere:/usr/bin:/bin");
        assert!(find_program("sh", None, Some(path)).is_ok());
        assert!(find_program("/bin/sh", None, None).is_ok());
        assert!(find_program("./sh", Some(Path::new("/bin")), None).is_ok());
        for (command, cwd) in [("no-such-program", None), ("/etc/passwd", None), ("sh", Some("/nowhere"))] {
            let error = find_program(command, cwd.map(Path::new), Some(path)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert_eq!(error.delivery(), crate::error::Delivery::NotSent);
        }
    }
}
