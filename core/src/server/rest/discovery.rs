//! `/api/v1/discovery/…`, `/mcp/tools`, `/mcp/resources`: the servers' tools, resources and prompts.

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Query, items, uris};
use super::schema::Refused;
use crate::gateway::Caller;
use crate::server::AppState;
use crate::server::answer::{Failure, json};
use crate::views::found::{
    OfferedResources, OfferedTools, Part, PromptAnswer, ResourceAnswer, SearchAnswer, ToolAnswer,
};

/// The questions differ between kinds in one member's name only.
macro_rules! discovery {
    ($query:ident $answer:ident $function:ident $member:ident $split:ident $path:literal $summary:literal $what:literal) => {
        #[derive(Deserialize, IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub(crate) struct $query {
            #[doc = $what]
            $member: String,
        }

        #[doc = $summary]
        #[utoipa::path(get, path = $path, tag = "discovery", params($query),
                            responses((status = 200, description = "The servers", body = $answer), Refused))]
        pub(crate) async fn $function(
            State(door): State<AppState>,
            caller: Caller,
            Query(asked): Query<$query>,
        ) -> Result<Response<Body>, Failure> {
            let names = $split(&asked.$member);
            Ok(json(StatusCode::OK, &$answer::of(&door.gateway, &caller, names)?))
        }
    };
}

discovery!(
    ToolQuery ToolAnswer tools tools items "/api/v1/discovery/tools"
    "Finds the servers that offer all of some tools"
    "Names of tools, divided by commas; 1 to 100."
);
discovery!(
    ResourceQuery ResourceAnswer resources resources uris "/api/v1/discovery/resources"
    "Finds the servers that offer all of some resources"
    "URIs of resources, divided by commas; 1 to 100."
);
discovery!(
    PromptQuery PromptAnswer prompts prompts items "/api/v1/discovery/prompts"
    "Finds the servers that offer all of some prompts"
    "Names of prompts, divided by commas; 1 to 100."
);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchQuery {
    /// Words to look for in names, descriptions and tags.
    #[param(min_length = 1, max_length = 1000)]
    q: String,
    /// Results at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// Searches names, descriptions and tags
#[utoipa::path(get, path = "/api/v1/discovery/search", tag = "discovery", params(SearchQuery),
    responses((status = 200, description = "Results, best first", body = SearchAnswer), Refused))]
pub(crate) async fn search(
    State(door): State<AppState>,
    caller: Caller,
    Query(asked): Query<SearchQuery>,
) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::OK, &SearchAnswer::of(&door.gateway, &caller, asked.q, asked.limit)?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OffersQuery {
    /// Which page, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<u32>,
    /// Of them a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// Lists the tools that the caller may use
#[utoipa::path(get, path = "/mcp/tools", tag = "discovery", params(OffersQuery),
    responses((status = 200, description = "One page", body = OfferedTools), Refused))]
pub(crate) async fn offered_tools(
    State(door): State<AppState>,
    caller: Caller,
    Query(asked): Query<OffersQuery>,
) -> Result<Response<Body>, Failure> {
    let page = Part::Page(asked.page, asked.limit);
    Ok(json(StatusCode::OK, &OfferedTools::of(&door.gateway, &caller, page)?))
}

/// Lists the resources that the caller may use
#[utoipa::path(get, path = "/mcp/resources", tag = "discovery", params(OffersQuery),
    responses((status = 200, description = "One page", body = OfferedResources), Refused))]
pub(crate) async fn offered_resources(
    State(door): State<AppState>,
    caller: Caller,
    Query(asked): Query<OffersQuery>,
) -> Result<Response<Body>, Failure> {
    let page = Part::Page(asked.page, asked.limit);
    Ok(json(StatusCode::OK, &OfferedResources::of(&door.gateway, &caller, page)?))
}
