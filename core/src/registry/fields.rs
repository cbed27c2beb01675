//! The rules for each member of a server. A check adds to a list and goes on, so that a user sees all problems at once.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    Affinity, Configuration, HealthCheck, Restriction, Server, ServerEndpoint, ServiceName, TransportType,
};

const MAX_NAME: usize = 128;
const MAX_WEIGHT: u32 = 1_000_000;
const MAX_TAGS: usize = 32;
const MAX_TAG: usize = 64;
const MAX_LABEL: usize = 256;
const MAX_DESCRIPTION: usize = 8 * 1024;
const MAX_URL: usize = 4 * 1024;
const MAX_ARGS: usize = 1024;
const MAX_HEADERS: usize = 64;
const MAX_SECRETS: usize = 256;
/// Restrictions of a server, and names in each list of one, at most.
const MAX_PATTERNS: usize = 64;
const MAX_PATTERN: usize = 256;
const MAX_CONNECTIONS: u32 = 1000;
const MAX_QUEUED: u32 = 100_000;

/// Headers that belong to one connection (RFC 9110, section 7.6.1), or that the gateway itself sets.
const OWN_HEADERS: [&str; 18] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "content-type",
    "accept",
    "mcp-session-id",
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
    "last-event-id",
];

/// The problems, by member, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<(&'static str, String)>);

impl Problems {
    pub(super) fn add(&mut self, member: &'static str, problem: impl Into<String>) {
        self.0.push((member, problem.into()));
    }

    fn unless(&mut self, right: bool, member: &'static str, problem: &str) {
        if !right {
            self.add(member, problem);
        }
    }

    pub(super) fn finish<T>(self, what: &str, good: T) -> Result<T> {
        if self.0.is_empty() { Ok(good) } else { Err(self.into_error(what)) }
    }

    pub(super) fn into_error(self, what: &str) -> Error {
        let message = match self.0.len() {
            1 => format!("the {what} has a problem"),
            count => format!("the {what} has {count} problems"),
        };
        self.0.into_iter().fold(Error::new(ErrorKind::InvalidParams, message), |error, (member, problem)| {
            error.with(member, problem)
        })
    }
}

/// Whether `text` is 1 to 128 of `A-Za-z0-9_.-`: the form of server, tool and prompt names.
pub(super) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-'))
}

pub(super) fn name(name: &str, problems: &mut Problems) {
    problems.unless(is_name(name), "name", "a name has 1 to 128 of A-Z a-z 0-9 _ . -");
}

/// Stands in for a service that could not be read while the other members are checked.
#[expect(clippy::expect_used, reason = "the literal is a valid name")]
pub(super) fn placeholder() -> ServiceName {
    ServiceName::new("unnamed").expect("`unnamed` is a valid service")
}

/// Tags without blanks around them, each once, in the order given.
pub(super) fn tags(tags: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let trimmed = tags.into_iter().map(|tag| tag.trim().to_owned());
    trimmed.filter(|tag| seen.insert(tag.clone())).collect()
}

/// Checks everything but the name and the service.
pub(super) fn server(server: &Server, problems: &mut Problems) {
    match &server.endpoint {
        ServerEndpoint::Url { endpoint_url } if server.transport_type == TransportType::Memory => {
            // One that went by another name could take the place of one to which somebody has no access.
            let own = endpoint_url.strip_prefix("memory:") == Some(&server.name);
            problems.unless(own, "endpoint_url", "with `memory` it is `memory:` and the server's own name");
        }
        ServerEndpoint::Url { endpoint_url } if server.transport_type == TransportType::Custom => {
            custom_url(endpoint_url, problems);
        }
        ServerEndpoint::Url { endpoint_url } => url(endpoint_url, server.transport_type, problems),
        ServerEndpoint::Command { command, args, env, cwd } => {
            if server.transport_type != TransportType::Stdio {
                problems.add(
                    "transport_type",
                    "a `command` is reached over `stdio`; give an `endpoint_url` otherwise",
                );
            }
            self::command(command, args, env, cwd.as_deref(), problems);
        }
    }
    for (member, text) in [("version", &server.version), ("display_name", &server.display_name)] {
        let fits = text.as_ref().is_none_or(|text| text.chars().count() <= MAX_LABEL);
        problems.unless(fits, member, "at most 256 characters");
    }
    let fits = server.description.as_ref().is_none_or(|text| text.len() <= MAX_DESCRIPTION);
    problems.unless(fits, "description", "at most 8192 bytes");
    problems.unless(server.tags.len() <= MAX_TAGS, "tags", "at most 32 tags");
    let fits = server.tags.iter().all(|tag| (1..=MAX_TAG).contains(&tag.chars().count()));
    problems.unless(fits, "tags", "a tag has 1 to 64 characters");
    problems.unless(server.weight <= MAX_WEIGHT, "weight", "at most 1000000; 0 drains the server");
    health_check(&server.health_check, problems);
    configuration(&server.configuration, problems);
    let has_headers =
        matches!(server.transport_type, TransportType::Http | TransportType::Sse | TransportType::Websocket);
    problems.unless(
        has_headers || server.configuration.credentials.is_shared(),
        "configuration",
        "`credentials` = `caller` needs a server that is reached by a URL: a program is shown no headers",
    );
}

fn url(text: &str, transport: TransportType, problems: &mut Problems) {
    const MEMBER: &str = "endpoint_url";
    let schemes: &[&str] = match transport {
        TransportType::Http | TransportType::Sse => &["http", "https"],
        TransportType::Websocket => &["ws", "wss"],
        TransportType::Stdio | TransportType::Memory | TransportType::Custom => {
            return problems.add(
                "transport_type",
                "`stdio` starts a `command`; a URL needs `http`, `sse` or `websocket`",
            );
        }
    };
    problems.unless(text.len() <= MAX_URL, MEMBER, "at most 4096 bytes");
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return problems.add(MEMBER, format!("not a URL: {error}")),
    };
    if !schemes.contains(&url.scheme()) {
        problems.add(MEMBER, format!("with `{transport}` it begins with {}://", schemes.join(":// or ")));
    }
    problems.unless(url.host_str().is_some_and(|host| !host.is_empty()), MEMBER, "it names no host");
    let bare = url.username().is_empty() && url.password().is_none();
    problems.unless(bare, MEMBER, "no user or password in it; put credentials into `configuration.headers`");
    problems.unless(url.fragment().is_none(), MEMBER, "no `#fragment`: it is never sent");
}

/// The schemes of URLs that the gateway reaches by itself.
pub(crate) const SCHEMES: [&str; 5] = ["http", "https", "ws", "wss", "memory"];

/// A URL of which nothing is known but that a connector of the embedding program's own reads it.
fn custom_url(text: &str, problems: &mut Problems) {
    const MEMBER: &str = "endpoint_url";
    problems.unless(text.len() <= MAX_URL, MEMBER, "at most 4096 bytes");
    match Url::parse(text) {
        Ok(url) => problems.unless(
            text.starts_with(url.scheme()) && !SCHEMES.contains(&url.scheme()),
            MEMBER,
            "with `custom` its scheme is one that the embedding program brings a connector for, in lower case",
        ),
        Err(error) => problems.add(MEMBER, format!("not a URL: {error}")),
    }
}

fn command(
    command: &str,
    args: &[String],
    env: &BTreeMap<String, String>,
    cwd: Option<&str>,
    problems: &mut Problems,
) {
    let nul = |text: &str| text.contains('\0');
    problems.unless(!command.trim().is_empty(), "command", "it is empty; name the program to start");
    problems.unless(!nul(command), "command", "no NUL character");
    problems.unless(args.len() <= MAX_ARGS, "args", "at most 1024 arguments");
    problems.unless(!args.iter().any(|text| nul(text)), "args", "no NUL character");
    let good = |name: &str| !name.is_empty() && !name.contains('=') && !nul(name);
    problems.unless(
        env.keys().all(|name| good(name)),
        "env",
        "a variable's name is not empty and has no `=`",
    );
    problems.unless(!env.values().any(|text| nul(text)), "env", "no NUL character");
    problems.unless(!cwd.is_some_and(nul), "cwd", "no NUL character");
}

fn health_check(check: &HealthCheck, problems: &mut Problems) {
    let counted = check.unhealthy_after >= 1 && check.healthy_after >= 1;
    problems.unless(counted, "health_check", "`unhealthy_after` and `healthy_after` are at least 1");
}

fn configuration(configuration: &Configuration, problems: &mut Problems) {
    const MEMBER: &str = "configuration";
    let connections = (1..=MAX_CONNECTIONS).contains(&configuration.max_connections);
    problems.unless(connections, MEMBER, "`max_connections` is 1 to 1000");
    let queued = configuration.max_queued <= MAX_QUEUED;
    problems.unless(queued, MEMBER, "`max_queued` is 0 to 100000");
    let load = configuration.max_load.is_none_or(|load| (1.0..=100.0).contains(&load));
    problems.unless(load, MEMBER, "`max_load` is a factor from 1 to 100");
    match &configuration.affinity {
        Affinity::Header(name) => {
            problems.unless(is_token(name), MEMBER, "`affinity.header` is not the name of a header");
        }
        Affinity::Argument(pointer) => {
            let right = pointer.is_empty() || pointer.starts_with('/');
            problems.unless(right, MEMBER, "`affinity.argument` is a JSON pointer, such as `/user/id`");
        }
        Affinity::Session | Affinity::Principal => {}
    }
    let findable = configuration
        .ca_file
        .as_ref()
        .is_none_or(|path| Path::new(path).is_absolute() && !path.contains('\0'));
    problems.unless(findable, MEMBER, "`ca_file` is the absolute path of a PEM file");
    let patterns = |one: &Restriction| {
        [&one.tools, &one.resources, &one.prompts, &one.subjects].into_iter().all(|list| {
            list.len() <= MAX_PATTERNS && list.iter().all(|text| (1..=MAX_PATTERN).contains(&text.len()))
        })
    };
    let bounded = configuration.access.len() <= MAX_PATTERNS && configuration.access.iter().all(patterns);
    problems.unless(
        bounded,
        MEMBER,
        "`access` has at most 64 restrictions of 64 names of 1 to 256 bytes each",
    );
    let secrets = &configuration.secrets;
    let bounded = secrets.len() <= MAX_SECRETS
        && secrets.iter().all(|text| (1..=MAX_DESCRIPTION).contains(&text.len()));
    problems.unless(bounded, MEMBER, "`secrets` has at most 256 texts of 1 to 8192 bytes each");
    problems.unless(configuration.headers.len() <= MAX_HEADERS, MEMBER, "at most 64 `headers`");
    let mut seen = HashSet::new();
    for (name, value) in &configuration.headers {
        header(MEMBER, name, value, problems);
        if !seen.insert(name.to_ascii_lowercase()) {
            let shown: String = name.chars().take(40).collect();
            problems.add(MEMBER, format!("`headers`: `{shown}` stands twice, in different case"));
        }
    }
}

/// Checks a header that is sent to a server.
pub(super) fn header(member: &'static str, name: &str, value: &str, problems: &mut Problems) {
    let shown: String = name.chars().take(40).collect();
    if !is_token(name) {
        problems.add(member, format!("`headers`: {shown:?} is not the name of a header"));
    } else if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        problems.add(member, format!("`headers`: `{shown}` is set by the gateway itself; leave it out"));
    }
    if !is_field_value(value) {
        let problem = format!("`headers`: the value of `{shown}` has control characters or blanks around it");
        problems.add(member, problem);
    }
}

/// A token of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let special = |c| b"!#$%&'*+-.^_`|~".contains(&c);
    (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || special(c))
}

/// A field value of RFC 9110, section 5.5, of at most 8 KiB.
fn is_field_value(text: &str) -> bool {
    text.len() <= MAX_DESCRIPTION
        && text.trim() == text
        && text.bytes().all(|c| c == b'\t' || (c >= 0x20 && c != 0x7f))
}
