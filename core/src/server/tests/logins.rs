//! Logins by REST, and the page that a person comes back to.

use std::collections::BTreeMap;

use url::Url;

use super::*;
use crate::auth::Vault;
use crate::gateway;
use crate::gateway::tests::logins::{Shared as World, look, outside};

struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

struct House {
    api: Api,
    world: World,
    credentials: String,
}

impl House {
    async fn new() -> Self {
        let clock: Arc<dyn Clock> = ManualClock::shared();
        let vault = Some(Arc::new(Vault::of(&Vault::new_key().unwrap()).unwrap()));
        let settings = gateway::Settings { vault, probing: false, ..gateway::Settings::default() };
        let gateway =
            Gateway::open(settings, Arc::new(MemoryStore::new()), Arc::clone(&clock)).await.unwrap();
        let api = Api(service(gateway, config::Server::default(), clock));
        let world = outside().await;
        let mut server = quiet("docs");
        server["endpoint_url"] = format!("{}/mcp", look(&world).base).into();
        server["configuration"] = json!({});
        let id = api.send("POST", "/api/v1/servers", &server).await.json["id"].as_str().unwrap().to_owned();
        Self { api, world, credentials: format!("/api/v1/servers/{id}/credentials") }
    }

    /// Where the authorization server sends the browser back to, with more to say.
    async fn come_back(&self, more: &str) -> String {
        let wish = json!({ "scopes": ["<read>"] });
        let begun = self.api.send("POST", &format!("{}/login", self.credentials), &wish).await;
        assert_eq!(begun.status, StatusCode::OK, "{}", begun.json);
        let url = Url::parse(begun.json["authorization_url"].as_str().unwrap()).unwrap();
        let asked: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(begun.json["redirect_uri"], asked["redirect_uri"]);
        let path = asked["redirect_uri"].strip_prefix("http://localhost").unwrap();
        assert!(path.starts_with("/mcp/oauth/callback/"), "{path}");
        assert_eq!(asked["scope"], "<read>");
        let base = look(&self.world).base.clone();
        format!("{path}?state={}&iss={base}&{more}", asked["state"])
    }

    async fn page(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Page {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.extension(peer(Ipv4Addr::LOCALHOST)).body(Full::new(Bytes::new())).unwrap();
        let (head, body) = self.api.0.clone().oneshot(request).await.unwrap().into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Page { status: head.status, headers: head.headers, text }
    }

    async fn listed(&self) -> Value {
        self.api.get(&self.credentials).await.json["credentials"].clone()
    }
}

#[tokio::test]
async fn a_person_is_asked_once_more_and_then_the_server_is_authorized() {
    let house = House::new().await;
    let back = house.come_back("code=read&session_state=x").await;
    let asked = house.page("GET", &back, &[]).await;
    assert_eq!(asked.status, StatusCode::OK);
    assert_eq!(asked.headers["content-type"], "text/html; charset=utf-8");
    for (header, part) in [
        ("content-security-policy", "frame-ancestors 'none'"),
        ("content-security-policy", "form-action 'self'"),
    ] {
        assert!(asked.headers[header].to_str().unwrap().contains(part), "{header}");
    }
    assert_eq!(asked.headers["referrer-policy"], "same-origin", "else the form comes from the origin `null`");
    assert!(asked.text.contains("docs") && asked.text.contains("&lt;read&gt;"), "{}", asked.text);
    assert!(!asked.text.contains("<read>"), "{}", asked.text);
    assert_eq!(house.listed().await, json!([]), "nothing yet");

    let form = asked.text.split_once("action=\"").unwrap().1.split_once('"').unwrap().0.replace("&amp;", "&");
    let foreign = house.page("POST", &form, &[("origin", "https://evil.example")]).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    let done = house.page("POST", &form, &[("origin", "http://localhost")]).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    let listed = house.listed().await;
    assert_eq!((&listed[0]["kind"], &listed[0]["header"]), (&json!("oauth"), &json!("authorization")));
    assert_eq!(listed[0]["authorized"]["scopes"], json!(["read"]));
    assert_eq!(house.page("POST", &form, &[]).await.status, StatusCode::NOT_FOUND, "once");
}

#[tokio::test]
async fn who_is_refused_or_comes_from_nowhere_is_told_so() {
    let house = House::new().await;
    let refused = house.page("GET", &house.come_back("error=%3Cb%3Edenied").await, &[]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("&lt;b&gt;denied"), "{}", refused.text);
    for method in ["GET", "POST"] {
        let unknown = house.page(method, "/mcp/oauth/callback/x?state=x&code=y", &[]).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
        assert!(unknown.text.contains("begin another one"), "{}", unknown.text);
    }
    let without = house.page("GET", "/mcp/oauth/callback/x", &[]).await;
    assert_eq!((without.status, without.text.contains("state")), (StatusCode::BAD_REQUEST, true));
    let back = house.come_back("code=read").await;
    let answer = house.page("POST", &back.replace("iss=", "iss=https://evil.example/"), &[]).await;
    assert_eq!(
        (answer.status, answer.text.contains("RFC 9207")),
        (StatusCode::FORBIDDEN, true),
        "{}",
        answer.text
    );
    assert_eq!(house.listed().await, json!([]));
}

#[tokio::test]
async fn a_login_that_cannot_begin_says_why() {
    let house = House::new().await;
    let login = format!("{}/login", house.credentials);
    for (wish, place) in [
        (json!({ "client_secret": "s" }), "client_id"),
        (json!({ "client_id": "" }), "client_id"),
        (json!({ "client_metadata_url": "http://gateway.example/client" }), "client_metadata_url"),
        (json!({ "scopes": ["a b"] }), "scopes"),
        (json!({ "scope": "a" }), "scope"),
    ] {
        let refused = house.api.send("POST", &login, &wish).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.json);
        assert!(refused.json.to_string().contains(place), "{}", refused.json);
    }
    let own = house.api.send("POST", &format!("{}/own/login", house.credentials), &json!({})).await;
    assert_eq!(own.status, StatusCode::BAD_REQUEST, "all calls carry the same: {}", own.json);
    let other = house.api.send("POST", "/api/v1/servers", &quiet("nobody")).await.json["id"].clone();
    let nobody = format!("/api/v1/servers/{}/credentials/login", other.as_str().unwrap());
    assert_eq!(house.api.send("POST", &nobody, &json!({})).await.status, StatusCode::FAILED_DEPENDENCY);
}
