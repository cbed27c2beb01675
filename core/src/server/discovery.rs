//! `/api/v1/discovery/…`, `/mcp/tools`, `/mcp/resources`: who offers what.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::answer::{Failure, json};
use super::extract::{Query, items, uris};
use super::schema::Refused;
use super::{Door, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Found};
use crate::model::{CapabilityKind, HealthStatus};

/// Most names that one question may have.
const MAX_NAMES: usize = 100;

/// One thing that a server offers.
#[derive(Serialize, ToSchema)]
pub(super) struct Match {
    /// Tool or prompt name, or resource URI.
    name: String,
    description: Option<String>,
}

/// The question and its answer differ between kinds in one member's name only.
macro_rules! discovery {
    ($query:ident $answer:ident $server:ident $function:ident $member:ident $kind:ident $split:ident $path:literal $summary:literal $what:literal) => {
        #[derive(Deserialize, IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub(super) struct $query {
            #[doc = $what]
            $member: String,
        }

        /// The servers that offer all that was asked for, healthy or not.
        #[derive(Serialize, ToSchema)]
        pub(super) struct $answer {
            /// What was asked for.
            $member: Vec<String>,
            servers: Vec<$server>,
        }

        /// A server with the matches.
        #[derive(Serialize, ToSchema)]
        pub(super) struct $server {
            id: Uuid,
            name: String,
            service: String,
            /// `null` for a command.
            endpoint_url: Option<String>,
            health_status: HealthStatus,
            /// The matches.
            $member: Vec<Match>,
        }

        #[doc = $summary]
        #[utoipa::path(get, path = $path, tag = "discovery", params($query),
                            responses((status = 200, description = "The servers", body = $answer), Refused))]
        pub(super) async fn $function(
            State(door): State<Door>,
            caller: Caller,
            Query(asked): Query<$query>,
        ) -> Result<Response<Body>, Failure> {
            let names = $split(&asked.$member);
            let found = find(&door, &caller, CapabilityKind::$kind, &names, stringify!($member))?;
            let servers = found.into_iter().map(|Found { server, matches }| $server {
                id: *server.id.as_uuid(),
                name: server.name.clone(),
                service: server.service.to_string(),
                endpoint_url: server.endpoint.url().map(crate::model::redact::url),
                health_status: server.health_status,
                $member: matches
                    .into_iter()
                    .map(|m| Match { name: m.name, description: m.description })
                    .collect(),
            });
            Ok(json(StatusCode::OK, &$answer { servers: servers.collect(), $member: names }))
        }
    };
}

discovery!(
    ToolQuery ToolAnswer ToolServer tools tools Tool items "/api/v1/discovery/tools"
    "Finds the servers that offer all of some tools"
    "Names of tools, divided by commas; 1 to 100."
);
discovery!(
    ResourceQuery ResourceAnswer ResourceServer resources resources Resource uris "/api/v1/discovery/resources"
    "Finds the servers that offer all of some resources"
    "URIs of resources, divided by commas; 1 to 100."
);
discovery!(
    PromptQuery PromptAnswer PromptServer prompts prompts Prompt items "/api/v1/discovery/prompts"
    "Finds the servers that offer all of some prompts"
    "Names of prompts, divided by commas; 1 to 100."
);

fn find(
    door: &Shared,
    caller: &Caller,
    kind: CapabilityKind,
    names: &[String],
    parameter: &'static str,
) -> Result<Vec<Found>> {
    if names.is_empty() || names.len() > MAX_NAMES {
        let message = format!("expected 1 to {MAX_NAMES} names, divided by commas");
        return Err(Error::new(ErrorKind::InvalidParams, message).with("parameter", parameter));
    }
    door.gateway.find(caller, kind, names)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchQuery {
    /// Words to look for in names, descriptions and tags.
    #[param(min_length = 1, max_length = 1000)]
    q: String,
    /// Results at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// What a search found, best first.
#[derive(Serialize, ToSchema)]
pub(super) struct SearchAnswer {
    query: String,
    results: Vec<SearchHit>,
}

/// One result of a search.
#[derive(Serialize, ToSchema)]
pub(super) struct SearchHit {
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

/// Searches names, descriptions and tags
#[utoipa::path(get, path = "/api/v1/discovery/search", tag = "discovery", params(SearchQuery),
    responses((status = 200, description = "Results, best first", body = SearchAnswer), Refused))]
pub(super) async fn search(
    State(door): State<Door>,
    caller: Caller,
    Query(asked): Query<SearchQuery>,
) -> Result<Response<Body>, Failure> {
    let limit = asked.limit.unwrap_or(50);
    if !(1..=200).contains(&limit) {
        return Err(invalid("expected a number from 1 to 200", "limit").into());
    }
    if asked.q.trim().is_empty() || asked.q.chars().count() > 1000 {
        return Err(invalid("expected 1 to 1000 characters to look for", "q").into());
    }
    let results = door.gateway.search(&caller, &asked.q, limit as usize)?.into_iter().map(|hit| SearchHit {
        service: hit.service,
        server_id: *hit.server_id.as_uuid(),
        kind: hit.kind,
        name: hit.name,
        description: hit.description,
        score: hit.score,
    });
    Ok(json(StatusCode::OK, &SearchAnswer { results: results.collect(), query: asked.q }))
}

fn invalid(message: &'static str, parameter: &'static str) -> Error {
    Error::new(ErrorKind::InvalidParams, message).with("parameter", parameter)
}

/// One thing that the caller may use.
#[derive(Serialize, ToSchema)]
pub(super) struct Offer {
    /// As clients name it on `/mcp`.
    name: String,
    description: Option<String>,
    service: String,
    server_id: Uuid,
    server_name: String,
    health_status: HealthStatus,
    /// As the server gave it.
    #[schema(value_type = Object)]
    definition: Arc<RawValue>,
}

/// The tools that the caller may use.
#[derive(Serialize, ToSchema)]
pub(super) struct OfferedTools {
    tools: Vec<Offer>,
}

/// The resources that the caller may use.
#[derive(Serialize, ToSchema)]
pub(super) struct OfferedResources {
    resources: Vec<Offer>,
}

/// Lists the tools that the caller may use
#[utoipa::path(get, path = "/mcp/tools", tag = "discovery",
    responses((status = 200, description = "The tools", body = OfferedTools), Refused))]
pub(super) async fn offered_tools(
    State(door): State<Door>,
    caller: Caller,
) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::OK, &OfferedTools { tools: offered(&door, &caller, CapabilityKind::Tool)? }))
}

/// Lists the resources that the caller may use
#[utoipa::path(get, path = "/mcp/resources", tag = "discovery",
    responses((status = 200, description = "The resources", body = OfferedResources), Refused))]
pub(super) async fn offered_resources(
    State(door): State<Door>,
    caller: Caller,
) -> Result<Response<Body>, Failure> {
    Ok(json(
        StatusCode::OK,
        &OfferedResources { resources: offered(&door, &caller, CapabilityKind::Resource)? },
    ))
}

fn offered(door: &Shared, caller: &Caller, kind: CapabilityKind) -> Result<Vec<Offer>> {
    let offers = door.gateway.offered(caller, kind)?.into_iter().map(|(name, server, capability)| Offer {
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
