//! People who show a token that GitHub gave them: GitHub, here one of this machine, is asked whose it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::future::join_all;
use mcp_registry_gateway::tasks::Tasks;
use mcp_registry_gateway_tests::http::Http;
use mcp_registry_gateway_tests::process::{Gateway, Options};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A GitHub that knows `gho_a` as a token of the app, and 7 as a member of organization 900; gives its address.
async fn github(asked: Arc<AtomicUsize>) -> (String, Tasks) {
    async fn check(
        State(asked): State<Arc<AtomicUsize>>,
        headers: HeaderMap,
        Json(body): Json<Value>,
    ) -> (StatusCode, Json<Value>) {
        asked.fetch_add(1, Ordering::SeqCst);
        // `app:canary-secret`
        let shown =
            headers.get("authorization").is_some_and(|value| value == "Basic YXBwOmNhbmFyeS1zZWNyZXQ=");
        let user = json!({ "id": 7, "login": "octocat", "type": "User" });
        match (shown, body["access_token"].as_str()) {
            (true, Some("gho_canary")) => {
                (StatusCode::OK, Json(json!({ "app": { "client_id": "app" }, "user": user })))
            }
            (true, _) => (StatusCode::NOT_FOUND, Json(json!({ "message": "Not Found" }))),
            (false, _) => (StatusCode::UNAUTHORIZED, Json(json!({ "message": "Bad credentials" }))),
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    let router = Router::new()
        .route("/api/v3/applications/app/token", post(check))
        .route("/api/v3/user/orgs", get(async || Json(json!([{ "id": 900, "login": "acme" }]))))
        .with_state(asked);
    let tasks = Tasks::default();
    tasks.spawn(async move { drop(axum::serve(listener, router).await) });
    (format!("http://{address}/api/v3"), tasks)
}

/// a member of an organization that is let in comes in by the token of the app, with the role of the organization, and is a
/// number in the trail; other tokens are refused, and no token or secret is in an answer or the log. GitHub is asked once.
#[tokio::test]
async fn who_shows_a_token_of_github_is_let_in_by_number() {
    let asked = Arc::<AtomicUsize>::default();
    let (api, _tasks) = github(Arc::clone(&asked)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mcp-gateway.toml");
    let config = format!(
        "[[auth.issuers]]\nname = 'github'\npreset = 'github_users'\nissuer = '{api}'\ndirectories = ['900']\n\
         client_id = 'app'\nclient_secret = 'canary-secret'\nroles = {{ 900 = 'manager' }}\n"
    );
    std::fs::write(&file, config).expect("a file");
    let args = vec!["--config".to_owned(), file.display().to_string()];
    let gateway = Gateway::start_with(Options { args, ..Options::default() }).await;
    let known = gateway.http().showing("gho_canary");
    let both = join_all((0..20).map(|_| known.get("/api/v1/servers"))).await;
    assert!(both.iter().all(|answer| answer.as_ref().is_ok_and(|(status, _)| *status == 200)), "{both:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let server = json!({ "name": "one", "endpoint_url": "http://127.0.0.1:9/mcp", "auto_discover": false });
    let wish = known.json(http::Method::POST, "/api/v1/servers", Some(&server)).await.expect("an answer");
    assert_eq!(wish.0, 403, "a manager may register, but nothing inside: {}", wish.1);
    assert!(!wish.1.to_string().contains("role"), "{}", wish.1);
    for token in ["gho_other", "ghp_canary", "gho_canary_"] {
        let (status, body) = gateway.http().showing(token).get("/api/v1/servers").await.expect("an answer");
        assert_eq!(status, 401, "{token}: {body}");
    }
    let nobody = Http::new(gateway.address()).get("/api/v1/servers").await.expect("an answer");
    assert_eq!(nobody.0, 401);
    assert!(!gateway.output().contains("canary"), "{}", gateway.output());
}
