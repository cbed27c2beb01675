//! The members that a registration is read from.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Registration;
use crate::model::server::{Configuration, HealthCheck, Status, TransportType};
use crate::model::tolerant;

/// Each member of a registration with the other names under which it is read.
pub const MEMBERS: &[(&str, &[&str])] = &[
    ("name", &[]),
    ("endpoint_url", &["endpointUrl", "url", "serverUrl", "server_url", "httpUrl", "http_url", "endpoint"]),
    ("command", &["cmd"]),
    ("args", &["arguments"]),
    ("env", &["environment"]),
    ("cwd", &["workingDirectory", "working_directory"]),
    ("transport_type", &["transportType", "type", "transport"]),
    ("service", &[]),
    ("version", &[]),
    ("display_name", &["displayName", "title"]),
    ("description", &[]),
    ("capabilities", &[]),
    ("tags", &[]),
    ("weight", &[]),
    ("auto_discover", &["autoDiscover"]),
    ("health_check", &["healthCheck"]),
    ("configuration", &[]),
    ("status", &[]),
    ("headers", &["http_headers", "httpHeaders"]),
    ("enabled", &["isActive", "is_active"]),
    ("disabled", &["isDisabled", "is_disabled"]),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    #[serde(
        default,
        alias = "endpointUrl",
        alias = "url",
        alias = "serverUrl",
        alias = "server_url",
        alias = "httpUrl",
        alias = "http_url",
        alias = "endpoint"
    )]
    endpoint_url: Option<String>,
    #[serde(default, alias = "cmd", deserialize_with = "tolerant::command")]
    command: Option<tolerant::Command>,
    #[serde(default, alias = "arguments", deserialize_with = "tolerant::texts")]
    args: Option<Vec<String>>,
    #[serde(default, alias = "environment", deserialize_with = "tolerant::pairs")]
    env: Option<BTreeMap<String, String>>,
    #[serde(default, alias = "workingDirectory", alias = "working_directory")]
    cwd: Option<String>,
    #[serde(default, alias = "transportType", alias = "type", alias = "transport")]
    transport_type: Option<TransportType>,
    service: Option<String>,
    version: Option<String>,
    #[serde(default, alias = "displayName", alias = "title")]
    display_name: Option<String>,
    description: Option<String>,
    capabilities: Option<Box<RawValue>>,
    tags: Option<Vec<String>>,
    weight: Option<u32>,
    #[serde(default, alias = "autoDiscover")]
    auto_discover: Option<bool>,
    #[serde(default, alias = "healthCheck")]
    health_check: Option<HealthCheck>,
    configuration: Option<Configuration>,
    status: Option<Status>,
    #[serde(default, alias = "http_headers", alias = "httpHeaders", deserialize_with = "tolerant::pairs")]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default, alias = "isActive", alias = "is_active", deserialize_with = "tolerant::switch")]
    enabled: Option<bool>,
    #[serde(default, alias = "isDisabled", alias = "is_disabled", deserialize_with = "tolerant::switch")]
    disabled: Option<bool>,
}

/// Reads a registration, in the words of this gateway or of a client.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Registration, D::Error> {
    let document = Document::deserialize(deserializer)?;
    let status = document.status().map_err(D::Error::custom)?;
    let (command, mut args) = document.command.map(tolerant::Command::apart).unwrap_or_default();
    args.extend(document.args.into_iter().flatten());
    let mut configuration = document.configuration;
    if let Some(headers) = document.headers.filter(|headers| !headers.is_empty()) {
        let own = &mut configuration.get_or_insert_default().headers;
        for (name, value) in headers {
            own.entry(name).or_insert(value);
        }
    }
    Ok(Registration {
        name: document.name,
        endpoint_url: document.endpoint_url,
        command,
        args,
        env: document.env.unwrap_or_default(),
        cwd: document.cwd,
        transport_type: document.transport_type,
        service: document.service,
        version: document.version,
        display_name: document.display_name,
        description: document.description,
        capabilities: document.capabilities,
        tags: document.tags.unwrap_or_default(),
        weight: document.weight,
        auto_discover: document.auto_discover,
        health_check: document.health_check,
        configuration,
        status,
    })
}

impl Document {
    /// The state that `status`, `enabled` and `disabled` say together.
    fn status(&self) -> Result<Option<Status>, &'static str> {
        let switches = [self.enabled, self.disabled.map(|off| !off)];
        let [enabled, disabled] = switches;
        if let (Some(one), Some(other)) = (enabled, disabled)
            && one != other
        {
            return Err("`enabled` and `disabled` contradict each other; leave one out");
        }
        let switched = enabled.or(disabled).map(|on| if on { Status::Active } else { Status::Inactive });
        match (self.status, switched) {
            (Some(status), Some(switched)) if (status == Status::Active) != (switched == Status::Active) => {
                Err("`status` contradicts `enabled` or `disabled`; leave one out")
            }
            (status, switched) => Ok(status.or(switched)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> Registration {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    fn refused(value: &Value) -> String {
        serde_json::from_str::<Registration>(&value.to_string()).unwrap_err().to_string()
    }

    /// FIELD F: every name of a member is read, so that the table and the document agree.
    #[test]
    fn every_other_name_of_a_member_means_the_member() {
        let values = json!({ "endpoint_url": "http://h/mcp", "command": "x", "args": ["a"], "env": {"A": "b"}, "cwd": "/",
            "transport_type": "sse", "display_name": "D", "auto_discover": false, "health_check": {"interval_seconds": 7},
            "headers": {"X-A": "b"}, "enabled": false, "disabled": true });
        for (member, others) in MEMBERS {
            for other in *others {
                let with = |name: &str| {
                    let mut document = json!({ "name": "a" });
                    document[name] = values[*member].clone();
                    serde_json::to_value(read(&document)).unwrap()
                };
                assert_eq!(with(other), with(member), "{other}");
                assert_ne!(
                    with(other),
                    serde_json::to_value(read(&json!({ "name": "a" }))).unwrap(),
                    "{other}"
                );
            }
        }
    }

    #[test]
    fn a_transport_has_many_spellings() {
        for (words, transport) in [
            (["streamable-http", "streamableHttp", "streamable_http"], TransportType::Http),
            (["STREAMABLEHTTP", "remote", "HTTP"], TransportType::Http),
            (["SSE", "sse", "http+sse"], TransportType::Sse),
            (["stdio", "local", "STDIO"], TransportType::Stdio),
            (["ws", "websocket", "WebSocket"], TransportType::Websocket),
        ] {
            for word in words {
                let read = read(&json!({ "name": "a", "url": "http://h", "type": word }));
                assert_eq!(read.transport_type, Some(transport), "{word}");
            }
        }
        assert!(refused(&json!({ "name": "a", "type": "smoke" })).contains("unknown variant"));
    }

    #[test]
    fn numbers_and_booleans_are_texts_and_null_is_nothing() {
        let read_one = read(&json!({ "name": "a", "command": ["npx", "-y"], "args": [8080, true, 1.5, "x"],
            "env": {"PORT": 8080, "DEBUG": false, "NONE": null}, "cwd": null, "tags": null }));
        assert_eq!(read_one.command.as_deref(), Some("npx"));
        assert_eq!(read_one.args, ["-y", "8080", "true", "1.5", "x"]);
        let env: Vec<_> = read_one.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(env, ["DEBUG=false", "PORT=8080"]);
        let listed = read(
            &json!({ "name": "a", "command": "npx -y pkg", "args": ["--x"], "env": ["A=b=c", {"name": "B", "value": 1}] }),
        );
        assert_eq!(listed.args, ["-y", "pkg", "--x"]);
        assert_eq!((listed.env["A"].as_str(), listed.env["B"].as_str()), ("b=c", "1"));
        assert!(refused(&json!({ "name": "a", "args": "x y" })).contains("a list of texts"));
        assert!(refused(&json!({ "name": "a", "args": [{}] })).contains("a text, a number or a boolean"));
    }

    #[test]
    fn what_is_switched_off_is_inactive() {
        for (member, value, status) in [
            ("enabled", json!(false), Some(Status::Inactive)),
            ("disabled", json!(true), Some(Status::Inactive)),
            ("isActive", json!("no"), Some(Status::Inactive)),
            ("disabled", json!("false"), Some(Status::Active)),
            ("disabled", json!(null), None),
            ("status", json!("maintenance"), Some(Status::Maintenance)),
        ] {
            let mut document = json!({ "name": "a", "command": "x" });
            document[member] = value;
            assert_eq!(read(&document).status, status, "{document}");
        }
        assert!(refused(&json!({ "name": "a", "enabled": true, "disabled": true })).contains("contradict"));
        assert!(
            refused(&json!({ "name": "a", "status": "active", "disabled": true })).contains("contradicts")
        );
    }

    #[test]
    fn headers_beside_the_url_are_those_of_the_configuration() {
        let read = read(&json!({ "name": "a", "url": "http://h", "headers": {"X-A": 1},
            "configuration": {"headers": {"X-B": "2"}} }));
        let headers = read.configuration.unwrap().headers;
        assert_eq!((headers["X-A"].as_str(), headers["X-B"].as_str()), ("1", "2"));
        assert!(
            refused(&json!({ "name": "a", "url": "http://h", "serverUrl": "http://h" }))
                .contains("duplicate")
        );
        assert!(refused(&json!({ "name": "a", "wieght": 1 })).contains("unknown field `wieght`"));
    }
}
