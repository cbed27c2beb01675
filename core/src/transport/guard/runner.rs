//! Programs that fetch a package and run it: `npx`, `uvx`, `docker run` and their like.
//!
//! For a program of this kind the package decides which code runs, and some of its options decide where the package comes from. So
//! an entry of `[stdio] allow` for it names the package, or the beginning of its name; only the package's own arguments are left
//! open. An option of the program itself is taken where the entry has it, and nowhere else.

use super::pattern::Alphabet;

/// One way of running a package.
#[derive(Debug)]
struct Runner {
    /// The names of the program, without `.exe`, `.cmd` and the like.
    programs: &'static [&'static str],
    /// The words that have to come first, such as `tool run`; empty if the program does nothing else.
    words: &'static [&'static str],
    /// Long options that have no value of their own behind them.
    flags: &'static [&'static str],
    /// The letters of short options that have none.
    letters: &'static str,
    grammar: Grammar,
}

/// How a program reads what stands behind the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grammar {
    /// All of it belongs to the package.
    Ends,
    /// Options are the program's own wherever they stand, up to `--`.
    Goes,
    /// As `Ends`, and a package with a host in front comes from there.
    Image,
}

const NPM: &[&str] = &[
    "yes",
    "quiet",
    "silent",
    "verbose",
    "offline",
    "prefer-offline",
    "prefer-online",
    "ignore-scripts",
    "ignore-existing",
    "bun",
];
const UV: &[&str] = &[
    "quiet",
    "verbose",
    "isolated",
    "offline",
    "refresh",
    "upgrade",
    "native-tls",
    "reinstall",
    "force-reinstall",
    "managed-python",
];
const IMAGE: &[&str] = &[
    "interactive",
    "tty",
    "rm",
    "init",
    "privileged",
    "publish-all",
    "read-only",
    "detach",
    "quiet",
    "oom-kill-disable",
    "debug",
    "tls",
    "tlsverify",
];

const RUNNERS: [Runner; 17] = [
    runner(&["npx", "pnpx"], &[], NPM, "yqs", Grammar::Ends),
    runner(&["npm"], &["exec"], NPM, "yqs", Grammar::Goes),
    runner(&["npm"], &["x"], NPM, "yqs", Grammar::Goes),
    runner(&["pnpm", "yarn", "yarnpkg"], &["dlx"], NPM, "qs", Grammar::Ends),
    runner(&["pnpm", "yarn", "yarnpkg"], &["exec"], NPM, "qs", Grammar::Ends),
    runner(&["bunx"], &[], NPM, "", Grammar::Ends),
    runner(&["bun"], &["x"], NPM, "", Grammar::Ends),
    runner(&["uvx"], &[], UV, "qvnU", Grammar::Ends),
    runner(&["uv"], &["tool", "run"], UV, "qvnU", Grammar::Ends),
    runner(&["uv"], &["x"], UV, "qvnU", Grammar::Ends),
    runner(&["uv"], &["run"], UV, "qvnU", Grammar::Ends),
    runner(&["pipx"], &["run"], &["quiet", "verbose"], "qv", Grammar::Ends),
    runner(&["hatch", "rye", "pixi"], &["run"], &["quiet", "verbose"], "qv", Grammar::Ends),
    runner(&["docker", "podman", "nerdctl", "finch"], &["run"], IMAGE, "itdPqD", Grammar::Image),
    runner(&["docker", "podman", "nerdctl", "finch"], &["container", "run"], IMAGE, "itdPqD", Grammar::Image),
    runner(&["deno"], &["run"], &["allow-all", "quiet", "cached-only", "reload"], "AqRNWESr", Grammar::Ends),
    runner(&["dnx"], &[], &["yes", "interactive", "prerelease"], "y", Grammar::Ends),
];

const fn runner(
    programs: &'static [&'static str],
    words: &'static [&'static str],
    flags: &'static [&'static str],
    letters: &'static str,
    grammar: Grammar,
) -> Runner {
    Runner { programs, words, flags, letters, grammar }
}

/// Options of these programs that say where code comes from, or which other code runs. Some programs read them behind the package
/// too, so that an open end of an entry does not take them.
const SOURCES: [&str; 24] = [
    "--call",
    "--config-file",
    "--default-index",
    "--extra-index-url",
    "--find-links",
    "--from",
    "--globalconfig",
    "--import-map",
    "--index",
    "--index-strategy",
    "--index-url",
    "--node-options",
    "--package",
    "--pip-args",
    "--prefix",
    "--registry",
    "--script-shell",
    "--shell-mode",
    "--spec",
    "--trusted-host",
    "--userconfig",
    "--with",
    "--with-editable",
    "--with-requirements",
];

/// Ends of names that a program takes for a file, a folder or a repository.
const FILES: [&str; 9] = [".tgz", ".tar", ".tar.gz", ".tar.bz2", ".zip", ".whl", ".git", ".py", ".egg"];

/// The place of the package in the arguments of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Package {
    at: usize,
    grammar: Grammar,
    /// `--` stands in front of it.
    parted: bool,
}

/// An entry that leaves open which package runs.
#[derive(Debug)]
pub(super) struct Unnamed;

/// The package in the `patterns` of an entry for `program`, the name of its file; `None` if it runs no package.
pub(super) fn package(program: &str, patterns: &[String]) -> Result<Option<Package>, Unnamed> {
    let program = bare(program);
    let mut known = RUNNERS.iter().filter(|runner| runner.programs.contains(&&*program)).peekable();
    if known.peek().is_none() {
        return Ok(None);
    }
    for runner in known {
        if let Some(at) = runner.behind_words(patterns) {
            return runner.package(patterns, at).ok_or(Unnamed).map(Some);
        }
    }
    // Another command of the same program, such as `npm start`; but it has to be named.
    let command = patterns.iter().find(|pattern| !pattern.starts_with('-'));
    match command {
        Some(command) if !command.contains('*') => Ok(None),
        _ => Err(Unnamed),
    }
}

/// The name of a program without the ending of a system that has endings, in lower case.
fn bare(program: &str) -> String {
    let name = program.to_ascii_lowercase();
    let ending = [".exe", ".cmd", ".bat", ".ps1", ".js"].iter().find_map(|ending| name.strip_suffix(ending));
    let name = ending.unwrap_or(&name);
    name.strip_suffix("-cli").unwrap_or(name).to_owned()
}

impl Runner {
    /// The place behind the words that make the program a runner; options may stand in front of them and between them.
    fn behind_words(&self, patterns: &[String]) -> Option<usize> {
        let mut at = 0;
        for word in self.words {
            at = self.behind_options(patterns, at);
            if patterns.get(at)? != word {
                return None;
            }
            at += 1;
        }
        Some(at)
    }

    fn package(&self, patterns: &[String], from: usize) -> Option<Package> {
        let mut at = self.behind_options(patterns, from);
        let parted = patterns.get(at).is_some_and(|pattern| pattern == "--");
        at += usize::from(parted);
        let named = patterns.get(at)?;
        let names = named.bytes().any(|byte| byte.is_ascii_alphanumeric());
        names.then_some(Package { at, grammar: self.grammar, parted })
    }

    /// The place behind the options that begin at `at`. An option that is not known is taken to have a value, so that the value of
    /// one is never taken for the package.
    fn behind_options(&self, patterns: &[String], mut at: usize) -> usize {
        while let Some(option) =
            patterns.get(at).filter(|pattern| pattern.starts_with('-') && *pattern != "--")
        {
            at += if self.is_whole(option) { 1 } else { 2 };
        }
        at
    }

    fn is_whole(&self, option: &str) -> bool {
        if option.contains('=') {
            return true;
        }
        match option.strip_prefix("--") {
            Some(name) => {
                let families = ["no-", "allow-", "deny-", "unstable"];
                self.flags.contains(&name) || families.iter().any(|family| name.starts_with(family))
            }
            None => option.chars().skip(1).all(|letter| self.letters.contains(letter)),
        }
    }
}

impl Package {
    /// The characters that `*` stands for at this place: up to the package, those of a name.
    pub(super) fn alphabet(self, at: usize) -> Alphabet {
        if at <= self.at { Alphabet::Package } else { Alphabet::Text }
    }

    /// Whether `args`, which match `patterns`, run a package that the entry means, from where the program takes it by itself.
    pub(super) fn takes(self, patterns: &[String], args: &[String]) -> bool {
        let (Some(pattern), Some(named)) = (patterns.get(self.at), args.get(self.at)) else { return false };
        let told = |ending: &&str| has_ending(named, ending) && !has_ending(pattern, ending);
        if named.is_empty() || named.ends_with('/') || FILES.iter().any(told) {
            return false;
        }
        if self.grammar == Grammar::Image && host(named) != host(pattern) {
            return false;
        }
        let rest = args.get(self.at + 1..).unwrap_or_default();
        let listed = |arg: &str| patterns.iter().any(|pattern| pattern == arg);
        let mut own = self.grammar == Grammar::Goes && !self.parted;
        rest.iter().all(|arg| {
            own &= arg != "--";
            let name = arg.split('=').next().unwrap_or_default();
            let sources = SOURCES.contains(&name);
            listed(arg) || !(sources || (own && arg.starts_with('-')))
        })
    }
}

fn has_ending(name: &str, ending: &str) -> bool {
    let start = name.len().checked_sub(ending.len());
    start.and_then(|start| name.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(ending))
}

/// The host in the name of an image: its first part, if that can be one.
fn host(image: &str) -> Option<&str> {
    let (first, _) = image.split_once('/')?;
    (first.contains(['.', ':']) || first == "localhost").then_some(first)
}

#[cfg(test)]
mod tests {
    use super::super::pattern::fits;
    use super::*;

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_package_is_found_behind_the_options() {
        for (program, patterns, at) in [
            ("npx", &["-y", "@acme/*"][..], 1),
            ("npx.cmd", &["@acme/x", "**"], 0),
            ("npx", &["--registry", "https://own", "@acme/*"], 2),
            ("npx", &["--registry=https://own", "-y", "--", "@acme/*"], 3),
            ("npm", &["exec", "-y", "--", "@acme/*"], 3),
            ("pnpm", &["dlx", "acme-*"], 1),
            ("uvx", &["--from", "acme-tools", "acme-*"], 2),
            ("uv", &["-q", "tool", "run", "acme"], 3),
            ("pipx", &["run", "--spec", "acme==1.0", "acme"], 3),
            ("docker", &["run", "-i", "--rm", "-e", "KEY", "acme/*:1.0"], 5),
            ("docker", &["run", "-it", "--name=x", "acme/a"], 3),
            ("deno", &["run", "--allow-net=a.b", "-A", "npm:@acme/*"], 3),
        ] {
            let found = package(program, &owned(patterns)).unwrap().unwrap();
            assert_eq!(found.at, at, "{program} {patterns:?}");
        }
        for (program, patterns) in
            [("node", &["**"][..]), ("npm", &["start"]), ("docker", &["exec", "-i", "c"])]
        {
            assert_eq!(package(program, &owned(patterns)).unwrap(), None, "{program}");
        }
        for (program, patterns) in [
            ("npx", &["*"][..]),
            ("npx", &["-y"]),
            ("npx", &["-y", "--package", "x"]),
            ("npm", &["*", "x"]),
            ("npm", &[]),
            ("uvx", &["--with", "*"]),
            ("docker", &["run", "-v", "/:/host"]),
            ("docker", &["run", "*/*"]),
        ] {
            assert!(package(program, &owned(patterns)).is_err(), "{program} {patterns:?}");
        }
    }

    #[test]
    fn a_star_in_front_of_the_package_is_a_name_too() {
        let found = package("npx", &owned(&["--package=@acme/*", "acme"])).unwrap().unwrap();
        assert_eq!((found.alphabet(0), found.alphabet(2)), (Alphabet::Package, Alphabet::Text));
        assert!(!fits("--package=@acme/*", "--package=@acme/x@file:y", found.alphabet(0)));
    }
}
