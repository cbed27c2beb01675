//! A local issuer signs real tokens with keys that it makes, and publishes them.

mod presets;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::model::{Role, TenantId};

const URL: &str = "https://gate.example";
const ISSUER: &str = "https://issuer.example";

/// Signs as ES256 and as `EdDSA`.
struct Signer {
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            p256: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.as_ref(), &random).unwrap(),
            ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap(),
        }
    }

    fn keys(&self) -> Value {
        let point = self.p256.public_key().as_ref();
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "es", "use": "sig", "alg": "ES256", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "x": b64(self.ed25519.public_key().as_ref()) },
            { "kty": "oct", "kid": "secret", "k": "AAAA" },
        ] })
    }

    /// The token with these members of the header and these claims, signed as `alg` in the header says.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
        let signature = match header["alg"].as_str() {
            Some("EdDSA") => self.ed25519.sign(signed.as_bytes()).as_ref().to_vec(),
            _ => self.p256.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{signed}.{}", b64(&signature))
    }
}

/// Publishes documents, and counts how often it was asked.
#[derive(Debug, Default)]
struct Site {
    documents: Mutex<std::collections::HashMap<String, String>>,
    asked: AtomicUsize,
}

impl Site {
    fn put(&self, url: &str, document: &Value) {
        self.documents.lock().unwrap().insert(url.to_owned(), document.to_string());
    }
}

impl Fetch for Site {
    fn fetch<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.asked.fetch_add(1, Ordering::SeqCst);
            let found = self.documents.lock().unwrap().get(url.as_str()).cloned();
            found.map(Bytes::from).ok_or_else(|| Error::new(ErrorKind::BadUpstream, "nothing is there"))
        })
    }
}

struct House {
    signer: Signer,
    site: Arc<Site>,
    clock: Arc<ManualClock>,
    tokens: Tokens,
}

const KEYS: &str = "https://issuer.example/keys";

fn oidc() -> Issuer {
    Issuer {
        name: "corp".into(),
        issuer: Some(ISSUER.into()),
        jwks_url: Some(KEYS.into()),
        role: Some(Role::Viewer),
        ..Issuer::default()
    }
}

impl House {
    fn with(issuer: &Issuer) -> Self {
        let (signer, site, clock) = (Signer::new(), Arc::new(Site::default()), ManualClock::shared());
        site.put(KEYS, &signer.keys());
        assert_eq!(issuer.check(true), Ok(()));
        let (fetch, time): (Arc<dyn Fetch>, Arc<dyn Clock>) = (site.clone(), clock.clone());
        let tokens = Tokens::new(std::slice::from_ref(issuer), Some(URL.into()), &fetch, &time).unwrap();
        Self { signer, site, clock, tokens }
    }

    fn now(&self) -> i64 {
        self.clock.timestamp().as_second()
    }

    /// Good claims with these instead; `null` takes one away.
    fn claims(&self, other: Value) -> Value {
        let mut claims =
            json!({ "iss": ISSUER, "sub": "u-1", "aud": URL, "exp": self.now() + 600, "iat": self.now() });
        let Value::Object(other) = other else { panic!("claims are an object") };
        for (name, value) in other {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(&name);
            } else {
                claims[name] = value;
            }
        }
        claims
    }

    async fn judge(&self, token: &str) -> Result<Principal> {
        self.tokens.recognize(token.as_bytes()).get().await
    }

    async fn claiming(&self, other: Value) -> Result<Principal> {
        let claims = self.claims(other);
        self.judge(&self.signer.sign(&json!({ "alg": "ES256", "kid": "es", "typ": "JWT" }), &claims)).await
    }
}

fn status(outcome: Result<Principal>) -> u16 {
    outcome.map_or_else(|error| error.kind().row().status, |_| 200)
}

#[tokio::test]
async fn tokens_of_either_kind_of_key_hold_and_cost_one_fetch() {
    let house = House::with(&oidc());
    for (alg, kid) in [("ES256", "es"), ("EdDSA", "ed")] {
        let token = house.signer.sign(&json!({ "alg": alg, "kid": kid }), &house.claims(json!({})));
        let principal = house.judge(&token).await.unwrap();
        assert_eq!((&*principal.subject, principal.role), ("user:corp:u-1", Role::Viewer));
        assert_eq!(house.judge(&token).await.unwrap(), principal);
    }
    assert_eq!(house.site.asked.load(Ordering::SeqCst), 1);
}

/// The example of RFC 7515 appendix A.2, signed as RS256 by somebody else's program.
#[test]
fn a_signature_of_rsa_that_another_program_made_holds() {
    let key = json!({ "kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ" });
    let signed = b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = URL_SAFE_NO_PAD.decode("cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw").unwrap();
    let key = key::PublicKey::read(key).unwrap();
    assert!(key.verifies(signed, &signature));
    assert!(!key.verifies(&signed[1..], &signature));
    assert!(
        key::PublicKey::read(json!({ "kty": "RSA", "alg": "HS256", "e": "AQAB", "n": "AQAB" })).is_none()
    );
    assert!(key::PublicKey::read(json!({ "kty": "RSA", "use": "enc", "e": "AQAB", "n": "AQAB" })).is_none());
}

/// A-03: a token that is not this issuer's, not for this gateway, not for now, or not honest about its key is 401.
#[tokio::test]
async fn a_token_that_is_wrong_in_any_way_is_refused() {
    let house = House::with(&oidc());
    let now = house.now();
    assert_eq!(status(house.claiming(json!({})).await), 200);
    for (what, claims) in [
        ("another service", json!({ "aud": "https://other.example" })),
        ("another deployment", json!({ "aud": "https://gate.example.evil" })),
        ("no audience", json!({ "aud": null })),
        ("an audience of numbers", json!({ "aud": [1] })),
        ("audiences of others", json!({ "aud": ["a", "b"] })),
        ("another issuer", json!({ "iss": "https://evil.example" })),
        ("almost the issuer", json!({ "iss": "https://issuer.example/" })),
        ("no issuer", json!({ "iss": null })),
        ("expired", json!({ "exp": now - 61 })),
        ("no end", json!({ "exp": null })),
        ("an end that is text", json!({ "exp": "2099" })),
        ("not yet", json!({ "nbf": now + 61 })),
        ("made in the future", json!({ "iat": now + 61 })),
        ("a start that is text", json!({ "nbf": "soon" })),
        ("no subject", json!({ "sub": null })),
        ("an empty subject", json!({ "sub": "" })),
    ] {
        assert_eq!(status(house.claiming(claims).await), 401, "{what}");
    }
    let claims = house.claims(json!({}));
    for header in [
        json!({ "alg": "none", "kid": "es" }),
        json!({ "alg": "HS256", "kid": "es" }),
        json!({ "alg": "RS256", "kid": "es" }),
        json!({ "alg": "EdDSA", "kid": "es" }),
        json!({ "alg": "ES256", "kid": "ed" }),
        json!({ "alg": "ES256", "kid": "unknown" }),
        json!({ "alg": "ES256", "kid": "es", "jku": "https://evil.example/keys" }),
        json!({ "alg": "ES256", "kid": "es", "x5u": "https://evil.example/cert" }),
        json!({ "alg": "ES256", "kid": "es", "jwk": {} }),
        json!({ "alg": "ES256", "kid": "es", "crit": ["exp"] }),
        json!({ "alg": "ES256", "kid": "es", "typ": "logout+jwt" }),
        json!({ "alg": "es256", "kid": "es" }),
        json!({ "kid": "es" }),
    ] {
        assert_eq!(status(house.judge(&house.signer.sign(&header, &claims)).await), 401, "{header}");
    }
    let good = house.signer.sign(&json!({ "alg": "ES256", "kid": "es" }), &claims);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let other = Signer::new().sign(&json!({ "alg": "ES256", "kid": "es" }), &claims);
    for (what, token) in [
        ("r and s zero", format!("{signed}.{}", b64(&[0; 64]))),
        ("no signature", format!("{signed}.")),
        ("another's signature", other),
        ("64 kB", format!("{good}{}", "A".repeat(64 * 1024))),
        ("one part too many", format!("{good}.x")),
        ("a claim twice", {
            let text = claims.to_string().replacen('{', r#"{"aud":"x","#, 1);
            let signed = format!("{}.{}", b64(br#"{"alg":"EdDSA","kid":"ed"}"#), b64(text.as_bytes()));
            let signature = b64(house.signer.ed25519.sign(signed.as_bytes()).as_ref());
            format!("{signed}.{signature}")
        }),
    ] {
        assert_eq!(status(house.judge(&token).await), 401, "{what}");
    }
}

#[tokio::test]
async fn clocks_may_be_a_minute_apart_and_a_token_that_held_ends_when_it_ends() {
    let house = House::with(&oidc());
    let now = house.now();
    for claims in [
        json!({ "exp": now - 59 }),
        json!({ "nbf": now + 59 }),
        json!({ "aud": ["x", URL] }),
        json!({ "aud": format!("{URL}/mcp") }),
    ] {
        assert_eq!(status(house.claiming(claims.clone()).await), 200, "{claims}");
    }
    let token =
        house.signer.sign(&json!({ "alg": "ES256", "kid": "es" }), &house.claims(json!({ "exp": now + 10 })));
    assert_eq!(status(house.judge(&token).await), 200);
    house.clock.advance(Duration::from_secs(69));
    assert_eq!(status(house.judge(&token).await), 200);
    house.clock.advance(Duration::from_secs(2));
    assert_eq!(status(house.judge(&token).await), 401);
}

#[tokio::test]
async fn a_token_for_one_service_reaches_no_other() {
    let house = House::with(&oidc());
    let principal = house.claiming(json!({ "aud": format!("{URL}/mcp/calc") })).await.unwrap();
    let id = crate::model::ServerId::random();
    assert!(principal.reaches(id, &ServiceName::new("calc").unwrap()));
    assert!(!principal.reaches(id, &ServiceName::new("other").unwrap()));
}

#[tokio::test]
async fn a_flood_of_unknown_key_ids_is_one_fetch_and_a_new_key_is_found() {
    let house = House::with(&oidc());
    assert_eq!(status(house.claiming(json!({})).await), 200);
    let unknown: Vec<_> = (0..200)
        .map(|n| {
            house.signer.sign(&json!({ "alg": "ES256", "kid": format!("k{n}") }), &house.claims(json!({})))
        })
        .collect();
    let answers = join_all(unknown.iter().map(|token| house.judge(token))).await;
    assert!(answers.into_iter().all(|answer| status(answer) == 401));
    assert!(house.site.asked.load(Ordering::SeqCst) <= 2, "{:?}", house.site.asked);
    let next = Signer::new();
    house.site.put(KEYS, &next.keys());
    house.clock.advance(Duration::from_mins(61));
    let old = house.signer.sign(&json!({ "alg": "ES256", "kid": "es" }), &house.claims(json!({})));
    let new = next.sign(&json!({ "alg": "ES256", "kid": "es" }), &house.claims(json!({})));
    assert_eq!(status(house.judge(&new).await), 200);
    assert_eq!(status(house.judge(&old).await), 401, "keys that the issuer took back hold no more");
}

/// A-02: an issuer that cannot be asked makes nobody of anybody: 503.
#[tokio::test]
async fn an_issuer_that_cannot_be_asked_is_503_and_old_keys_are_used_for_a_day() {
    let house = House::with(&oidc());
    house.site.documents.lock().unwrap().clear();
    assert_eq!(status(house.claiming(json!({})).await), 503);
    house.site.put(KEYS, &house.signer.keys());
    assert_eq!(status(house.claiming(json!({})).await), 503, "it is not asked again at once");
    house.clock.advance(Duration::from_secs(11));
    assert_eq!(status(house.claiming(json!({})).await), 200);
    house.site.documents.lock().unwrap().clear();
    house.clock.advance(Duration::from_hours(23));
    assert_eq!(status(house.claiming(json!({})).await), 200);
    house.clock.advance(Duration::from_hours(2));
    assert_eq!(status(house.claiming(json!({})).await), 503);
}

/// B-23: metadata of another issuer, compared as text, or with an endpoint that is no web address is refused.
#[tokio::test]
async fn an_issuers_metadata_must_name_the_issuer_and_nothing_but_web_addresses() {
    let issuer = Issuer { jwks_url: None, ..oidc() };
    let metadata = "https://issuer.example/.well-known/openid-configuration";
    let house = House::with(&issuer);
    let good =
        json!({ "issuer": ISSUER, "jwks_uri": KEYS, "token_endpoint": "https://issuer.example/token" });
    for wrong in [
        json!({ "issuer": "https://issuer.example/" }),
        json!({ "issuer": "HTTPS://issuer.example" }),
        json!({ "issuer": "https://issuer.example:443" }),
        json!({ "issuer": null }),
        json!({ "jwks_uri": "file:///etc/passwd" }),
        json!({ "jwks_uri": null }),
        json!({ "authorization_endpoint": "javascript:alert(1)" }),
        json!({ "token_endpoint": "data:,token" }),
        json!({ "userinfo_endpoint": 7 }),
    ] {
        let mut document = good.clone();
        document.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        house.site.put(metadata, &document);
        assert_eq!(status(house.claiming(json!({})).await), 503, "{document}");
        house.clock.advance(Duration::from_secs(11));
    }
    house.site.put(metadata, &good);
    assert_eq!(status(house.claiming(json!({})).await), 200);
}

/// An issuer below a path whose metadata is where RFC 8414 (section 3.1) puts it.
#[tokio::test]
async fn an_issuers_metadata_is_found_in_front_of_its_path() {
    let name = "https://issuer.example/tenants/one";
    let house = House::with(&Issuer { jwks_url: None, issuer: Some(name.into()), ..oidc() });
    let metadata = "https://issuer.example/.well-known/oauth-authorization-server/tenants/one";
    house.site.put(metadata, &json!({ "issuer": name, "jwks_uri": KEYS }));
    assert_eq!(status(house.claiming(json!({ "iss": name })).await), 200);
}

#[tokio::test]
async fn claims_give_roles_scopes_and_nothing_else() {
    let issuer = Issuer {
        role: None,
        roles_claims: Some(vec!["realm_access.roles".into(), "https://corp.example/groups".into()]),
        roles: [("ops".to_owned(), Role::Manager), ("dev".to_owned(), Role::Developer)].into(),
        ..oidc()
    };
    let house = House::with(&issuer);
    let roles = |roles: Value| json!({ "realm_access": { "roles": roles } });
    assert_eq!(status(house.claiming(json!({})).await), 403, "whoever has no role is nobody here");
    assert_eq!(
        status(house.claiming(roles(json!(["admin"]))).await),
        403,
        "a role that is not mapped is none"
    );
    assert_eq!(house.claiming(roles(json!(["dev", "ops"]))).await.unwrap().role, Role::Manager);
    assert_eq!(
        house.claiming(json!({ "https://corp.example/groups": "dev" })).await.unwrap().role,
        Role::Developer
    );
    let narrowed = json!({ "realm_access": { "roles": ["ops"] }, "scope": "openid mcp:read keys:read" });
    let principal = house.claiming(narrowed).await.unwrap();
    assert_eq!(principal.scopes().unwrap(), ["mcp:read".into(), "keys:read".into()]);
    assert_eq!(house.claiming(roles(json!("ops"))).await.unwrap().scopes(), None);
}

/// T-09: where a claim names the tenant, none, two, or something else than a name is refused, never taken for the default one.
#[tokio::test]
async fn a_token_names_one_tenant_or_is_refused() {
    let house = House::with(&Issuer { tenant_claim: Some("org".into()), ..oidc() });
    for org in [json!(null), json!([]), json!(["a", "b"]), json!(7), json!("No Tenant"), json!({ "id": "a" })]
    {
        assert_eq!(status(house.claiming(json!({ "org": org })).await), 403, "{org}");
    }
    for org in [json!("acme"), json!(["acme"])] {
        assert_eq!(
            house.claiming(json!({ "org": org })).await.unwrap().tenant,
            TenantId::new("acme").unwrap()
        );
    }
}

const OURS: &str = "11111111-2222-3333-4444-555555555555";

fn entra(claims: Value) -> Value {
    let mut all =
        json!({ "iss": format!("https://login.microsoftonline.com/{OURS}/v2.0"), "tid": OURS, "oid": "o-1" });
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    for (name, value) in claims {
        all[name] = value;
    }
    all
}

/// A-04: of Microsoft Entra ID only members of listed directories, known by directory and object id.
#[tokio::test]
async fn entra_lets_members_of_listed_directories_in_and_nobody_else() {
    let issuer = Issuer {
        name: "entra".into(),
        preset: Preset::Entra,
        jwks_url: Some(KEYS.into()),
        directories: vec![OURS.into()],
        roles: [("Gateway.Admin".to_owned(), Role::Admin), ("group-1".to_owned(), Role::Analyst)].into(),
        ..Issuer::default()
    };
    let house = House::with(&issuer);
    let with_role = |more: Value| {
        let mut claims = entra(json!({ "roles": ["Gateway.Admin"] }));
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let member = house.claiming(with_role(json!({}))).await.unwrap();
    assert_eq!((&*member.subject, member.role), (&*format!("user:entra:{OURS}:o-1"), Role::Admin));
    let v1 = json!({ "iss": format!("https://sts.windows.net/{OURS}/") });
    assert_eq!(house.claiming(with_role(v1)).await.unwrap(), member, "version 1 and 2 name one user alike");
    let renamed = json!({ "preferred_username": "other@x", "email": "other@x", "sub": "pairwise" });
    assert_eq!(house.claiming(with_role(renamed)).await.unwrap(), member);
    let foreign = "99999999-2222-3333-4444-555555555555";
    for (what, claims) in [
        ("the common issuer", json!({ "iss": "https://login.microsoftonline.com/common/v2.0" })),
        (
            "a foreign directory",
            json!({ "iss": format!("https://login.microsoftonline.com/{foreign}/v2.0"), "tid": foreign }),
        ),
        ("a foreign tid under our issuer", json!({ "tid": foreign })),
        ("no object id", json!({ "oid": null })),
    ] {
        assert_eq!(status(house.claiming(with_role(claims)).await), 401, "{what}");
    }
    assert_eq!(status(house.claiming(with_role(json!({ "acct": 1 }))).await), 403, "a guest");
    assert_eq!(
        status(house.claiming(with_role(json!({ "idp": "https://sts.windows.net/other/" }))).await),
        403
    );
    let groups = entra(json!({ "groups": ["group-1", "group-2"] }));
    assert_eq!(house.claiming(groups).await.unwrap().role, Role::Analyst);
    let overage = entra(json!({ "_claim_names": { "groups": "src1" } }));
    assert_eq!(status(house.claiming(overage).await), 403, "groups that do not fit are not guessed");
    assert_eq!(status(house.claiming(entra(json!({ "hasgroups": true }))).await), 403);
}

/// A-04: of Google only accounts of listed domains with a verified address, known by their number.
#[tokio::test]
async fn google_lets_verified_accounts_of_listed_domains_in() {
    let issuer = Issuer {
        name: "google".into(),
        preset: Preset::Google,
        jwks_url: Some(KEYS.into()),
        directories: vec!["corp.example".into()],
        role: Some(Role::Viewer),
        ..Issuer::default()
    };
    let house = House::with(&issuer);
    let claims = |more: Value| {
        let mut all = json!({ "iss": "https://accounts.google.com", "sub": "108", "hd": "corp.example", "email_verified": true });
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    let account = house.claiming(claims(json!({ "email": "a@corp.example" }))).await.unwrap();
    assert_eq!(&*account.subject, "user:google:108");
    assert_eq!(house.claiming(claims(json!({ "email": "b@corp.example" }))).await.unwrap(), account);
    assert_eq!(status(house.claiming(claims(json!({ "email_verified": false }))).await), 403);
    assert_eq!(status(house.claiming(claims(json!({ "hd": "evil.example" }))).await), 401);
    assert_eq!(status(house.claiming(claims(json!({ "hd": null }))).await), 401);
}

/// A-04: of GitHub only runs of listed owners, known by numbers; a name that somebody else took means nothing.
#[tokio::test]
async fn github_lets_runs_of_listed_owners_in_by_their_numbers() {
    let issuer = Issuer {
        name: "ci".into(),
        preset: Preset::Github,
        jwks_url: Some(KEYS.into()),
        directories: vec!["9919".into()],
        roles: [("583231".to_owned(), Role::Developer)].into(),
        ..Issuer::default()
    };
    let house = House::with(&issuer);
    let run = |name: &str, value: Value| {
        let mut all = json!({
            "iss": "https://token.actions.githubusercontent.com", "sub": "repo:octo/one:ref:refs/heads/main", "actor": "octocat",
            "repository_owner": "octo", "repository_owner_id": "9919", "repository_id": "42", "actor_id": "583231",
        });
        all[name] = value;
        all
    };
    let actor = house.claiming(run("ref", json!("refs/heads/main"))).await.unwrap();
    assert_eq!((&*actor.subject, actor.role), ("user:ci:9919:42:583231", Role::Developer));
    assert_eq!(house.claiming(run("actor", json!("renamed"))).await.unwrap(), actor);
    assert_eq!(
        status(house.claiming(run("actor_id", json!("7"))).await),
        403,
        "the old name, another account"
    );
    assert_eq!(status(house.claiming(run("repository_owner_id", json!("7"))).await), 401);
    assert_eq!(status(house.claiming(run("repository_id", json!("x"))).await), 401);
}

#[test]
fn an_issuer_that_would_let_in_too_many_is_refused_with_its_configuration() {
    let wrong = |issuer: Issuer, has_url: bool| issuer.check(has_url).unwrap_err();
    assert!(wrong(Issuer { name: "A b".into(), ..oidc() }, true).contains("name"));
    assert!(wrong(Issuer { issuer: None, ..oidc() }, true).contains("issuer"));
    assert!(wrong(oidc(), false).contains("auth.url"));
    assert!(wrong(Issuer { issuer: Some("http://issuer.example".into()), ..oidc() }, true).contains("https"));
    for preset in [Preset::Entra, Preset::Google, Preset::Github] {
        let anybody = Issuer { preset, issuer: None, ..oidc() };
        assert!(wrong(anybody, true).contains("directories"));
    }
    let common = Issuer { preset: Preset::Entra, issuer: None, directories: vec!["common".into()], ..oidc() };
    assert!(wrong(common, true).contains("UUID"));
    assert!(Issuer { audience: vec!["api://gateway".into()], ..oidc() }.check(false).is_ok());
}
