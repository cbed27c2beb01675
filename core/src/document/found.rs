//! Who offers what: answers to questions for tools, resources and prompts, results of searches, what a caller may use.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Found, Gateway};
use crate::model::{CapabilityKind, HealthStatus, redact};

/// Most names that one question may have.
const MAX_NAMES: usize = 100;

/// One thing that a server offers.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct Match {
    /// Tool or prompt name, or resource URI.
    name: String,
    description: Option<String>,
}

/// The answers differ between kinds in one member's name only.
macro_rules! answers {
    ($answer:ident $server:ident $member:ident $kind:ident) => {
        /// The servers that offer all that was asked for, healthy or not.
        #[derive(Serialize)]
        #[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
        pub(crate) struct $answer {
            /// What was asked for.
            $member: Vec<String>,
            servers: Vec<$server>,
        }

        /// A server with the matches.
        #[derive(Serialize)]
        #[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
        pub(crate) struct $server {
            id: Uuid,
            name: String,
            service: String,
            /// `null` for a command.
            endpoint_url: Option<String>,
            health_status: HealthStatus,
            /// The matches.
            $member: Vec<Match>,
        }

        impl $answer {
            /// The answer to the question for all of `names`.
            pub(crate) fn of(gateway: &Gateway, caller: &Caller, names: Vec<String>) -> Result<Self> {
                let found = find(gateway, caller, CapabilityKind::$kind, &names, stringify!($member))?;
                let servers = found.into_iter().map(|Found { server, matches }| $server {
                    id: *server.id.as_uuid(),
                    name: server.name.clone(),
                    service: server.service.to_string(),
                    endpoint_url: server.endpoint.url().map(redact::url),
                    health_status: server.health_status,
                    $member: matches
                        .into_iter()
                        .map(|m| Match { name: m.name, description: m.description })
                        .collect(),
                });
                Ok(Self { servers: servers.collect(), $member: names })
            }
        }
    };
}

answers!(ToolAnswer ToolServer tools Tool);
answers!(ResourceAnswer ResourceServer resources Resource);
answers!(PromptAnswer PromptServer prompts Prompt);

fn find(
    gateway: &Gateway,
    caller: &Caller,
    kind: CapabilityKind,
    names: &[String],
    parameter: &'static str,
) -> Result<Vec<Found>> {
    if names.is_empty() || names.len() > MAX_NAMES {
        let message = format!("expected 1 to {MAX_NAMES} names");
        return Err(Error::new(ErrorKind::InvalidParams, message).with("parameter", parameter));
    }
    gateway.find(caller, kind, names)
}

/// What a search found, best first.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct SearchAnswer {
    query: String,
    results: Vec<SearchHit>,
}

/// One result of a search.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct SearchHit {
    /// The service that has it.
    service: String,
    server_id: Uuid,
    /// `server`, `tool`, `resource`, `resource_template` or `prompt`.
    kind: &'static str,
    name: String,
    description: Option<String>,
    /// Higher is better; comparable within one answer only.
    score: f64,
}

impl SearchAnswer {
    /// The best `limit` results for `query`.
    pub(crate) fn of(gateway: &Gateway, caller: &Caller, query: String, limit: Option<u32>) -> Result<Self> {
        let limit = super::between("limit", limit, 50, 200)?;
        if query.trim().is_empty() || query.chars().count() > 1000 {
            let message = "expected 1 to 1000 characters to look for";
            return Err(Error::new(ErrorKind::InvalidParams, message).with("parameter", "q"));
        }
        let results = gateway.search(caller, &query, limit as usize)?.into_iter().map(|hit| SearchHit {
            service: hit.service,
            server_id: *hit.server_id.as_uuid(),
            kind: hit.kind,
            name: hit.name,
            description: hit.description,
            score: hit.score,
        });
        Ok(Self { results: results.collect(), query })
    }
}

/// One thing that the caller may use.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct Offer {
    /// As clients name it on `/mcp`.
    name: String,
    description: Option<String>,
    service: String,
    server_id: Uuid,
    server_name: String,
    health_status: HealthStatus,
    /// As the server gave it.
    #[cfg_attr(feature = "server", schema(value_type = Object))]
    definition: Arc<RawValue>,
}

/// The tools that the caller may use.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct OfferedTools {
    tools: Vec<Offer>,
}

/// The resources that the caller may use.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct OfferedResources {
    resources: Vec<Offer>,
}

impl OfferedTools {
    pub(crate) fn of(gateway: &Gateway, caller: &Caller) -> Result<Self> {
        Ok(Self { tools: offered(gateway, caller, CapabilityKind::Tool)? })
    }
}

impl OfferedResources {
    pub(crate) fn of(gateway: &Gateway, caller: &Caller) -> Result<Self> {
        Ok(Self { resources: offered(gateway, caller, CapabilityKind::Resource)? })
    }
}

fn offered(gateway: &Gateway, caller: &Caller, kind: CapabilityKind) -> Result<Vec<Offer>> {
    let offers = gateway.offered(caller, kind)?.into_iter().map(|(name, server, capability)| Offer {
        name,
        description: capability.description,
        service: server.service.to_string(),
        server_id: *server.id.as_uuid(),
        server_name: server.name.clone(),
        health_status: server.health_status,
        definition: capability.definition,
    });
    Ok(offers.collect())
}
