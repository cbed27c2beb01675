//! `.env`: variables that the program reads from its working directory, under those of its environment.
//!
//! Only the program asks for it; a gateway in another program never does. The file is read as data: nothing of it becomes a variable
//! of this process, so that no server that the gateway starts inherits it. Names that do not begin with `MREG_` belong to other
//! programs and are passed over.

use std::path::{Path, PathBuf};

/// The file that the program looks for in its working directory.
pub const DOTENV_FILE: &str = ".env";

/// Largest `.env`, in bytes.
#[cfg(feature = "cli")]
const MAX_BYTES: u64 = 64 * 1024;

/// A variable of a `.env` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    /// Counted from 1; where a value of several lines begins.
    pub(super) line: usize,
}

/// The variables of a `.env` file whose names begin with `MREG_`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Dotenv {
    pub(super) path: PathBuf,
    pub(super) variables: Vec<Variable>,
    /// Whether other users of this machine can read the file.
    readable_by_others: bool,
}

impl std::fmt::Debug for Dotenv {
    /// Names alone: values can be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dotenv")
            .field("path", &self.path)
            .field("names", &self.names())
            .finish_non_exhaustive()
    }
}

impl Dotenv {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its variables, in the order of the file.
    pub fn names(&self) -> Vec<&str> {
        self.variables.iter().map(|variable| variable.name.as_str()).collect()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|variable| variable.name == name).map(|variable| variable.value.as_str())
    }

    /// The warning that the file needs, if other users can read secrets in it.
    pub(super) fn exposed(&self) -> Option<String> {
        let secret = self.variables.iter().find(|variable| variable.is_secret())?;
        let (path, name) = (self.path.display(), &secret.name);
        self.readable_by_others.then(|| {
            format!(
                "{path} holds a secret ({name}), and other users of this machine can read the file; run `chmod 600 {path}`"
            )
        })
    }
}

impl Variable {
    /// Whether its value is a secret that no other user may read.
    fn is_secret(&self) -> bool {
        let last = self.name.rsplit('_').next().unwrap_or_default();
        let named =
            matches!(last, "KEY" | "PASSWORD" | "SECRET" | "TOKEN") && self.name != "MREG_SERVER__TLS__KEY";
        // A URL can carry a password: `redis://:password@host`.
        let in_url = self.value.split_once("://").is_some_and(|(_, rest)| {
            rest.split('/')
                .next()
                .and_then(|authority| authority.split_once('@'))
                .is_some_and(|(user, _)| user.contains(':'))
        });
        named || in_url
    }
}

#[cfg(feature = "cli")]
mod reading {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::io::{self, Read};
    use std::path::Path;
    use std::rc::Rc;

    use super::{Dotenv, MAX_BYTES, Variable};
    use crate::config::problem::{Location, Problem, Problems};
    use crate::config::source::PREFIX;
    use crate::files;

    impl Dotenv {
        /// Reads the file at `path`; `None` if there is none.
        ///
        /// Values may be quoted and may span lines. `$NAME` in a value stands for a variable, except within single quotes.
        pub fn read(path: &Path) -> Result<Option<Self>, Problems> {
            let refused = |fault: files::Fault| problems(path, None, fault.to_string());
            let file = match files::open(path) {
                Err(fault) if fault.is_missing() => return Ok(None),
                file => file.map_err(refused)?,
            };
            let readable_by_others = is_readable_by_others(&file);
            let bytes = files::rest(file, MAX_BYTES).map_err(refused)?;
            let text = String::from_utf8(bytes).map_err(|_| refused(files::Fault::NotText))?;
            let variables = parse(path, &text)?;
            Ok(Some(Self { path: path.to_owned(), variables, readable_by_others }))
        }
    }

    #[cfg(unix)]
    fn is_readable_by_others(file: &std::fs::File) -> bool {
        use std::os::unix::fs::PermissionsExt as _;
        file.metadata().is_ok_and(|data| data.permissions().mode() & 0o044 != 0)
    }

    #[cfg(not(unix))]
    fn is_readable_by_others(_: &std::fs::File) -> bool {
        false
    }

    fn problems(path: &Path, line: Option<usize>, message: String) -> Problems {
        Problems(vec![Problem { place: Location::File(path.to_owned(), line), key: String::new(), message }])
    }

    fn parse(path: &Path, text: &str) -> Result<Vec<Variable>, Problems> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let taken = Rc::new(Cell::new(0));
        let lines = Lines { rest: text.as_bytes(), taken: Rc::clone(&taken) };
        let mut entries = dotenvy::from_read_iter(lines);
        let (mut variables, mut seen) = (Vec::new(), BTreeMap::new());
        loop {
            let before = taken.get();
            let Some(entry) = entries.next() else { return Ok(variables) };
            let line = beginning(text, before);
            // The parser's own words repeat the line, which can hold a secret.
            let (name, value) = entry.map_err(|_| {
                let message =
                    "expected `NAME=value`; put a value with spaces, quotes or `$` in single quotes";
                problems(path, Some(line), message.to_owned())
            })?;
            if !name.starts_with(PREFIX) {
                continue;
            }
            if let Some(first) = seen.insert(name.clone(), line) {
                let message = format!("{name} is set here and in line {first}; keep one of them");
                return Err(problems(path, Some(line), message));
            }
            variables.push(Variable { name, value, line });
        }
    }

    /// The line, counted from 1, in which the entry begins that follows the first `taken` lines.
    fn beginning(text: &str, taken: usize) -> usize {
        let mut lines = text.lines().enumerate().skip(taken);
        let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        lines.find(|(_, line)| says(line)).map_or(taken, |(index, _)| index + 1)
    }

    /// Returns one line with each read, so that it is known how many the parser has taken.
    struct Lines<'a> {
        rest: &'a [u8],
        taken: Rc<Cell<usize>>,
    }

    impl Read for Lines<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let line =
                self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |end| end + 1);
            let length = line.min(buffer.len());
            let (now, later) = self.rest.split_at(length);
            if let Some(room) = buffer.get_mut(..length) {
                room.copy_from_slice(now);
            }
            self.rest = later;
            if length == line && length > 0 {
                self.taken.set(self.taken.get() + 1);
            }
            Ok(length)
        }
    }
}
