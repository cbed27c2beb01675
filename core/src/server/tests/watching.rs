//! Streams of events.

use http_body_util::BodyExt;

use super::*;
use crate::gateway::Caller;
use crate::model::{Principal, TenantId};

/// A stream of events that is open.
struct Stream(Body);

impl Stream {
    async fn open(api: &Api, tenant: Option<&str>, headers: &[(&str, &str)]) -> Self {
        let mut request = Request::builder().uri("/api/v1/events").header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.extension(peer(Ipv4Addr::LOCALHOST)).body(Body::empty()).unwrap();
        let response = match tenant {
            None => api.0.clone().oneshot(request).await.unwrap(),
            // Behind the authentication.
            Some(tenant) => {
                let tenant = TenantId::new(tenant).unwrap();
                let principal = Principal::local(tenant);
                request.extensions_mut().insert(Caller::new(principal));
                api.0.place.router.clone().oneshot(request).await.unwrap()
            }
        };
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(response.into_body())
    }

    /// The next lines, without keep-alives and the time to wait before coming back.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let text = self.text().await?;
            let Some(rest) = text.strip_prefix("event: ") else { continue };
            let (kind, rest) = rest.split_once('\n').unwrap();
            let data = rest.split_once("data: ").unwrap().1.trim();
            return Some((kind.to_owned(), serde_json::from_str(data).unwrap()));
        }
    }

    async fn text(&mut self) -> Option<String> {
        let frame = self.0.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }
}

#[tokio::test]
async fn a_watcher_hears_what_becomes_of_servers_in_order() {
    let api = Api::open().await;
    let mut stream = Stream::open(&api, None, &[("accept", "text/html, text/event-stream;q=0.9")]).await;
    let mut server = quiet("a");
    server["health_check"] = json!({ "enabled": false, "kind": "connect" });
    let made = api.send("POST", "/api/v1/servers", &server).await;
    let path = made.headers["location"].to_str().unwrap().to_owned();
    api.send("PUT", &path, &json!({ "weight": 7 })).await;
    api.send("POST", &format!("{path}/health-check"), &json!({})).await;
    api.send("DELETE", &path, &json!({})).await;
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(stream.next().await.unwrap());
    }
    let kinds: Vec<_> =
        heard.iter().map(|(kind, data)| (kind.as_str(), data["type"].as_str().unwrap())).collect();
    let expected = ["server.registered", "server.updated", "server.health", "server.removed"];
    assert_eq!(kinds, expected.map(|kind| (kind, kind)));
    assert!(heard.iter().all(|(_, data)| data["server_id"] == made.json["id"]), "{heard:?}");
    assert_eq!((&heard[2].1["from"], &heard[2].1["to"]), (&json!("unknown"), &json!("degraded")));
}

#[tokio::test]
async fn a_watcher_hears_nothing_of_another_tenant() {
    let api = Api::open().await;
    let mut other = Stream::open(&api, Some("other"), &[]).await;
    let mut own = Stream::open(&api, None, &[]).await;
    api.send("POST", "/api/v1/servers", &quiet("canary")).await;
    assert_eq!(own.next().await.unwrap().1["name"], "canary");
    assert_eq!(other.text().await.unwrap(), "retry: 2000\n\n");
    assert!(futures_util::poll!(Box::pin(other.next())).is_pending());
}

#[tokio::test]
async fn who_comes_back_or_falls_behind_is_told_to_read_the_list_anew() {
    let api = Api::open().await;
    let mut back = Stream::open(&api, None, &[("last-event-id", "7")]).await;
    assert_eq!(back.next().await.unwrap().0, "lagged");
    let mut slow = Stream::open(&api, None, &[]).await;
    let path = api.send("POST", "/api/v1/servers", &quiet("a")).await.headers["location"]
        .to_str()
        .unwrap()
        .to_owned();
    for weight in 0..=crate::registry::EVENTS_KEPT {
        let changed = api.send("PUT", &path, &json!({ "weight": weight + 2 })).await;
        assert_eq!(changed.status, StatusCode::OK);
    }
    let (kind, data) = slow.next().await.unwrap();
    assert_eq!((kind.as_str(), &data["type"]), ("lagged", &json!("lagged")));
    assert_eq!(slow.next().await.unwrap().0, "server.updated");
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_has_comments_and_all_end_when_the_gateway_does() {
    let api = Api::open().await;
    let mut stream = Stream::open(&api, None, &[]).await;
    assert_eq!(stream.text().await.unwrap(), "retry: 2000\n\n");
    assert_eq!(stream.text().await.unwrap(), ": keep-alive\n\n");
    api.0.place.shared.gateway.shutdown(std::time::Duration::ZERO).await;
    assert!(stream.text().await.is_none());
    assert_eq!(api.get("/api/v1/events").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

/// the handshake of a WebSocket is checked whole.
#[tokio::test]
async fn what_is_no_whole_handshake_gets_no_websocket() {
    let api = Api::open().await;
    let whole = [
        ("host", "localhost"),
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let with = |name: &'static str, value: Option<&'static str>| {
        let others = whole.into_iter().filter(move |(other, _)| *other != name);
        others.chain(value.map(|value| (name, value))).collect::<Vec<_>>()
    };
    for (headers, status, said) in [
        // Nothing that can be upgraded stands behind a request that is made in process.
        (whole.to_vec(), 400, "cannot become a WebSocket"),
        (with("connection", None), 400, "`Connection: Upgrade`"),
        (with("connection", Some("keep-alive")), 400, "`Connection: Upgrade`"),
        (with("upgrade", Some("websocket/13")), 400, "`Upgrade: websocket`"),
        (with("sec-websocket-key", None), 400, "`Sec-WebSocket-Key`"),
        (with("sec-websocket-key", Some("x")), 400, "`Sec-WebSocket-Key`"),
        (with("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ")), 400, "`Sec-WebSocket-Key`"),
        (with("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZSE=")), 400, "`Sec-WebSocket-Key`"),
        (
            [&whole[..], &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]].concat(),
            400,
            "`Sec-WebSocket-Key`",
        ),
        ([&whole[..], &[("content-length", "2")]].concat(), 400, "no body"),
        ([&whole[..], &[("transfer-encoding", "chunked")]].concat(), 400, "no body"),
        (with("sec-websocket-version", None), 426, "Version: 13"),
        ([&whole[..], &[("sec-websocket-version", "13")]].concat(), 426, "Version: 13"),
    ] {
        let answer = api.raw("GET", "/api/v1/events", &headers, "").await;
        assert_eq!(answer.status.as_u16(), status, "{headers:?}: {}", answer.json);
        assert!(answer.json.to_string().contains(said), "{headers:?}: {}", answer.json);
        assert_eq!(answer.headers.contains_key("sec-websocket-version"), status == 426);
    }
}

#[tokio::test]
async fn what_cannot_be_a_stream_is_refused_before_it_is_one() {
    let api = Api::open().await;
    let host = ("host", "localhost");
    let socket = [host, ("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-key", "x")];
    let foreign =
        [&socket[..], &[("sec-websocket-version", "13"), ("origin", "https://evil.example")]].concat();
    let old = [&socket[..], &[("sec-websocket-version", "8")]].concat();
    // Nothing that can be upgraded stands behind a request that is made in process.
    let here = [&socket[..], &[("sec-websocket-version", "13")]].concat();
    for (headers, status) in
        [(vec![host, ("accept", "application/json")], 406), (foreign, 403), (old, 426), (here, 400)]
    {
        let answer = api.raw("GET", "/api/v1/events", &headers, "").await;
        assert_eq!(answer.status.as_u16(), status, "{headers:?}: {}", answer.json);
    }
}
