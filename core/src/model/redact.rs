//! Texts that may hold secrets, as they are shown: URLs and arguments of programs.
//!
//! A secret has no form of its own, so this errs to the safe side: every value in a URL's query and everything before its
//! host is hidden, and of the rest each part that is named as a secret, begins like one, or looks as if it was drawn by chance.
//! Values that must not be seen at all belong into `env` or `configuration.headers`, whose values are never shown.

use std::borrow::Cow;

use super::server::{Server, ServerEndpoint};

/// The text in the place of a secret. In a change it means: leave it as it is.
pub const HIDDEN: &str = "***";

/// Parts of names that stand for secrets, in lower case and without `-` and `_`.
const NAMES: [&str; 16] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "apikey",
    "accesskey",
    "privatekey",
    "auth",
    "cookie",
    "credential",
    "signature",
    "session",
    "bearer",
    "dsn",
];

/// How tokens of well-known issuers begin.
const BEGINNINGS: [&str; 26] = [
    "sk-",
    "sk_",
    "pk_",
    "rk_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xapp-",
    "mcp_",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "eyJ",
    "hf_",
    "npm_",
    "pypi-",
    "SG.",
    "dop_v1_",
];

/// A URL without the parts that may be secret: everything before its host, the values of its query, its fragment, and parts of
/// its path that look like secrets.
pub fn url(text: &str) -> String {
    let (rest, fragment) = match text.split_once('#') {
        Some((rest, _)) => (rest, "#***"),
        None => (text, ""),
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (scheme, rest) = rest.split_once("://").unwrap_or(("", rest));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut shown = String::with_capacity(text.len());
    if !scheme.is_empty() {
        shown.push_str(scheme);
        shown.push_str("://");
    }
    match authority.rsplit_once('@') {
        Some((_, host)) => {
            shown.push_str(HIDDEN);
            shown.push('@');
            shown.push_str(host);
        }
        None => shown.push_str(authority),
    }
    let parts = path.split('/').map(|part| if is_drawn(part) { HIDDEN } else { part });
    shown.push_str(&parts.collect::<Vec<_>>().join("/"));
    if let Some(query) = query {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if !is_drawn(name) => format!("{name}={HIDDEN}"),
            _ => HIDDEN.to_owned(),
        });
        shown.push('?');
        shown.push_str(&pairs.collect::<Vec<_>>().join("&"));
    }
    shown.push_str(fragment);
    shown
}

/// Arguments of a program without the parts that may be secret.
pub fn args(args: &[String]) -> Vec<String> {
    let mut named = false;
    let show = |arg: &String| {
        let shown = if named && !arg.starts_with('-') { HIDDEN.to_owned() } else { one(arg) };
        named = arg.starts_with('-') && !arg.contains('=') && is_secret_name(arg);
        shown
    };
    args.iter().map(show).collect()
}

/// Where a server is, as it is shown: without what is or may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownEndpoint {
    /// The URL; `None` for a command.
    pub endpoint_url: Option<String>,
    /// The program; `None` for a URL.
    pub command: Option<String>,
    /// The program's arguments.
    pub args: Option<Vec<String>>,
    /// The program's working directory.
    pub cwd: Option<String>,
}

/// Where `server` is, as it is shown. Texts of `configuration.secrets` are hidden wherever they stand.
pub fn endpoint(server: &Server) -> ShownEndpoint {
    let covered = |text: &str| covered(text, &server.configuration.secrets);
    match &server.endpoint {
        ServerEndpoint::Url { endpoint_url } => ShownEndpoint {
            endpoint_url: Some(url(&covered(endpoint_url))),
            command: None,
            args: None,
            cwd: None,
        },
        ServerEndpoint::Command { command, args: given, cwd, .. } => {
            let given: Vec<String> = given.iter().map(|arg| covered(arg)).collect();
            ShownEndpoint {
                endpoint_url: None,
                command: Some(covered(command)),
                args: Some(args(&given)),
                cwd: cwd.as_deref().map(covered),
            }
        }
    }
}

/// `text` with [`HIDDEN`] for each of `secrets`, the longest first, since one may be part of another.
pub fn covered(text: &str, secrets: &[String]) -> String {
    let mut secrets: Vec<&String> = secrets.iter().filter(|secret| !secret.is_empty()).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.into_iter().fold(text.to_owned(), |text, secret| {
        // A text that is hidden already is not hidden again, piece by piece.
        let parts = text.split(HIDDEN).map(|part| part.replace(secret.as_str(), HIDDEN));
        parts.collect::<Vec<_>>().join(HIDDEN)
    })
}

/// The problem that serde reports, without the value: a secret may stand at a place where it does not belong.
pub fn without_value(message: &str) -> String {
    let names_it = message.starts_with("invalid ") || message.starts_with("unknown variant ");
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if names_it => format!("expected {expected}"),
        _ => message.to_owned(),
    }
}

fn one(arg: &str) -> String {
    if arg.split_once("://").is_some_and(|(scheme, _)| !scheme.contains(['=', ' '])) {
        return url(arg);
    }
    for divider in ['=', ':'] {
        let Some((name, value)) = arg.split_once(divider) else { continue };
        if name.len() < 64 && is_secret_name(name) {
            return format!("{name}{divider}{HIDDEN}");
        }
        if divider == '=' && name.len() < 64 {
            return format!("{name}={}", one(value));
        }
    }
    let scheme = arg.split_once(' ').map(|(scheme, _)| scheme.to_ascii_lowercase());
    if matches!(scheme.as_deref(), Some("bearer" | "basic" | "token")) {
        return HIDDEN.to_owned();
    }
    if arg.split(['/', ' ', ',', '"', '\'']).any(is_drawn) { HIDDEN.to_owned() } else { arg.to_owned() }
}

/// The secrets of one server, to be taken out of messages that others write about it.
#[derive(Clone)]
pub struct Secrets(Vec<String>);

/// Shorter values are found everywhere, and protect nothing.
const SHORTEST: usize = 6;

impl Secrets {
    /// The texts of `configuration.secrets`, the values of the server's environment and headers, and the hidden parts of its
    /// arguments and its URL.
    pub fn of(server: &Server) -> Self {
        let mut all: Vec<&str> = server.configuration.secrets.iter().map(String::as_str).collect();
        for value in server.configuration.headers.values() {
            all.extend([value.as_str(), value.split_once(' ').map_or("", |(_, token)| token)]);
        }
        match &server.endpoint {
            ServerEndpoint::Url { endpoint_url } => {
                let (rest, query) = endpoint_url.split_once('?').unwrap_or((endpoint_url, ""));
                all.extend(rest.split('/').filter(|part| is_drawn(part)));
                all.extend(
                    query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value)),
                );
            }
            ServerEndpoint::Command { args: given, env, .. } => {
                all.extend(env.values().map(String::as_str));
                for (arg, shown) in given.iter().zip(args(given)).filter(|(arg, shown)| *arg != shown) {
                    let kept = arg.bytes().zip(shown.bytes()).take_while(|(a, b)| a == b).count();
                    all.extend([arg.as_str(), arg.get(kept..).unwrap_or_default()]);
                    all.extend(arg.split([' ', '=', ':']).filter(|part| is_drawn(part)));
                }
            }
        }
        let mut all: Vec<String> = all
            .into_iter()
            .map(str::trim)
            .filter(|secret| secret.len() >= SHORTEST)
            .map(str::to_owned)
            .collect();
        // The longest first: one may be part of another.
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all.dedup();
        Self(all)
    }

    /// The text with [`HIDDEN`] for each of the secrets.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.iter().fold(Cow::Borrowed(text), |text, secret| {
            if text.contains(secret) { text.replace(secret, HIDDEN).into() } else { text }
        })
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(***)")
    }
}

fn is_secret_name(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    plain.ends_with("key") || NAMES.iter().any(|part| plain.contains(part))
}

/// Whether a text begins as tokens do, or looks drawn by chance: a run of 16 or more letters and digits in which digits stand
/// among letters, 20 or more in which large letters stand among small ones, or a UUID.
fn is_drawn(text: &str) -> bool {
    if text.len() >= 12 && BEGINNINGS.iter().any(|beginning| text.starts_with(beginning)) {
        return true;
    }
    if text.parse::<uuid::Uuid>().is_ok() {
        return true;
    }
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|run| {
        let has = |is: fn(&u8) -> bool| run.bytes().any(|byte| is(&byte));
        let digits = run.bytes().filter(u8::is_ascii_digit).count();
        let letters = run.len() - digits;
        let changes = run
            .as_bytes()
            .windows(2)
            .filter(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
            .count();
        (run.len() >= 16 && digits >= 2 && letters >= 2)
            || (run.len() >= 20 && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && changes >= 4)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_its_form_and_loses_its_secrets() {
        for (text, shown) in [
            ("https://h/mcp", "https://h/mcp"),
            ("http://127.0.0.1:8080/v1/mcp/calc-server", "http://127.0.0.1:8080/v1/mcp/calc-server"),
            ("https://user:pw@h:1/mcp", "https://***@h:1/mcp"),
            ("https://h/mcp?api_key=abc&region=eu&x", "https://h/mcp?api_key=***&region=***&***"),
            ("https://h/s/Zm9vYmFyMTIzNDU2Nzg5MA/mcp", "https://h/s/***/mcp"),
            ("https://h/7f9c2ba4-e88f-427d-a15f-1c2d3e4f5a6b/sse", "https://h/***/sse"),
            ("wss://h/x#access_token=abc", "wss://h/x#***"),
            ("https://h/model-context-protocol-2025/mcp", "https://h/model-context-protocol-2025/mcp"),
        ] {
            assert_eq!(url(text), shown);
        }
    }

    #[test]
    fn a_declared_secret_is_hidden_wherever_it_stands() {
        let secrets = ["tenant".to_owned(), "a-tenant-b".to_owned(), "*".to_owned(), String::new()];
        for (text, shown) in [
            ("https://tenant.example/mcp", "https://***.example/mcp"),
            ("--id=a-tenant-b,tenant", "--id=***,***"),
            ("plain", "plain"),
        ] {
            assert_eq!(covered(text, &secrets), shown);
        }
    }

    #[test]
    fn arguments_are_shown_but_for_what_is_named_or_looks_like_a_secret() {
        let given = [
            "-y",
            "@modelcontextprotocol/server-filesystem",
            "/home/ann/data",
            "--port=8080",
            "--api-key",
            "abc",
            "--token=abc",
            "API_TOKEN=abc",
            "Authorization: Bearer abc",
            "--header",
            "X-Api-Key: abc",
            "Bearer abc",
            "postgres://ann:pw@db/app?sslmode=require",
            "ghp_abcdefghijkl",
            "--verbose",
        ];
        let shown = [
            "-y",
            "@modelcontextprotocol/server-filesystem",
            "/home/ann/data",
            "--port=8080",
            "--api-key",
            "***",
            "--token=***",
            "API_TOKEN=***",
            "Authorization:***",
            "--header",
            "X-Api-Key:***",
            "***",
            "postgres://***@db/app?sslmode=***",
            "***",
            "--verbose",
        ];
        assert_eq!(args(&given.map(str::to_owned)), shown);
    }
}
