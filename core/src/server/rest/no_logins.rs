//! The routes of logins in a build without an OAuth client: each says which feature is missing.

use axum::routing::any;

use utoipa_axum::router::OpenApiRouter;

use crate::server::AppState;
use crate::server::answer::Failure;
use crate::views::credential::without_oauth;

/// Where authorization servers send browsers back to.
pub(crate) const CALLBACK: &str = "/mcp/oauth/callback";

/// Adds the routes of logins.
pub(crate) fn routes(router: OpenApiRouter<AppState>) -> OpenApiRouter<AppState> {
    let paths =
        ["/api/v1/servers/{id}/credentials/login", "/api/v1/servers/{id}/credentials/own/login", CALLBACK];
    paths.into_iter().fold(router, |router, path| router.route(path, any(missing)))
}

async fn missing() -> Failure {
    without_oauth().into()
}
