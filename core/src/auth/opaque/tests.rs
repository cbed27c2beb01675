use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};

use super::*;
use crate::clock::ManualClock;
use crate::model::Role;

const APP: &str = "Iv1.app";

/// GitHub's answers: by method and path, and the token that was sent.
#[derive(Debug, Default)]
struct GitHub {
    answers: Mutex<HashMap<(String, String), (u16, Value)>>,
    asked: AtomicUsize,
    hangs: AtomicBool,
    under_way: AtomicUsize,
    /// Questions that were under way at once, at most.
    most: AtomicUsize,
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl GitHub {
    fn says(&self, path: &str, token: &str, status: u16, answer: Value) {
        locked(&self.answers).insert((path.to_owned(), token.to_owned()), (status, answer));
    }

    fn knows(&self, token: &str, id: u64, organizations: &[u64]) {
        let user = json!({ "id": id, "login": format!("login-{id}"), "type": "User" });
        let of_app = json!({ "app": { "client_id": APP }, "user": user, "expires_at": null });
        self.says("POST /applications/Iv1.app/token", token, 200, of_app);
        self.says("GET /user", token, 200, user);
        let organizations: Vec<_> = organizations.iter().map(|id| json!({ "id": id })).collect();
        self.says("GET /user/orgs?per_page=100", token, 200, organizations.into());
    }
}

impl Fetch for GitHub {
    fn fetch<'a>(&'a self, _: &'a Url) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async { Err(unavailable()) })
    }

    fn ask(&self, question: Question) -> BoxFuture<'_, Result<(u16, Bytes)>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.most.fetch_max(self.under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _under_way = UnderWay(&self.under_way);
            tokio::task::yield_now().await;
            if self.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            assert!(question.headers.contains_key("user-agent"), "GitHub wants one");
            let shown = &question.headers["authorization"];
            assert!(shown.is_sensitive());
            let body: Value = serde_json::from_slice(&question.body).unwrap_or_default();
            let bearer = shown.to_str().unwrap().strip_prefix("Bearer ").map(str::to_owned);
            let token = body["access_token"].as_str().map(str::to_owned).or(bearer).unwrap();
            let path = &question.url[url::Position::BeforePath..];
            let key = (format!("{} {path}", question.method), token);
            let found = locked(&self.answers).get(&key).cloned();
            let (status, answer) = found.unwrap_or((if body.is_null() { 401 } else { 404 }, Value::Null));
            Ok((status, Bytes::from(answer.to_string())))
        })
    }
}

struct House {
    github: Arc<GitHub>,
    clock: Arc<ManualClock>,
    opaque: Opaque,
}

fn issuer() -> Issuer {
    Issuer {
        name: "github".into(),
        preset: Preset::GithubUsers,
        directories: vec!["7".into(), "900".into()],
        client_id: Some(APP.into()),
        client_secret: Some("canary-secret".to_owned().into()),
        role: Some(Role::Viewer),
        ..Issuer::default()
    }
}

impl House {
    fn with(issuer: &Issuer) -> Self {
        assert_eq!(issuer.check(false), Ok(()));
        let (github, clock) = (Arc::new(GitHub::default()), ManualClock::shared());
        let (ask, time): (Arc<dyn Fetch>, Arc<dyn Clock>) = (github.clone(), clock.clone());
        Self { opaque: Opaque::new(std::slice::from_ref(issuer), &ask, &time), github, clock }
    }

    async fn recognize(&self, token: &str) -> Result<Principal> {
        self.opaque.recognize(token.as_bytes()).get().await
    }

    async fn refused(&self, token: &str) -> ErrorKind {
        self.recognize(token).await.unwrap_err().kind()
    }

    fn asked(&self) -> usize {
        self.github.asked.swap(0, Ordering::SeqCst)
    }
}

/// a person on GitHub is a number, never a login; one whose login was taken over by another account is another.
#[tokio::test]
async fn a_person_is_a_number_and_let_in_by_it_or_by_an_organization() {
    let house = House::with(&issuer());
    for (token, id, organizations) in
        [("gho_a", 7, &[][..]), ("ghu_b", 8, &[1, 900]), ("gho_c", 9, &[901]), ("gho_d", 70, &[])]
    {
        house.github.knows(token, id, organizations);
    }
    let principal = house.recognize("gho_a").await.unwrap();
    assert_eq!((&*principal.subject, principal.role), ("user:github:7", Role::Viewer));
    assert_eq!(&*house.recognize("ghu_b").await.unwrap().subject, "user:github:8");
    assert_eq!(house.refused("gho_c").await, ErrorKind::PermissionDenied);
    assert_eq!(house.refused("gho_d").await, ErrorKind::PermissionDenied);
    house.github.says("GET /user/orgs?per_page=100", "gho_d", 403, json!({ "message": "no scope" }));
    assert_eq!(house.refused("gho_d").await, ErrorKind::PermissionDenied);
    let by_organization = Issuer { roles: [("900".to_owned(), Role::Developer)].into(), ..issuer() };
    let house = House::with(&by_organization);
    house.github.knows("gho_a", 7, &[900]);
    assert_eq!(house.recognize("gho_a").await.unwrap().role, Role::Developer);
}

/// a token that a person gave to another app is not taken here, nor one that GitHub does not know, nor one that has ended, nor
/// that of a machine.
#[tokio::test]
async fn only_tokens_of_the_configured_app_that_hold_are_taken() {
    let house = House::with(&issuer());
    house.github.knows("gho_other", 7, &[]);
    let other = json!({ "app": { "client_id": "Iv1.other" }, "user": { "id": 7, "type": "User" } });
    house.github.says("POST /applications/Iv1.app/token", "gho_other", 200, other);
    let of = |expires: &str, kind: &str| json!({ "app": { "client_id": APP }, "user": { "id": 7, "type": kind }, "expires_at": expires });
    house.github.says(
        "POST /applications/Iv1.app/token",
        "gho_over",
        200,
        of("1970-01-01T00:00:00Z", "User"),
    );
    house.github.says("POST /applications/Iv1.app/token", "gho_bot", 200, of("2100-01-01T00:00:00Z", "Bot"));
    for token in ["gho_other", "gho_unknown", "gho_over"] {
        assert_eq!(house.refused(token).await, ErrorKind::Unauthenticated, "{token}");
    }
    assert_eq!(house.refused("gho_bot").await, ErrorKind::PermissionDenied);
    house.asked();
    house.github.knows("ghp_a", 7, &[]);
    assert_eq!(house.refused("ghp_a").await, ErrorKind::Unauthenticated);
    assert_eq!(house.asked(), 0, "personal tokens are shown to nobody unless they are taken");
    let personal = Issuer { personal_tokens: true, client_id: None, client_secret: None, ..issuer() };
    let house = House::with(&personal);
    house.github.knows("ghp_a", 7, &[]);
    house.github.knows("github_pat_a", 8, &[900]);
    assert_eq!(&*house.recognize("ghp_a").await.unwrap().subject, "user:github:7");
    assert_eq!(&*house.recognize("github_pat_a").await.unwrap().subject, "user:github:8");
    assert_eq!(house.refused("gho_a").await, ErrorKind::Unauthenticated);
    let forms = ["gho_", "xgho_a", "gho_a.b", "gho_a-b", "mcp_a"].map(|text| has_form(text.as_bytes()));
    assert_eq!(forms, [true, false, false, false, false]);
    assert!(!has_form(format!("gho_{}", "a".repeat(252)).as_bytes()));
}

/// however many calls send a token, GitHub is asked once a minute; about one that does not hold, once in ten seconds.
#[tokio::test]
async fn a_token_is_asked_about_once_however_many_show_it() {
    let house = House::with(&issuer());
    house.github.knows("gho_a", 7, &[]);
    let many = join_all((0..100).map(|_| house.recognize("gho_a"))).await;
    assert!(many.iter().all(Result::is_ok));
    assert_eq!(house.asked(), 1);
    let later = house.clock.clone();
    later.advance(Duration::from_secs(59));
    assert!(house.recognize("gho_a").await.is_ok());
    assert_eq!(house.asked(), 0);
    later.advance(Duration::from_secs(1));
    house.github.says("POST /applications/Iv1.app/token", "gho_a", 404, Value::Null);
    let many = join_all((0..100).map(|_| house.recognize("gho_a"))).await;
    assert!(many.iter().all(Result::is_err), "what was revoked ends within a minute");
    assert_eq!(house.asked(), 1);
    later.advance(Duration::from_secs(10));
    house.github.knows("gho_a", 7, &[]);
    assert!(house.recognize("gho_a").await.is_ok());
}

/// while GitHub cannot say whose a token is, it is 503, and nobody; within a bounded time.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_is_unavailable() {
    let house = House::with(&issuer());
    for status in [401, 403, 429, 500, 301] {
        house.github.says("POST /applications/Iv1.app/token", "gho_a", status, Value::Null);
        assert_eq!(house.refused("gho_a").await, ErrorKind::Unavailable, "{status}");
    }
    house.github.says(
        "POST /applications/Iv1.app/token",
        "gho_a",
        200,
        json!({ "app": { "client_id": APP } }),
    );
    assert_eq!(house.refused("gho_a").await, ErrorKind::Unavailable, "of another form");
    house.github.hangs.store(true, Ordering::SeqCst);
    let tokens: Vec<_> = (0..200).map(|n| format!("gho_{n}")).collect();
    let many = join_all(tokens.iter().map(|token| house.recognize(token)));
    let many = tokio::time::timeout(PATIENCE + Duration::from_millis(1), many).await.unwrap();
    assert!(many.iter().all(|one| one.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable)));
    assert_eq!(house.github.most.load(Ordering::SeqCst), AT_ONCE);
    assert!(!format!("{:?}", house.opaque).contains("canary"));
}

#[test]
fn a_provider_that_would_let_in_anybody_is_refused() {
    for (wrong, word) in [
        (Issuer { directories: vec![], ..issuer() }, "directories"),
        (Issuer { directories: vec!["octocat".into()], ..issuer() }, "numeric"),
        (Issuer { client_secret: None, ..issuer() }, "belong together"),
        (Issuer { client_id: None, client_secret: None, ..issuer() }, "personal_tokens"),
        (Issuer { issuer: Some("http://github.example/api/v3".into()), ..issuer() }, "https"),
        (Issuer { audience: vec!["a".into()], ..issuer() }, "audience"),
        (
            Issuer { preset: Preset::Oidc, issuer: Some("https://a.example".into()), ..issuer() },
            "github_users",
        ),
    ] {
        assert!(wrong.check(true).unwrap_err().contains(word), "{wrong:?}");
    }
}
