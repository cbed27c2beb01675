//! Creations that meet, are repeated, or change what somebody else has changed.

use super::*;

impl Api {
    async fn create(&self, body: &Value, key: &str) -> Answer {
        let headers = [("host", "localhost"), ("content-type", "application/json"), ("idempotency-key", key)];
        self.raw("POST", "/api/v1/servers", &headers, &body.to_string()).await
    }

    async fn with(&self, method: &str, path: &str, header: (&str, &str), body: &Value) -> Answer {
        let headers = [("host", "localhost"), ("content-type", "application/json"), header];
        self.raw(method, path, &headers, &body.to_string()).await
    }

    async fn total(&self) -> u64 {
        self.get("/api/v1/servers").await.json["total"].as_u64().unwrap()
    }
}

fn tag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

/// D-06: two creators of one name at the same time: exactly one 201, and 409 for everybody else.
#[tokio::test]
async fn of_many_creators_of_one_name_exactly_one_succeeds() {
    let api = Api::open().await;
    let server = quiet("a");
    let answers = futures_util::future::join_all(
        (0..8).map(|_| async { api.send("POST", "/api/v1/servers", &server).await }),
    )
    .await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    let refused = answers.iter().find(|answer| answer.status == StatusCode::CONFLICT).unwrap();
    assert_eq!(refused.json["error"]["code"], "DUPLICATE_RESOURCE");
    assert_eq!(api.total().await, 1);
}

/// D-05: no lost update: of two changes and two removals of one revision, one of each takes effect and the other gets 412.
#[tokio::test]
async fn a_change_on_what_was_overtaken_is_412_and_changes_nothing() {
    let api = Api::open().await;
    let path = api.send("POST", "/api/v1/servers", &quiet("a")).await.headers["location"]
        .to_str()
        .unwrap()
        .to_owned();
    let read = tag(&api.get(&path).await);
    let (light, heavy) = (json!({ "weight": 2 }), json!({ "weight": 3 }));
    let header = ("if-match", read.as_str());
    let (one, other) =
        tokio::join!(api.with("PUT", &path, header, &light), api.with("PUT", &path, header, &heavy));
    let statuses = [one.status.as_u16(), other.status.as_u16()];
    assert!(statuses == [200, 412] || statuses == [412, 200], "{statuses:?}");
    let winner = if one.status == StatusCode::OK { 2 } else { 3 };
    let now = api.get(&path).await;
    assert_eq!(now.json["weight"], winner);

    assert_eq!(api.with("DELETE", &path, header, &json!({})).await.status, StatusCode::PRECONDITION_FAILED);
    let read = tag(&now);
    let header = ("if-match", read.as_str());
    assert_eq!(api.with("DELETE", &path, header, &json!({})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.with("DELETE", &path, header, &json!({})).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_a_reader_has_already_is_not_sent_again_until_anything_differs() {
    let api = Api::open().await;
    let mut server = quiet("a");
    server["health_check"] = json!({ "enabled": false, "kind": "connect" });
    let made = api.send("POST", "/api/v1/servers", &server).await;
    let path = made.headers["location"].to_str().unwrap().to_owned();
    let first = api.get(&path).await;
    assert_eq!(tag(&made), tag(&first));
    for known in [tag(&first), format!("\"x\", W/{}", tag(&first)), "*".to_owned()] {
        let again = api.with("GET", &path, ("if-none-match", &known), &json!({})).await;
        assert_eq!((again.status, &again.json), (StatusCode::NOT_MODIFIED, &Value::Null), "{known}");
        assert_eq!(tag(&again), tag(&first));
    }
    // A probe changes what is shown, and nothing that an operator could overwrite.
    api.send("POST", &format!("{path}/health-check"), &json!({})).await;
    let known = tag(&first);
    let probed = api.with("GET", &path, ("if-none-match", &known), &json!({})).await;
    assert_eq!((probed.status, &probed.json["health_status"]), (StatusCode::OK, &json!("degraded")));
    let changed = api.with("PUT", &path, ("if-match", &known), &json!({ "weight": 5 })).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.json);
}

#[tokio::test]
async fn a_creation_under_a_key_is_answered_in_the_same_words_and_done_once() {
    let api = Api::open().await;
    let first = api.create(&quiet("a"), "\"k-1\"").await;
    assert_eq!((first.status, first.headers.get("idempotent-replayed")), (StatusCode::CREATED, None));
    let path = first.headers["location"].to_str().unwrap().to_owned();
    api.send("PUT", &path, &json!({ "description": "changed meanwhile" })).await;

    let again = api.create(&quiet("a"), "k-1").await;
    assert_eq!((again.status, &again.json), (StatusCode::CREATED, &first.json));
    assert_eq!((&again.headers["location"], tag(&again)), (&first.headers["location"], tag(&first)));
    assert_eq!(again.headers["idempotent-replayed"], "true");

    let other = api.create(&quiet("b"), "k-1").await;
    assert_eq!(
        (other.status, &other.json["error"]["code"]),
        (StatusCode::CONFLICT, &json!("DUPLICATE_RESOURCE"))
    );
    assert!(other.json["error"]["message"].as_str().unwrap().contains("Idempotency-Key"));
    let at_once =
        futures_util::future::join_all((0..4).map(|_| async { api.create(&quiet("b"), "k-2").await })).await;
    assert!(
        at_once.iter().all(|answer| answer.status == StatusCode::CREATED && answer.json == at_once[0].json)
    );
    assert_eq!(api.total().await, 2);

    for wrong in ["", "\"\"", "a b", "é", &"x".repeat(256)] {
        assert_eq!(api.create(&quiet("c"), wrong).await.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn an_api_key_that_is_asked_for_again_is_not_made_again_and_not_shown_again() {
    let api = Api::open().await;
    let headers = [("host", "localhost"), ("content-type", "application/json"), ("idempotency-key", "k-1")];
    let make = async |wish: Value| api.raw("POST", "/api/v1/api-keys", &headers, &wish.to_string()).await;
    let first = make(json!({ "name": "ci" })).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.json);
    let again = make(json!({ "name": "ci" })).await;
    assert_eq!(
        (again.status, &again.json["error"]["details"]["id"]),
        (StatusCode::CONFLICT, &first.json["id"])
    );
    let other = make(json!({ "name": "another" })).await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    assert_eq!(api.create(&quiet("a"), "k-1").await.status, StatusCode::CONFLICT, "one key for one creation");
    assert_eq!(api.get("/api/v1/api-keys").await.json["total"], 1);
}

#[tokio::test]
async fn a_creation_that_failed_can_be_asked_for_again_under_its_key() {
    let api = Api::open().await;
    let path = api.send("POST", "/api/v1/servers", &quiet("a")).await.headers["location"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(api.create(&quiet("a"), "k").await.status, StatusCode::CONFLICT);
    api.send("DELETE", &path, &json!({})).await;
    assert_eq!(api.create(&quiet("a"), "k").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn several_problems_of_one_member_are_all_told() {
    let api = Api::open().await;
    let wrong = json!({ "name": "a", "endpoint_url": "ftp://user@127.0.0.1/x#y" });
    let refused = api.send("POST", "/api/v1/servers", &wrong).await;
    let said = refused.json["error"]["details"]["endpoint_url"].as_str().unwrap();
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(["begins with", "no user", "#fragment"].iter().all(|part| said.contains(part)), "{said}");
}

/// S-07: over REST, a `server.json` whose package is not pinned is refused, and a plain command that is not is flagged.
#[tokio::test]
async fn a_server_json_is_registered_with_its_exact_version_or_not_at_all() {
    let api = Api::open().await;
    let file = |version: &str| {
        json!({ "env": { "KEY": "hush" }, "server_json": {
            "name": "io.github.ann/weather", "description": "d", "version": "1.0.2",
            "packages": [{ "registryType": "npm", "identifier": "weather", "version": version,
                "transport": { "type": "stdio" }, "environmentVariables": [{ "name": "KEY", "isRequired": true }] }],
        } })
    };
    let refused = api.send("POST", "/api/v1/servers", &file("latest")).await;
    assert_eq!(
        (refused.status, &refused.json["error"]["code"]),
        (StatusCode::BAD_REQUEST, &json!("VALIDATION_ERROR"))
    );
    assert!(
        refused.json["error"]["details"]["version"].as_str().unwrap().contains("latest"),
        "{}",
        refused.json
    );
    let mut nothing = file("1.0.2");
    nothing["env"] = json!({});
    let missing = api.send("POST", "/api/v1/servers", &nothing).await;
    assert!(
        missing.json["error"]["details"]["env"].as_str().unwrap().contains("`KEY` is required"),
        "{}",
        missing.json
    );

    let made = api.create(&file("1.0.2"), "k").await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    assert_eq!(
        (&made.json["args"], &made.json["env"]),
        (&json!(["-y", "weather@1.0.2"]), &json!({ "KEY": "***" }))
    );
    assert_eq!(made.json["warnings"], Value::Null);
    assert_eq!(api.create(&file("1.0.2"), "k").await.json, made.json);

    let plain = json!({ "name": "loose", "command": "npx", "args": ["-y", "weather"], "auto_discover": false, "health_check": { "enabled": false } });
    let flagged = api.send("POST", "/api/v1/servers", &plain).await;
    assert!(flagged.json["warnings"][0].as_str().unwrap().contains("exact version"), "{}", flagged.json);
    let unknown = api.send("POST", "/api/v1/servers", &json!({ "server_json": {}, "nmae": "x" })).await;
    assert_eq!(
        (unknown.status, unknown.json["error"]["message"].as_str().unwrap().contains("nmae")),
        (StatusCode::BAD_REQUEST, true)
    );
}
