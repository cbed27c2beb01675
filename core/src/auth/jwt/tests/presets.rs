//! Hostile tokens of providers with known conventions: each is right but for one thing.

use super::*;

const THEIRS: &str = "99999999-2222-3333-4444-555555555555";
/// The directory of personal accounts.
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

fn issuer_of(preset: Preset) -> Issuer {
    let (directories, roles): (&[&str], &[(&str, Role)]) = match preset {
        Preset::Entra => (&[OURS], &[("Gateway.Admin", Role::Admin), ("g-1", Role::Analyst)]),
        Preset::Google => (&["corp.example"], &[]),
        _ => (&["9919"], &[("583231", Role::Developer)]),
    };
    Issuer {
        name: "p".into(),
        preset,
        jwks_url: Some(KEYS.into()),
        directories: directories.iter().map(|id| (*id).to_owned()).collect(),
        role: (preset == Preset::Google).then_some(Role::Viewer),
        roles: roles.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect(),
        ..Issuer::default()
    }
}

/// Claims that hold.
fn good(preset: Preset) -> Value {
    match preset {
        Preset::Entra => entra(json!({ "roles": ["Gateway.Admin"], "ver": "2.0" })),
        Preset::Google => {
            json!({ "iss": "https://accounts.google.com", "sub": "108", "hd": "corp.example", "email_verified": true,
            "email": "a@corp.example", "azp": URL })
        }
        _ => {
            json!({ "iss": "https://token.actions.githubusercontent.com", "sub": "repo:octo/one:ref:refs/heads/main",
            "repository_owner": "octo", "repository_owner_id": "9919", "repository_id": "42", "actor_id": "583231" })
        }
    }
}

fn with(preset: Preset, more: &Value) -> Value {
    let mut all = good(preset);
    for (name, value) in more.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

async fn judge_all(preset: Preset, table: Vec<(&str, Value, u16)>) {
    let house = House::with(&issuer_of(preset));
    assert_eq!(status(house.claiming(good(preset)).await), 200, "{preset:?}");
    for (what, claims, expected) in table {
        let outcome = house.claiming(with(preset, &claims)).await;
        assert_eq!(status(outcome), expected, "{preset:?}: {what}: {claims}");
    }
}

/// what is wrong for every issuer is wrong for the providers with conventions of their own, too.
#[tokio::test]
async fn a_token_that_is_wrong_in_any_way_is_refused_of_every_provider() {
    for preset in [Preset::Entra, Preset::Google, Preset::Github] {
        let house = House::with(&issuer_of(preset));
        let claims = house.claims(good(preset));
        for header in [
            json!({ "alg": "none" }),
            json!({ "alg": "None", "kid": "es" }),
            json!({ "alg": "HS256", "kid": "es" }),
            json!({ "alg": "RS256", "kid": "es" }),
            json!({ "alg": "PS256", "kid": "es" }),
            json!({ "alg": "ES256", "kid": "es", "jku": "https://login.microsoftonline.com/keys" }),
            json!({ "alg": "ES256", "kid": "es", "x5u": "https://evil.example/cert" }),
            json!({ "alg": "ES256", "kid": "es", "jwk": house.signer.keys()["keys"][0] }),
            json!({ "alg": "ES256", "kid": "es", "typ": "logout+jwt" }),
            json!({ "alg": "ES256", "kid": "es", "typ": "dpop+jwt" }),
            json!({ "alg": "ES256", "kid": "../es" }),
            json!({ "alg": "ES256", "kid": "" }),
        ] {
            let token = house.signer.sign(&header, &claims);
            assert_eq!(status(house.judge(&token).await), 401, "{preset:?} {header}");
            let (unsigned, _) = token.rsplit_once('.').unwrap();
            assert_eq!(status(house.judge(&format!("{unsigned}.")).await), 401, "{preset:?} {header}");
        }
        let now = house.now();
        for (what, more) in [
            ("another gateway", json!({ "aud": "https://other.example" })),
            ("a gateway of a longer name", json!({ "aud": format!("{URL}.evil.example") })),
            ("a user in front of the name", json!({ "aud": "https://gate.example@evil.example" })),
            ("another path", json!({ "aud": format!("{URL}/mcpx") })),
            ("a path above", json!({ "aud": format!("{URL}/mcp/../x") })),
            ("no audience", json!({ "aud": null })),
            ("audiences of others", json!({ "aud": ["a", "b"] })),
            ("no audience in a list", json!({ "aud": [] })),
            ("an audience within", json!({ "aud": [[URL]] })),
            ("an audience by another name", json!({ "aud": { "0": URL } })),
            ("meant by `azp` alone", json!({ "aud": "x", "azp": URL, "appid": URL, "client_id": URL })),
            ("no issuer", json!({ "iss": null })),
            ("issuers", json!({ "iss": [good(preset)["iss"]] })),
            ("expired", json!({ "exp": now - 61 })),
            ("no end", json!({ "exp": null })),
            ("an end that is text", json!({ "exp": (now + 600).to_string() })),
            ("an end before time began", json!({ "exp": -1 })),
            ("an end beyond time", json!({ "exp": 1e300 })),
            ("not yet", json!({ "nbf": now + 120 })),
            ("bound to a key", json!({ "cnf": { "jkt": "x" } })),
            ("bound to a certificate", json!({ "cnf": { "x5t#S256": "x" } })),
        ] {
            let outcome = house.claiming(with(preset, &more)).await;
            assert_eq!(status(outcome), 401, "{preset:?}: {what}");
        }
        // A nonce, a hash and the like belong to others, and change nothing.
        let more = json!({ "nonce": "n", "at_hash": "x", "sid": "s", "jti": "j", "amr": ["pwd"], "tenant": "other", "role": "admin" });
        let same = house.claiming(with(preset, &more)).await.unwrap();
        let plain = house.claiming(good(preset)).await.unwrap();
        assert_eq!((&same, same.role), (&plain, plain.role), "{preset:?}");
    }
}

/// hostile tokens of Entra.
#[tokio::test]
async fn entra_is_believed_in_its_directory_alone() {
    let v2 = |directory: &str| format!("https://login.microsoftonline.com/{directory}/v2.0");
    let v1 = |directory: &str| format!("https://sts.windows.net/{directory}/");
    let table = vec![
        ("no tid", json!({ "tid": null }), 401),
        ("an empty tid", json!({ "tid": "" }), 401),
        ("two tids", json!({ "tid": [OURS, THEIRS] }), 401),
        ("a tid with a path", json!({ "tid": format!("{OURS}/../{THEIRS}") }), 401),
        ("a foreign tid under our issuer", json!({ "tid": THEIRS }), 401),
        ("our tid under a foreign issuer", json!({ "iss": v2(THEIRS) }), 401),
        ("a foreign directory", json!({ "iss": v2(THEIRS), "tid": THEIRS }), 401),
        ("a foreign directory of version 1", json!({ "iss": v1(THEIRS), "tid": THEIRS }), 401),
        ("personal accounts", json!({ "iss": v2(PERSONAL), "tid": PERSONAL }), 401),
        ("the template itself", json!({ "iss": v2("{tenantid}") }), 401),
        ("the template and its name as tid", json!({ "iss": v2("{tenantid}"), "tid": "{tenantid}" }), 401),
        ("common", json!({ "iss": v2("common"), "tid": "common" }), 401),
        ("organizations", json!({ "iss": v2("organizations") }), 401),
        ("a slash more", json!({ "iss": format!("{}/", v2(OURS)) }), 401),
        ("by http", json!({ "iss": v2(OURS).replace("https", "http") }), 401),
        ("another host", json!({ "iss": v2(OURS).replace("microsoftonline", "microsoft0nline") }), 401),
        ("a path before", json!({ "iss": v2(&format!("{THEIRS}/../{OURS}")) }), 401),
        ("a query behind", json!({ "iss": format!("{}?x={THEIRS}", v2(OURS)) }), 401),
        ("version 1 of our directory", json!({ "iss": v1(OURS) }), 200),
        ("no object id", json!({ "oid": null }), 401),
        ("an empty object id", json!({ "oid": "" }), 401),
        ("an object id of blanks", json!({ "oid": "  " }), 401),
        ("an object id with a name in it", json!({ "oid": format!("x:{OURS}:o-1") }), 401),
        ("object ids", json!({ "oid": ["o-1"] }), 401),
        ("a guest", json!({ "acct": 1 }), 403),
        ("a guest in text", json!({ "acct": "1" }), 403),
        ("a guest in another way", json!({ "acct": true }), 403),
        ("a guest in a number to come", json!({ "acct": 2 }), 403),
        ("a member", json!({ "acct": 0 }), 200),
        ("from another directory", json!({ "idp": v1(THEIRS) }), 403),
        ("from a social account", json!({ "idp": "live.com" }), 403),
        ("from something", json!({ "idp": 7 }), 403),
        ("from our directory", json!({ "idp": v1(OURS) }), 200),
        ("a role of another app", json!({ "roles": ["Other.Admin"] }), 403),
        ("no roles", json!({ "roles": [] }), 403),
        ("roles that are an object", json!({ "roles": { "Gateway.Admin": true } }), 403),
        ("a role in other letters", json!({ "roles": ["gateway.admin"] }), 403),
        (
            "more groups than fit",
            json!({ "roles": [], "_claim_names": { "groups": "src1" },
            "_claim_sources": { "src1": { "endpoint": "https://evil.example/groups" } } }),
            403,
        ),
        ("more groups than fit, told otherwise", json!({ "roles": [], "hasgroups": true }), 403),
        (
            "by name and address",
            json!({ "oid": null, "preferred_username": "admin@ours", "upn": "admin@ours" }),
            401,
        ),
    ];
    judge_all(Preset::Entra, table).await;

    let house = House::with(&issuer_of(Preset::Entra));
    let overage = with(Preset::Entra, &json!({ "_claim_names": { "groups": "src1" } }));
    assert_eq!(house.claiming(overage).await.unwrap().role, Role::Admin, "an app role needs no groups");
    let defaulting = House::with(&Issuer { role: Some(Role::Viewer), ..issuer_of(Preset::Entra) });
    let overage = with(Preset::Entra, &json!({ "roles": [], "hasgroups": true }));
    assert_eq!(status(defaulting.claiming(overage).await), 403, "groups that do not fit are not guessed");
    // Scopes of its own interfaces are none of the gateway's.
    let scoped = with(Preset::Entra, &json!({ "scp": "admin", "scope": "admin mcp:call" }));
    assert_eq!(house.claiming(scoped).await.unwrap().scopes(), None);
}

/// of the keys that Entra publishes together, one of another issuer signs nothing for a directory.
#[tokio::test]
async fn a_key_of_another_issuer_of_entra_signs_nothing_here() {
    for (issuer, expected) in [
        (json!("https://login.microsoftonline.com/{tenantid}/v2.0"), 200),
        (json!(format!("https://login.microsoftonline.com/{OURS}/v2.0")), 200),
        (json!(format!("https://sts.windows.net/{OURS}/")), 200),
        (json!(null), 200),
        (json!(format!("https://login.microsoftonline.com/{PERSONAL}/v2.0")), 401),
        (json!(format!("https://login.microsoftonline.com/{THEIRS}/v2.0")), 401),
        (json!(format!("https://sts.windows.net/{THEIRS}/")), 401),
    ] {
        for version in ["https://login.microsoftonline.com/OURS/v2.0", "https://sts.windows.net/OURS/"] {
            let house = House::with(&issuer_of(Preset::Entra));
            let mut keys = house.signer.keys();
            keys["keys"][0]["issuer"] = issuer.clone();
            house.site.put(KEYS, &keys);
            let claims = with(Preset::Entra, &json!({ "iss": version.replace("OURS", OURS) }));
            assert_eq!(status(house.claiming(claims).await), expected, "{issuer} {version}");
        }
    }
}

/// hostile tokens of Google.
#[tokio::test]
async fn google_is_believed_of_its_workspaces_alone() {
    let table = vec![
        ("the other name of the issuer", json!({ "iss": "accounts.google.com" }), 200),
        ("almost the issuer", json!({ "iss": "https://accounts.google.com/" }), 401),
        ("an issuer below", json!({ "iss": "https://accounts.google.com.evil.example" }), 401),
        ("a service account's issuer", json!({ "iss": "https://securetoken.google.com/corp" }), 401),
        ("no domain", json!({ "hd": null }), 401),
        ("an empty domain", json!({ "hd": "" }), 401),
        ("a domain below", json!({ "hd": "evil.corp.example" }), 401),
        ("a domain above", json!({ "hd": "example" }), 401),
        ("domains", json!({ "hd": ["corp.example"] }), 401),
        ("the domain of the address alone", json!({ "hd": null, "email": "a@corp.example" }), 401),
        ("the domain with a dot", json!({ "hd": "corp.example." }), 401),
        ("an address that is not verified", json!({ "email_verified": false }), 403),
        ("verified by word", json!({ "email_verified": "true" }), 403),
        ("verified by number", json!({ "email_verified": 1 }), 403),
        ("nothing of the address", json!({ "email_verified": null }), 403),
        ("no subject", json!({ "sub": null }), 401),
        ("an empty subject", json!({ "sub": "" }), 401),
        ("a subject that is a number", json!({ "sub": 108 }), 401),
        ("for several clients", json!({ "aud": [URL, "other-app"], "azp": "other-app" }), 401),
        ("for one client, in a list", json!({ "aud": [URL] }), 401),
    ];
    judge_all(Preset::Google, table).await;
}

/// hostile tokens of GitHub's Actions.
#[tokio::test]
async fn github_is_believed_by_numbers_alone() {
    let table = vec![
        ("an enterprise's issuer", json!({ "iss": "https://token.actions.githubusercontent.com/evil" }), 401),
        ("no owner", json!({ "repository_owner_id": null }), 401),
        ("the owner by name", json!({ "repository_owner_id": null, "repository_owner": "9919" }), 401),
        ("an owner that is a number", json!({ "repository_owner_id": 9919 }), 401),
        ("an owner with a zero before", json!({ "repository_owner_id": "09919" }), 401),
        ("an owner with a sign", json!({ "repository_owner_id": "+9919" }), 401),
        ("owners", json!({ "repository_owner_id": ["9919"] }), 401),
        ("other digits", json!({ "repository_owner_id": "９９１９" }), 401),
        ("an empty owner", json!({ "repository_owner_id": "" }), 401),
        ("no repository", json!({ "repository_id": null }), 401),
        ("a repository with a name in it", json!({ "repository_id": "42:583231" }), 401),
        ("no actor", json!({ "actor_id": null }), 401),
        ("another actor", json!({ "actor_id": "7" }), 403),
        ("the actor by name", json!({ "actor_id": "7", "actor": "583231" }), 403),
        ("a customized subject", json!({ "sub": "admin" }), 200),
    ];
    judge_all(Preset::Github, table).await;
}

/// a token for several services is for one of them at most, and never for everything.
#[tokio::test]
async fn a_token_for_services_is_never_for_everything() {
    let house = House::with(&oidc());
    for aud in [
        json!(format!("{URL}/mcp/up")),
        json!([format!("{URL}/mcp/up")]),
        json!([format!("{URL}/mcp/up"), format!("{URL}/mcp/pay")]),
        json!(["x", format!("{URL}/mcp/up")]),
        json!([7, format!("{URL}/mcp/up")]),
    ] {
        let principal = house.claiming(json!({ "aud": aud })).await.unwrap();
        assert_eq!(principal.reach().1.map(ServiceName::as_str), Some("up"), "{aud}");
    }
    for path in
        ["/mcp/up/", "/mcp/up/x", "/mcp//up", "/mcp/UP", "/mcp/%75p", "/mcp/up?x", "/mcp/up#", "/api/v1"]
    {
        assert_eq!(status(house.claiming(json!({ "aud": format!("{URL}{path}") })).await), 401, "{path}");
    }
}

#[test]
fn a_directory_that_is_no_name_is_refused_with_its_configuration() {
    for preset in [Preset::Google, Preset::Github, Preset::Entra] {
        for odd in ["", " "] {
            let mut issuer = issuer_of(preset);
            issuer.directories.push(odd.into());
            assert!(issuer.check(true).is_err(), "{preset:?} {odd:?}");
        }
    }
}

/// A flood of unknown key ids has the issuer asked once in 30 s, however it publishes its keys; a new key is found by then.
#[tokio::test]
async fn an_issuer_is_asked_once_in_thirty_seconds_whoever_asks() {
    let metadata = "https://issuer.example/.well-known/openid-configuration";
    let two = Issuer { directories: vec![OURS.into(), THEIRS.into()], ..issuer_of(Preset::Entra) };
    for issuer in [oidc(), Issuer { jwks_url: None, ..oidc() }, two] {
        let house = House::with(&issuer);
        house.site.put(metadata, &json!({ "issuer": ISSUER, "jwks_uri": KEYS }));
        let of = |n: u64| match issuer.preset {
            Preset::Entra if n % 2 == 1 => with(
                Preset::Entra,
                &json!({ "tid": THEIRS,
                "iss": format!("https://login.microsoftonline.com/{THEIRS}/v2.0") }),
            ),
            Preset::Entra => good(Preset::Entra),
            _ => json!({}),
        };
        assert_eq!(status(house.claiming(of(0)).await), 200);
        let first = house.site.asked.load(Ordering::SeqCst);
        for second in 0..120 {
            let unknown = json!({ "alg": "ES256", "kid": format!("k{second}") });
            let token = house.signer.sign(&unknown, &house.claims(of(second)));
            assert_eq!(status(house.judge(&token).await), 401);
            house.clock.advance(Duration::from_secs(1));
        }
        let asked = house.site.asked.load(Ordering::SeqCst) - first;
        assert!((3..=4).contains(&asked), "{:?}: {asked} in 120 s", issuer.preset);
        let next = Signer::new();
        let mut keys = next.keys();
        keys["keys"][0]["kid"] = json!("new");
        house.site.put(KEYS, &keys);
        house.clock.advance(Duration::from_secs(30));
        let token = next.sign(&json!({ "alg": "ES256", "kid": "new" }), &house.claims(of(0)));
        assert_eq!(status(house.judge(&token).await), 200, "{:?}", issuer.preset);
    }
}
