//! Records that the suite writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::model::{
    Affinity, Algorithm, ApiKey, AuditEntry, Capability, CapabilityKind, Configuration, Credential,
    CredentialKind, HealthCheck, HealthStatus, KeyHash, KeyId, Listing, ProbeKind, Restriction, Role,
    SealedCredential, Server, ServerEndpoint, ServerId, ServiceName, Sharing, Status, TenantId,
    TransportType,
};
use crate::store::{HealthRecord, Store};

pub(super) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_microsecond(1_767_225_600_000_000 + second * 1_000_000 + 123).unwrap()
}

/// A server of which every member differs from its default.
pub fn server(tenant_id: &TenantId, name: &str) -> Server {
    Server {
        id: ServerId::random(),
        tenant_id: tenant_id.clone(),
        name: name.into(),
        service: ServiceName::new("calc").unwrap(),
        endpoint: ServerEndpoint::Command {
            command: "python3".into(),
            args: vec!["-m".into(), "calc".into()],
            env: BTreeMap::from([("KEY".into(), "väl=ue".into())]),
            cwd: Some("/srv".into()),
        },
        transport_type: TransportType::Stdio,
        version: Some("1.2.3".into()),
        display_name: Some("Rechner 🧮".into()),
        description: Some("Adds.\nAlso subtracts.".into()),
        tags: vec!["math".into(), "a,b".into()],
        weight: 7,
        auto_discover: false,
        health_check: HealthCheck {
            enabled: false,
            kind: ProbeKind::Connect,
            interval: Duration::from_millis(1500),
            timeout: Duration::from_millis(100),
            unhealthy_after: 5,
            healthy_after: 2,
        },
        configuration: Configuration {
            credentials: crate::model::CredentialsOf::Server,
            cache_scope: crate::model::CacheScope::Private,
            drift: crate::model::Drift::Pin,
            algorithm: Algorithm::ConsistentHash,
            max_load: Some(1.25),
            affinity: Affinity::Header("X-Who".into()),
            timeout: Duration::from_secs(3),
            max_timeout: Some(Duration::from_secs(70)),
            start_timeout: Some(Duration::from_millis(1500)),
            max_connections: 9,
            max_queued: 90,
            sharing: Sharing::Session,
            era: crate::model::EraWish::Modern,
            trusted: true,
            ca_file: Some("/etc/ca.pem".into()),
            headers: BTreeMap::from([("Authorization".into(), "Bearer x".into())]),
            secrets: vec!["secret".into()],
            access: vec![Restriction {
                tools: vec!["t*".into()],
                subjects: vec!["key:1".into()],
                ..Restriction::default()
            }],
        },
        status: Status::Inactive,
        health_status: HealthStatus::Degraded,
        last_health_check: Some(at(3)),
        created_at: at(1),
        updated_at: at(2),
        revision: 4,
    }
}

/// A row of the audit trail.
pub fn audit(tenant_id: &TenantId, action: &str) -> AuditEntry {
    AuditEntry {
        at: at(5),
        tenant_id: tenant_id.clone(),
        actor: "user:ann".into(),
        action: action.into(),
        target: "calc".into(),
        outcome: "ok".into(),
        correlation_id: Some("c-1".into()),
        detail: serde_json::json!({"weight": [1, 7], "why": "ü"}),
    }
}

pub(super) fn item(kind: CapabilityKind, name: &str, definition: &str) -> Capability {
    let definition = Arc::from(RawValue::from_string(definition.to_owned()).unwrap());
    Capability { kind, name: name.into(), description: Some(format!("about {name}")), definition }
}

/// Capabilities of each kind, in forms that a store that decodes and encodes them would change.
pub fn listing() -> Listing {
    Listing {
        items: vec![
            item(
                CapabilityKind::Tool,
                "z",
                r#"{ "name":"z", "big": 12345678901234567890123, "b":1, "a":1.0 }"#,
            ),
            item(CapabilityKind::Tool, "a", r#"{"name":"\u0061","x":"\ud83e\uddee 🧮"}"#),
            item(CapabilityKind::Resource, "file:///a", r#"{"uri":"file:///a"}"#),
            item(CapabilityKind::ResourceTemplate, "file:///{p}", r#"{"uriTemplate":"file:///{p}"}"#),
            item(CapabilityKind::Prompt, "a", r#"{"name":"a"}"#),
        ],
        initialize: Some(r#"{"protocolVersion":"2025-11-25", "capabilities":{}}"#.into()),
        ..Listing::default()
    }
}

pub(super) async fn insert(store: &dyn Store, server: &Server) {
    let entry = audit(&server.tenant_id, "server.register");
    store.insert_server(server, &Listing::default(), &entry).await.unwrap();
}

pub(super) fn observation(n: i64) -> HealthRecord {
    let error = (n % 2 == 0).then(|| format!("refused {n}"));
    let status = if error.is_some() { HealthStatus::Unreachable } else { HealthStatus::Healthy };
    HealthRecord { at: at(n), status, latency_ms: u64::try_from(n).unwrap(), error }
}

pub(crate) fn credential(server: &Server, header: &str, sealed: &[u8]) -> SealedCredential {
    SealedCredential {
        tenant_id: server.tenant_id.clone(),
        about: Credential {
            kind: CredentialKind::Header,
            authorized: None,
            server_id: server.id,
            subject: None,
            header: header.into(),
            origin: "https://tools.example:443".into(),
            key_id: "0a1b2c3d".into(),
            created_by: "user:ann".into(),
            created_at: at(4),
        },
        sealed: sealed.to_vec(),
    }
}

/// A key of which every member differs from its default.
pub(crate) fn key(tenant_id: &TenantId, second: i64) -> ApiKey {
    let id = KeyId::random();
    let mut hash = [7; 32];
    hash[..16].copy_from_slice(id.as_uuid().as_bytes());
    ApiKey {
        id,
        tenant_id: tenant_id.clone(),
        name: "ci's \"key\"".into(),
        subject: format!("key:{id}"),
        role: Role::Developer,
        scopes: Some(vec!["mcp:call".into()]),
        server_id: None,
        requests_per_minute: Some(9),
        hint: "wxyz".into(),
        hash: KeyHash(hash),
        created_by: "user:a".into(),
        created_at: at(second),
        expires_at: at(second + 1000),
        last_used_at: None,
        uses: 0,
        rotated_to: None,
        revoked_at: None,
    }
}
