//! The routing table and the OpenAPI document, which are one: a route exists by being described.

use axum::body::Body;
use http::{Response, StatusCode};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::schema::{Missing, ProxyAnswer, ProxyRequest, Refused, RpcAnswer, RpcMessage, RpcRefused};
use super::{
    audit, credentials, discovery, docs, events, keys, logins, metrics, operation, registering, registry_v01,
    servers, tenants,
};
use crate::server::{AppState, answer, challenge};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "MCP Registry Gateway",
        description = "Register Model Context Protocol servers, discover what they offer, route calls to them.\n\n\
            Every answer carries `X-Correlation-Id`, which is the request's own if it brings one of 1 to 128 characters \
            of `[A-Za-z0-9._-]`. Unknown query parameters and unknown members of bodies are errors.",
    ),
    servers((url = "/", description = "The gateway that gives this document")),
    modifiers(&Credential),
    security((), ("bearer" = [])),
    paths(mcp_all, mcp_all_stream, mcp_all_end, mcp_one, mcp_one_stream, mcp_one_end, mcp_proxy, legacy_mcp,
        sse_all, sse_one, sse_message),
    tags(
        (name = "mcp", description = "The Model Context Protocol itself"),
        (name = "servers", description = "The register"),
        (name = "keys", description = "Who may call, by API keys"),
        (name = "discovery", description = "Who offers what"),
        (name = "registry", description = "The read API of the official registry, for editors"),
        (name = "tenants", description = "Who is apart from whom"),
        (name = "operation", description = "Health, metrics, calls under way"),
    )
)]
struct OpenApiDocument;

/// How a caller says who it is.
struct Credential;

impl Modify for Credential {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let description = "An API key, a token of a configured issuer or, on the gateway's own machine while no authentication is \
            configured, the local token. Without any, a caller may do what anonymous callers may.";
        let bearer = Http::builder().scheme(HttpAuthScheme::Bearer).description(Some(description)).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// Every route behind the edge, with its description.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    logins::routes(OpenApiRouter::with_openapi(OpenApiDocument::openapi()))
        .routes(routes!(servers::list, registering::register))
        .routes(routes!(servers::get, servers::update, servers::remove))
        .routes(routes!(servers::health_check))
        .routes(routes!(servers::approve))
        .routes(routes!(servers::health))
        .routes(routes!(servers::diagnosis))
        .routes(routes!(credentials::list, credentials::set, credentials::remove))
        .routes(routes!(credentials::list_own, credentials::set_own, credentials::remove_own))
        .routes(routes!(servers::capabilities))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::get, keys::revoke))
        .routes(routes!(keys::rotate))
        .routes(routes!(challenge::whole))
        .routes(routes!(challenge::all))
        .routes(routes!(challenge::one))
        .routes(routes!(discovery::tools))
        .routes(routes!(discovery::resources))
        .routes(routes!(discovery::prompts))
        .routes(routes!(discovery::search))
        .routes(routes!(discovery::offered_tools))
        .routes(routes!(discovery::offered_resources))
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::get, tenants::update, tenants::delete))
        .routes(routes!(audit::search))
        .routes(routes!(audit::export))
        .routes(routes!(audit::verify))
        .routes(routes!(operation::stats))
        .routes(routes!(operation::metrics))
        .routes(routes!(operation::active))
        .routes(routes!(metrics::metrics))
        .routes(routes!(operation::cancel))
        .routes(routes!(events::events))
        .routes(routes!(operation::health))
        .routes(routes!(operation::ready))
        .routes(routes!(operation::startup))
        .routes(routes!(registry_v01::list, registry_v01::list_options))
        .routes(routes!(registry_v01::versions, registry_v01::versions_options))
        .routes(routes!(registry_v01::version, registry_v01::version_options))
        .routes(routes!(openapi_json))
        .routes(routes!(docs::page))
        .routes(routes!(docs::asset))
}

/// The OpenAPI 3.1 document of the HTTP surface.
pub fn document() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

/// Returns this document
#[utoipa::path(get, path = "/openapi.json", tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
async fn openapi_json() -> Response<Body> {
    answer::json(StatusCode::OK, &document())
}

macro_rules! described {
    ($($(#[$doc:meta])* $name:ident = $path:tt;)+) => {$(
        $(#[$doc])*
        #[utoipa::path $path]
        #[expect(dead_code, reason = "describes a door that stands before the router")]
        fn $name() {}
    )+};
}

described! {
    /// Sends an MCP message to all services that the caller may see
    ///
    /// One JSON-RPC message. Names of tools and prompts are prefixed: `service__tool`.
    mcp_all = (post, path = "/mcp", tag = "mcp", request_body = RpcMessage,
        params(("Mcp-Session-Id" = Option<String>, Header), ("MCP-Protocol-Version" = Option<String>, Header)),
        responses((status = 200, content((RpcAnswer = "application/json"), (String = "text/event-stream")),
            description = "The answer, or the stream that ends with it"),
            (status = 202, description = "A notification or an answer was taken"), RpcRefused));
    /// Opens the session's stream of server messages
    mcp_all_stream = (get, path = "/mcp", tag = "mcp", params(("Mcp-Session-Id" = String, Header)),
        responses((status = 200, body = String, content_type = "text/event-stream", description = "The stream"),
            RpcRefused));
    /// Ends the session
    mcp_all_end = (delete, path = "/mcp", tag = "mcp", params(("Mcp-Session-Id" = String, Header)),
        responses((status = 204, description = "Ended"), RpcRefused));
    /// Sends an MCP message to one service
    ///
    /// One JSON-RPC message. Names are the service's own.
    mcp_one = (post, path = "/mcp/{service}", tag = "mcp", request_body = RpcMessage,
        params(("service" = String, Path), ("Mcp-Session-Id" = Option<String>, Header),
            ("MCP-Protocol-Version" = Option<String>, Header)),
        responses((status = 200, content((RpcAnswer = "application/json"), (String = "text/event-stream")),
            description = "The answer, or the stream that ends with it"),
            (status = 202, description = "A notification or an answer was taken"), RpcRefused));
    /// Opens the session's stream of server messages
    mcp_one_stream = (get, path = "/mcp/{service}", tag = "mcp",
        params(("service" = String, Path), ("Mcp-Session-Id" = String, Header)),
        responses((status = 200, body = String, content_type = "text/event-stream", description = "The stream"),
            RpcRefused));
    /// Ends the session
    mcp_one_end = (delete, path = "/mcp/{service}", tag = "mcp",
        params(("service" = String, Path), ("Mcp-Session-Id" = String, Header)),
        responses((status = 204, description = "Ended"), RpcRefused));
    /// Sends one JSON-RPC request with routing wishes
    mcp_proxy = (post, path = "/mcp/proxy", tag = "mcp", request_body = ProxyRequest,
        responses((status = 200, body = ProxyAnswer, description = "The answer, with who gave it"), RpcRefused));
    /// Sends one plain JSON-RPC request without a session; off unless `server.legacy` is true
    legacy_mcp = (post, path = "/legacy/mcp", tag = "mcp", request_body = RpcMessage,
        responses((status = 200, body = RpcAnswer, description = "The answer"), RpcRefused));
    /// Opens a stream of HTTP+SSE, the transport of 2024-11-05; off unless `server.sse` is true
    ///
    /// Its first event, `endpoint`, names where to post.
    sse_all = (get, path = "/sse", tag = "mcp",
        responses((status = 200, body = String, content_type = "text/event-stream", description = "The stream"), Refused, Missing));
    /// Opens a stream of HTTP+SSE for one service
    sse_one = (get, path = "/sse/{service}", tag = "mcp", params(("service" = String, Path)),
        responses((status = 200, body = String, content_type = "text/event-stream", description = "The stream"), Refused, Missing));
    /// Sends a message; the answer comes on the stream of HTTP+SSE
    sse_message = (post, path = "/messages", tag = "mcp", request_body = RpcMessage,
        params(("session_id" = String, Query)),
        responses((status = 202, description = "Taken; the answer comes on the stream"), RpcRefused));
}
