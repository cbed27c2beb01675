//! The routes of logins in a build without an OAuth client: each says which feature is missing.

use axum::routing::any;

use utoipa_axum::router::OpenApiRouter;

use crate::server::AppState;
use crate::server::answer::Failure;
use crate::views::credential::without_oauth;

/// Whether an authorization server sends browsers back to this path.
pub(crate) fn is_callback(path: &str) -> bool {
    path.strip_prefix("/mcp/oauth/callback/").is_some_and(|id| !id.contains('/'))
}

/// Adds the routes of logins.
pub(crate) fn routes(router: OpenApiRouter<AppState>) -> OpenApiRouter<AppState> {
    let paths = [
        "/api/v1/servers/{id}/credentials/login",
        "/api/v1/servers/{id}/credentials/own/login",
        "/mcp/oauth/callback/{issuer}",
    ];
    paths.into_iter().fold(router, |router, path| router.route(path, any(missing)))
}

async fn missing() -> Failure {
    without_oauth().into()
}
