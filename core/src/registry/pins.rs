//! Whether a command that fetches its program names exactly one.
//!
//! `npx foo` runs the program that is published as `foo` at the moment of the start. A registration of that kind is accepted,
//! since people keep such commands in their files, and is flagged wherever the server is shown.

use crate::model::{Server, ServerEndpoint, redact};

/// What an operator should know of the way in which a server is started: one sentence each.
pub fn warnings(server: &Server) -> Vec<String> {
    let ServerEndpoint::Command { command, args, .. } = &server.endpoint else { return Vec::new() };
    let warning = unpinned(command, args);
    warning.iter().map(|text| redact::covered(text, &server.configuration.secrets)).collect()
}

/// The work of a command that fetches its program before it runs it, such as `npx is installing`; `None` for any other.
pub fn fetching(endpoint: &ServerEndpoint) -> Option<String> {
    let ServerEndpoint::Command { command, args, .. } = endpoint else { return None };
    let program = program(command);
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let work = match (program, words.as_slice()) {
        ("npx" | "bunx" | "uvx", _)
        | ("npm", ["exec" | "x", ..])
        | ("pnpm" | "yarn", ["dlx", ..])
        | ("pipx" | "deno", ["run", ..])
        | ("uv", ["tool", "run", ..] | ["run", ..]) => "is installing",
        ("docker" | "podman" | "nerdctl", ["run", ..]) => "is fetching the image",
        _ => return None,
    };
    Some(format!("{program} {work}"))
}

/// The name of the program, without its folder and the endings of Windows.
fn program(command: &str) -> &str {
    let program = command.rsplit(['/', '\\']).next().unwrap_or(command);
    program.strip_suffix(".exe").or(program.strip_suffix(".cmd")).unwrap_or(program)
}

/// Flags of the runners that have a value behind them, as far as they are in use.
const NPX_VALUES: [&str; 6] = ["-p", "--package", "-c", "--call", "-w", "--registry"];
const UVX_VALUES: [&str; 11] = [
    "--from",
    "--with",
    "--with-editable",
    "--python",
    "-p",
    "--index-url",
    "--index",
    "--extra-index-url",
    "--env-file",
    "--directory",
    "--default-index",
];
const DOCKER_VALUES: [&str; 20] = [
    "-e",
    "--env",
    "--env-file",
    "-v",
    "--volume",
    "--mount",
    "-p",
    "--publish",
    "--name",
    "--network",
    "--net",
    "-w",
    "--workdir",
    "-u",
    "--user",
    "--entrypoint",
    "-m",
    "--memory",
    "-l",
    "--platform",
];

fn unpinned(command: &str, args: &[String]) -> Option<String> {
    let program = program(command);
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (what, image) = match (program, words.as_slice()) {
        ("npx" | "bunx", rest)
        | ("npm", ["exec" | "x", rest @ ..])
        | ("pnpm" | "yarn", ["dlx", rest @ ..]) => (chosen(rest, &["-p", "--package"], &NPX_VALUES)?, false),
        ("uvx", rest) | ("uv", ["tool", "run", rest @ ..]) => {
            (chosen(rest, &["--from"], &UVX_VALUES)?, false)
        }
        ("pipx", ["run", rest @ ..]) => {
            (chosen(rest, &["--spec"], &["--spec", "--python", "--index-url"])?, false)
        }
        ("dnx", rest) => (chosen(rest, &[], &["--source", "--version"])?, false),
        ("docker" | "podman", ["run", rest @ ..]) => (chosen(rest, &[], &DOCKER_VALUES)?, true),
        _ => return None,
    };
    let pinned = if image { is_pinned_image(what) } else { is_pinned_package(what) };
    let wish = if image {
        "name a tag other than `latest`, or better a digest (`@sha256:…`)"
    } else {
        "name an exact version, such as `@1.2.3`"
    };
    // Text that is hidden in the arguments is hidden here, too.
    let shown = redact::args(args).iter().any(|arg| arg.contains(what));
    let what = if shown { what } else { redact::HIDDEN };
    (!pinned).then(|| format!("`{program}` runs whatever `{what}` is at the time of each start; {wish}"))
}

/// The package or image that the words choose: the value of the flag that names it, or the first word that is no flag.
fn chosen<'a>(words: &[&'a str], naming: &[&str], with_value: &[&str]) -> Option<&'a str> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (flag, joined) = word.split_once('=').map_or((*word, None), |(flag, value)| (flag, Some(value)));
        if !word.starts_with('-') {
            return Some(word);
        }
        if naming.contains(&flag) {
            return joined.or_else(|| words.next().copied());
        }
        if with_value.contains(&flag) && joined.is_none() {
            words.next();
        }
    }
    None
}

/// Whether `npm`'s or `PyPI`'s spelling of a package has an exact version. A path or an address is not looked up anywhere.
fn is_pinned_package(what: &str) -> bool {
    let local = what.starts_with(['.', '/', '~']) || what.starts_with("file:");
    if local || what.contains("://") {
        return true;
    }
    if let Some((_, version)) = what.split_once("==") {
        return is_exact(version);
    }
    // The first `@` of a scoped name is a part of it.
    what.get(1..).and_then(|rest| rest.split_once('@')).is_some_and(|(_, version)| is_exact(version))
}

/// Whether an image is named by a digest, or by a tag that is not the moving one.
pub(super) fn is_pinned_image(image: &str) -> bool {
    if let Some((_, digest)) = image.split_once('@') {
        return digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64);
    }
    // A colon before the last slash belongs to a port.
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_some_and(|(_, tag)| !tag.is_empty() && tag != "latest")
}

/// Whether a version is one and not a range or a name that moves.
pub(super) fn is_exact(version: &str) -> bool {
    let bare = version.strip_prefix('v').unwrap_or(version);
    let numbers = bare.split(['-', '+']).next().unwrap_or(bare);
    let parts: Vec<&str> = numbers.split('.').collect();
    bare.starts_with(|c: char| c.is_ascii_digit())
        && parts.len() >= 2
        && parts.iter().all(|part| !part.is_empty() && !matches!(*part, "x" | "X"))
        && bare.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'+' | b'_' | b'!'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flagged(line: &str) -> bool {
        let mut words = line.split(' ').map(str::to_owned);
        let command = words.next().unwrap();
        unpinned(&command, &words.collect::<Vec<_>>()).is_some()
    }

    /// S-07: a command that fetches its program without an exact version is flagged, one with it is not.
    #[test]
    fn a_command_that_can_run_another_program_tomorrow_is_flagged() {
        for line in [
            "npx -y @scope/server-x",
            "npx foo",
            "npx foo@latest",
            "npx foo@^1.2.3",
            "npx foo@1",
            "npx foo@1.x",
            "/usr/bin/npx --package foo foo-bin",
            "uvx mcp-server-git",
            "uvx --from git-server run",
            "uv tool run foo",
            "uvx foo@latest",
            "pipx run foo",
            "docker run -i --rm ghcr.io/x/y",
            "docker run -i --rm -e KEY host:5000/y",
            "docker run --name x mcp/git:latest",
            "podman run mcp/git",
            "npm exec foo",
            "pnpm dlx foo",
            "npx.cmd foo",
        ] {
            assert!(flagged(line), "{line}");
        }
        for line in [
            "npx -y @scope/server-x@1.2.3",
            "npx foo@1.2.3-rc.1",
            "npx --package=foo@2.0.1 foo-bin",
            "npx -p foo@2.0.1 foo-bin",
            "uvx foo@0.6.2",
            "uvx --python 3.12 foo==0.6.2",
            "uvx --from foo==1.0 run",
            "uvx ./local",
            "npx /opt/server",
            "docker run -i --rm -e KEY ghcr.io/x/y:1.0.2",
            "python3 -m server",
            "node server.js",
            "docker run x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "docker compose up",
            "npx",
        ] {
            assert!(!flagged(line), "{line}");
        }
    }
}
