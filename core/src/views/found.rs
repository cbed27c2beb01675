//! Answers to questions for tools, resources and prompts, results of searches, and the items that a caller may use.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Found, Gateway};
use crate::model::{CapabilityKind, HealthStatus, redact};
use crate::registry::Filter;

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
            /// The names that were asked for.
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
                    endpoint_url: redact::endpoint(&server).endpoint_url,
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

/// The results of a search, best first.
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
    #[serde(flatten)]
    cut: Cut,
}

/// The resources that the caller may use.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub(crate) struct OfferedResources {
    resources: Vec<Offer>,
    #[serde(flatten)]
    cut: Cut,
}

/// Where a page was cut out; nothing where all are given.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
struct Cut {
    /// How many there are in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
}

/// Which of them are given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// All.
    All,
    /// A page, from 1, of so many.
    #[cfg_attr(not(feature = "server"), expect(dead_code, reason = "only routes have pages"))]
    Page(Option<u32>, Option<u32>),
}

impl OfferedTools {
    pub(crate) fn of(gateway: &Gateway, caller: &Caller, part: Part) -> Result<Self> {
        let (tools, cut) = offered(gateway, caller, CapabilityKind::Tool, part)?;
        Ok(Self { tools, cut })
    }
}

impl OfferedResources {
    pub(crate) fn of(gateway: &Gateway, caller: &Caller, part: Part) -> Result<Self> {
        let (resources, cut) = offered(gateway, caller, CapabilityKind::Resource, part)?;
        Ok(Self { resources, cut })
    }
}

fn offered(
    gateway: &Gateway,
    caller: &Caller,
    kind: CapabilityKind,
    part: Part,
) -> Result<(Vec<Offer>, Cut)> {
    let (found, cut) = match part {
        Part::All => (gateway.offered(caller, kind)?, Cut { total: None, page: None, limit: None }),
        Part::Page(page, limit) => {
            let page = super::between("page", page, 1, u32::MAX)?;
            let limit = super::between("limit", limit, Filter::DEFAULT_LIMIT, Filter::MAX_LIMIT)?;
            let skip = (page as usize - 1).saturating_mul(limit as usize);
            let (found, total) = gateway.offered_page(caller, kind, skip, limit as usize)?;
            (found, Cut { total: Some(total as u64), page: Some(page), limit: Some(limit) })
        }
    };
    let offers = found.into_iter().map(|(name, server, capability)| Offer {
        name,
        description: capability.description,
        service: server.service.to_string(),
        server_id: *server.id.as_uuid(),
        server_name: server.name.clone(),
        health_status: server.health_status,
        definition: capability.definition,
    });
    Ok((offers.collect(), cut))
}
