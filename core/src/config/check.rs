//! The rules for a value beyond its type.

use serde_json::Value;
use url::Url;

use super::problem::hint;
use super::sections::{Config, network};
use crate::model::Registration;

/// Checks the range of the one key that `config` has besides the defaults.
pub(super) fn range(key: &str, config: &Config) -> Result<(), String> {
    let (server, session, breaker) = (&config.server, &config.session, &config.breaker);
    let from_one = |value: usize| if value == 0 { Err("expected at least 1".to_owned()) } else { Ok(()) };
    match key {
        "auth.url" => config.auth.check_url(),
        "server.max_body_bytes" if !(1024..=64 * MIB).contains(&server.max_body_bytes) => {
            Err(format!("expected 1024 to {} bytes", 64 * MIB))
        }
        "server.allowed_hosts" => server.allowed_hosts.iter().try_for_each(|host| is_host(host)),
        "server.allowed_origins" => server.allowed_origins.iter().try_for_each(|origin| is_origin(origin)),
        "server.trusted_proxies" => server.trusted_proxies.iter().try_for_each(|text| is_proxy(text)),
        "limits.max_connections" => from_one(config.limits.max_connections),
        "limits.streams_per_principal" => from_one(config.limits.streams_per_principal),
        "limits.unread_bytes_per_principal" => from_one(config.limits.unread_bytes_per_principal),
        "limits.unread_bytes" => from_one(config.limits.unread_bytes),
        "session.max_sessions" => from_one(session.max_sessions),
        "session.max_per_principal" => from_one(session.max_per_principal),
        "limits.max_calls" => from_one(config.limits.max_calls),
        "audit.keep_years" if !(7..=1000).contains(&config.audit.keep_years) => {
            Err("expected 7 to 1000 years: the audit trail is kept for seven at least".into())
        }
        "limits.share" => from_one(config.limits.share as usize),
        "limits.tenant_factor" => from_one(config.limits.tenant_factor as usize),
        "breaker.consecutive_failures" => from_one(breaker.consecutive_failures as usize),
        "breaker.minimum_calls" => from_one(breaker.minimum_calls as usize),
        "breaker.probes" => from_one(usize::from(breaker.probes)),
        "breaker.failure_percent" if !(1..=100).contains(&breaker.failure_percent) => {
            Err("expected a percentage from 1 to 100".into())
        }
        "breaker.jitter" if !(0.0..=1.0).contains(&breaker.jitter) => {
            Err("expected a share from 0 to 1".into())
        }
        _ => Ok(()),
    }
}

/// Checks that keys agree with each other: key and message.
pub(super) fn whole(config: &Config) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut problem = |key: &str, message: &str| problems.push((key.to_owned(), message.to_owned()));
    if !config.server.host.is_loopback() && !config.auth.is_configured() {
        problem("server.host", NOT_LOOPBACK);
    }
    if !config.server.trusted_proxies.is_empty() && config.auth.trust_loopback {
        problem(
            "auth.trust_loopback",
            "has no effect with `server.trusted_proxies`: then no request is this machine's; leave one out",
        );
    }
    if let Err(message) = config.auth.check_issuers() {
        problem("auth.issuers", &message);
    }
    if config.session.idle > config.session.max {
        problem("session.idle_seconds", "is longer than `session.max_seconds`");
    }
    if config.server.tls.cert.is_some() != config.server.tls.key.is_some() {
        let (there, missing) =
            if config.server.tls.cert.is_some() { ("cert", "key") } else { ("key", "cert") };
        problem(&format!("server.tls.{there}"), &format!("needs `server.tls.{missing}` beside it"));
    }
    if config.breaker.open > config.breaker.open_max {
        problem("breaker.open_seconds", "is longer than `breaker.open_max_seconds`");
    }
    for (i, server) in config.servers.iter().enumerate() {
        if config.servers[..i].iter().any(|other| other.name == server.name) {
            problem("servers", &format!("two servers are named `{}`", server.name));
        }
    }
    problems
}

/// Reads one entry of `servers`; an error has the field's path and a message that never repeats a value.
pub(super) fn registration(value: &Value) -> Result<Registration, (String, String)> {
    let text = value.to_string();
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(&text)).map_err(|error| {
        let field = Some(error.path().to_string()).filter(|path| path != ".").unwrap_or_default();
        let message = error.into_inner().to_string();
        // The position is one in the text made above, which the user has never seen.
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        (field, without_values(message))
    })
}

/// Environments and headers hold secrets, and so may a value at a place where it does not belong.
fn without_values(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let mut names = rest.split('`').step_by(2);
        let asked = names.next().unwrap_or("");
        let known: Vec<&str> = rest.split('`').skip(2).step_by(2).collect();
        return format!("there is no such member{}", hint(asked, known));
    }
    match (message.strip_prefix("invalid "), message.split_once(", expected ")) {
        (Some(_), Some((_, expected))) => format!("expected {expected}"),
        _ => message.to_owned(),
    }
}

const NOT_LOOPBACK: &str = "is not a loopback address, and no authentication is configured: whoever reaches it could \
    register servers and run programs here. Add to mcp-gateway.toml\n\n    [server]\n    \
    allowed_hosts = [\"gateway.example.com\"]   # the names that clients call it by\n\n    [auth]\n    api_keys = true\n\n\
    and make the first key: mcp-gateway keys create --role admin NAME. Or stay on this machine: --host 127.0.0.1";

const MIB: usize = 1024 * 1024;

fn is_proxy(text: &str) -> Result<(), String> {
    match network(text) {
        Some(network) if network.prefix_len() > 0 => Ok(()),
        Some(_) => Err(format!(
            "`{text}` is every address, so that everybody could say to be anybody; name the proxies"
        )),
        None => Err(format!("expected an address or a network such as `10.1.0.0/16`, found `{text}`")),
    }
}

fn is_host(host: &str) -> Result<(), String> {
    let parsed = Url::parse(&format!("http://{host}/"));
    let plain = parsed.is_ok_and(|url| {
        url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty()
    });
    if plain && !host.contains(['*', '/', '@']) {
        return Ok(());
    }
    Err(format!(
        "expected a host such as `gateway.example.com` or `gateway.example.com:8443`, found `{host}`"
    ))
}

fn is_origin(origin: &str) -> Result<(), String> {
    let exact = Url::parse(origin).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.origin().ascii_serialization() == origin.to_ascii_lowercase()
    });
    if exact {
        Ok(())
    } else {
        Err(format!("expected an origin such as `https://app.example.com`, found `{origin}`"))
    }
}
