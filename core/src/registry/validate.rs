//! From a user's document to a server that can be kept: defaults filled in, every problem reported at once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::fields::{self, Problems};
use super::items;
use crate::error::Result;
use crate::model::{
    Configuration, HealthCheck, HealthStatus, Listing, Patch, Registration, Server, ServerEndpoint, ServerId,
    ServiceName, Status, TenantId, TransportType,
};

/// A server that passed all checks, and the listing that was declared for it.
#[derive(Debug)]
pub struct Checked {
    /// The server.
    pub server: Server,
    /// Its listing until it answers for itself; `None` if none was declared.
    pub listing: Option<Listing>,
}

/// The server that `registration` describes, with a new identifier, at revision 1.
///
/// Errors: [`ErrorKind::InvalidParams`](crate::ErrorKind::InvalidParams); its context has an entry for each problem,
/// keyed by the member.
pub fn registration(tenant: &TenantId, registration: Registration, now: Timestamp) -> Result<Checked> {
    let mut problems = Problems::default();
    let r = registration;
    fields::name(&r.name, &mut problems);
    let service = service(&r.name, r.service.as_deref(), &mut problems);
    let endpoint = match (r.endpoint_url, r.command) {
        (Some(endpoint_url), None) => {
            if !(r.args.is_empty() && r.env.is_empty() && r.cwd.is_none()) {
                problems.add(
                    "command",
                    "`args`, `env` and `cwd` belong to a `command`; leave them out with a URL",
                );
            }
            Some(ServerEndpoint::Url { endpoint_url })
        }
        (None, Some(command)) => {
            Some(ServerEndpoint::Command { command, args: r.args, env: r.env, cwd: r.cwd })
        }
        (Some(_), Some(_)) => {
            problems.add("endpoint_url", "give either `endpoint_url` or `command`, not both");
            None
        }
        (None, None) => {
            problems.add("endpoint_url", "give an `endpoint_url`, or a `command` to start");
            None
        }
    };
    let listing = listing(r.capabilities.as_deref(), &mut problems);
    let (Some(endpoint), service) = (endpoint, service) else {
        return Err(problems.into_error("registration"));
    };
    let server = Server {
        id: ServerId::random(),
        tenant_id: tenant.clone(),
        name: r.name,
        // A server without a service has a problem, and is not returned.
        service: service.unwrap_or_else(fields::placeholder),
        transport_type: r.transport_type.unwrap_or_else(|| usual_transport(&endpoint)),
        endpoint,
        version: filled(r.version),
        display_name: filled(r.display_name),
        description: filled(r.description),
        tags: fields::tags(r.tags),
        weight: r.weight.unwrap_or(1),
        auto_discover: r.auto_discover.unwrap_or(true),
        health_check: r.health_check.unwrap_or_default(),
        configuration: r.configuration.unwrap_or_default(),
        status: r.status.unwrap_or(Status::Active),
        health_status: HealthStatus::Unknown,
        last_health_check: None,
        created_at: now,
        updated_at: now,
        revision: 1,
    };
    fields::server(&server, &mut problems);
    problems.finish("registration", Checked { server, listing })
}

/// `before` with `patch` made; revision and time of change are still those of `before`. An empty text removes a
/// version, display name, description or working directory.
///
/// Errors: as [`registration`].
pub fn patch(before: &Server, patch: Patch) -> Result<Checked> {
    let mut problems = Problems::default();
    let p = patch;
    let mut server = before.clone();
    if let Some(text) = &p.service {
        server.service =
            service(&before.name, Some(text), &mut problems).unwrap_or_else(|| before.service.clone());
    }
    let moved = match (p.endpoint_url, p.command) {
        (Some(_), Some(_)) => {
            problems.add("endpoint_url", "give either `endpoint_url` or `command`, not both");
            false
        }
        (Some(endpoint_url), None) => {
            server.endpoint = ServerEndpoint::Url { endpoint_url };
            true
        }
        (None, Some(new)) => {
            match &mut server.endpoint {
                ServerEndpoint::Command { command, .. } => *command = new,
                url @ ServerEndpoint::Url { .. } => {
                    *url = ServerEndpoint::Command {
                        command: new,
                        args: Vec::new(),
                        env: BTreeMap::new(),
                        cwd: None,
                    };
                }
            }
            true
        }
        (None, None) => false,
    };
    match &mut server.endpoint {
        ServerEndpoint::Command { args, env, cwd, .. } => {
            replace(args, p.args);
            replace(env, p.env);
            if let Some(new) = p.cwd {
                *cwd = filled(Some(new));
            }
        }
        ServerEndpoint::Url { .. } => {
            if p.args.is_some() || p.env.is_some() || p.cwd.is_some() {
                problems.add("args", "`args`, `env` and `cwd` belong to a `command`; this server has a URL");
            }
        }
    }
    let fits = matches!(server.endpoint, ServerEndpoint::Url { .. })
        == (server.transport_type != TransportType::Stdio);
    if moved && !fits {
        server.transport_type = usual_transport(&server.endpoint);
    }
    replace(&mut server.transport_type, p.transport_type);
    for (old, new) in [
        (&mut server.version, p.version),
        (&mut server.display_name, p.display_name),
        (&mut server.description, p.description),
    ] {
        if let Some(new) = new {
            *old = filled(Some(new));
        }
    }
    replace(&mut server.tags, p.tags.map(fields::tags));
    replace(&mut server.weight, p.weight);
    replace(&mut server.auto_discover, p.auto_discover);
    replace::<HealthCheck>(&mut server.health_check, p.health_check);
    replace::<Configuration>(&mut server.configuration, p.configuration);
    keep_secrets(before, &mut server);
    replace(&mut server.status, p.status);
    let listing = listing(p.capabilities.as_deref(), &mut problems);
    fields::server(&server, &mut problems);
    problems.finish("change", Checked { server, listing })
}

/// A secret of the endpoint stays one for as long as it stands there: a reader of the configuration is not shown it, and so does not
/// send it back.
fn keep_secrets(before: &Server, after: &mut Server) {
    let stands = |secret: &str| match &after.endpoint {
        ServerEndpoint::Url { endpoint_url } => endpoint_url.contains(secret),
        ServerEndpoint::Command { command, args, cwd, .. } => {
            let texts = std::iter::once(command).chain(args).chain(cwd);
            texts.into_iter().any(|text| text.contains(secret))
        }
    };
    let kept = before.configuration.secrets.iter().filter(|secret| stands(secret));
    let new: Vec<_> = kept.filter(|secret| !after.configuration.secrets.contains(secret)).cloned().collect();
    after.configuration.secrets.extend(new);
}

/// Checks a header that is sent to a server.
///
/// Errors: as [`registration`].
pub fn header(name: &str, value: &str) -> Result<()> {
    let mut problems = Problems::default();
    fields::header("header", name, value, &mut problems);
    if value.is_empty() {
        problems.add("value", "it is empty");
    }
    problems.finish("credential", ())
}

fn replace<T>(old: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *old = new;
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

fn usual_transport(endpoint: &ServerEndpoint) -> TransportType {
    match endpoint {
        ServerEndpoint::Url { endpoint_url } => match endpoint_url.split(':').next() {
            Some("ws" | "wss") => TransportType::Websocket,
            Some("memory") => TransportType::Memory,
            _ => TransportType::Http,
        },
        ServerEndpoint::Command { .. } => TransportType::Stdio,
    }
}

/// The service that is named, or the server's own name in lower case.
fn service(name: &str, given: Option<&str>, problems: &mut Problems) -> Option<ServiceName> {
    let outcome = ServiceName::new(given.unwrap_or(&name.to_ascii_lowercase()));
    match (outcome, given) {
        (Ok(service), _) => Some(service),
        (Err(error), Some(_)) => {
            problems.add("service", error.message());
            None
        }
        (Err(error), None) => {
            let why = error.message();
            problems
                .add("service", format!("the name cannot also be the service's: give a `service` ({why})"));
            None
        }
    }
}

fn listing(declared: Option<&RawValue>, problems: &mut Problems) -> Option<Listing> {
    let declared = declared?;
    match items::declared(declared.get()) {
        Ok(listing) => Some(listing),
        Err(found) => {
            for problem in found {
                problems.add("capabilities", problem);
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::ErrorKind;

    /// The member and the text of each problem.
    #[expect(clippy::needless_pass_by_value, reason = "the value is written at the call")]
    fn problems(value: serde_json::Value) -> Vec<(&'static str, String)> {
        let sent: Registration = serde_json::from_str(&value.to_string()).unwrap();
        match registration(&TenantId::default_tenant(), sent, Timestamp::UNIX_EPOCH) {
            Ok(_) => Vec::new(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidParams);
                error.context().to_vec()
            }
        }
    }

    fn members(value: serde_json::Value) -> Vec<&'static str> {
        problems(value).into_iter().map(|(member, _)| member).collect()
    }

    #[test]
    fn all_problems_are_told_at_once_by_member() {
        let value = json!({
            "name": "a b", "endpoint_url": "ftp://user:pw@h/x#y", "weight": 1_000_001,
            "tags": ["", "x".repeat(65)], "description": "x".repeat(8193),
            "configuration": {"max_connections": 0, "max_load": 0.5, "ca_file": "ca.pem", "headers": {"Host": "x", "a b": "c", "X": "a\nb"}},
            "health_check": {"unhealthy_after": 0},
            "capabilities": {"tools": [{"name": "a\u{200b}b"}], "other": []},
        });
        let expected = [
            "name",
            "service",
            "capabilities",
            "capabilities",
            "endpoint_url",
            "endpoint_url",
            "endpoint_url",
            "description",
            "tags",
            "weight",
            "health_check",
            "configuration",
            "configuration",
            "configuration",
            "configuration",
            "configuration",
            "configuration",
        ];
        assert_eq!(members(value), expected);
    }

    #[test]
    fn a_url_fits_its_transport() {
        let with = |url: &str, transport: &str| {
            members(json!({"name": "a", "endpoint_url": url, "transport_type": transport}))
        };
        for (url, transport) in [
            ("http://h", "http"),
            ("https://[::1]:1/x?y=1", "sse"),
            ("ws://h/", "websocket"),
            ("wss://h", "websocket"),
        ] {
            assert_eq!(with(url, transport), [""; 0], "{url}");
        }
        for (url, transport, member) in [
            ("ws://h", "http", "endpoint_url"),
            ("http://h", "websocket", "endpoint_url"),
            ("http://h", "stdio", "transport_type"),
            ("http://", "http", "endpoint_url"),
            ("/mcp", "http", "endpoint_url"),
            ("javascript:alert(1)", "http", "endpoint_url"),
        ] {
            assert!(with(url, transport).contains(&member), "{url}");
        }
        assert_eq!(
            members(json!({"name": "a", "endpoint_url": "wss://h/x"})),
            [""; 0],
            "the scheme says which"
        );
    }

    #[test]
    fn a_server_has_a_url_or_a_command_and_not_both() {
        assert_eq!(members(json!({"name": "a"})), ["endpoint_url"]);
        assert_eq!(
            members(json!({"name": "a", "command": "x", "endpoint_url": "http://h"})),
            ["endpoint_url"]
        );
        assert_eq!(members(json!({"name": "a", "command": " "})), ["command"]);
        assert_eq!(
            members(json!({"name": "a", "command": "x", "transport_type": "http"})),
            ["transport_type"]
        );
        assert_eq!(members(json!({"name": "a", "endpoint_url": "http://h", "args": ["x"]})), ["command"]);
        assert_eq!(
            members(json!({"name": "a", "command": "x\u{0}", "env": {"A=B": "c"}})),
            ["command", "env"]
        );
    }

    #[test]
    fn a_name_that_cannot_be_a_service_needs_one() {
        for name in ["a__b", "tools", "_a", &"a".repeat(64)] {
            let found = problems(json!({"name": name, "endpoint_url": "http://h"}));
            assert!(found[0].0 == "service" && found[0].1.contains("give a `service`"), "{found:?}");
            assert_eq!(members(json!({"name": name, "service": "ok", "endpoint_url": "http://h"})), [""; 0]);
        }
        assert_eq!(members(json!({"name": "a", "service": "A", "endpoint_url": "http://h"})), ["service"]);
        assert_eq!(
            members(json!({"name": "a".repeat(129), "service": "a", "endpoint_url": "http://h"})),
            ["name"]
        );
    }

    /// B-25: a value that a header cannot carry does not get into one.
    #[test]
    fn headers_of_the_connection_and_of_the_gateway_are_refused_in_any_case() {
        let with = |name: &str| {
            let headers = json!({ name: "x" });
            members(json!({"name": "a", "endpoint_url": "http://h", "configuration": {"headers": headers}}))
        };
        for name in
            ["HOST", "Content-Length", "Transfer-Encoding", "mcp-SESSION-id", "Connection", "Mcp-Name"]
        {
            assert_eq!(with(name), ["configuration"], "{name}");
        }
        assert_eq!(with("Authorization"), [""; 0]);
        let twice = json!({"X-A": "1", "x-a": "2"});
        let twice = json!({"name": "a", "endpoint_url": "http://h", "configuration": {"headers": twice}});
        assert_eq!(members(twice), ["configuration"]);
    }

    #[test]
    fn defaults_are_filled_in_and_tags_tidied() {
        let sent =
            json!({"name": "A.b", "endpoint_url": "http://h", "tags": [" x", "y", "x "], "description": " "});
        let sent: Registration = serde_json::from_str(&sent.to_string()).unwrap();
        let checked = registration(&TenantId::default_tenant(), sent, Timestamp::UNIX_EPOCH).unwrap();
        let server = checked.server;
        assert_eq!((server.name.as_str(), server.service.as_str()), ("A.b", "a.b"));
        assert_eq!((server.weight, server.auto_discover, server.revision), (1, true, 1));
        assert_eq!((server.tags, server.description), (vec!["x".to_owned(), "y".to_owned()], None));
        assert_eq!(checked.listing, None);
    }
}
