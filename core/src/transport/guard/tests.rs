use std::io;
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;

fn guarded(outbound: &str) -> Guard {
    Guard::new(Stance::Guarded, toml::from_str(outbound).unwrap(), Stdio::default())
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn server(name: &str, url: &str) -> Server {
    let server = serde_json::json!({
        "id": uuid::Uuid::nil(), "tenant_id": "acme", "name": name, "service": name, "endpoint_url": url,
        "transport_type": "http", "tags": [], "weight": 1, "auto_discover": true, "health_check": {},
        "configuration": {}, "status": "active", "health_status": "unknown", "revision": 1,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    });
    serde_json::from_value(server).unwrap()
}

/// The rule that refuses `url` to a tenant, if one does.
fn rule(guard: &Guard, url: &str) -> Option<String> {
    let Ok(url) = Url::parse(url) else { return Some("no URL".into()) };
    let error = guard.for_tenant(&tenant("acme")).check_url(&url).err()?;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    Some(error.context()[0].1.clone())
}

/// B-20: all spellings of an address inside are refused, as are other schemes, user names and ports of other services.
#[test]
fn every_spelling_of_an_inner_address_is_refused() {
    let guard = guarded("");
    let refused = [
        (
            "loopback",
            &[
                "http://127.0.0.1/",
                "http://127.1/",
                "http://0x7f000001/",
                "http://017700000001/",
                "http://2130706433/",
                "http://0/",
                "http://[::]/",
                "http://[::1]:8080/",
                "http://[::ffff:127.0.0.1]/",
                "http://localhost/",
                "http://localhost./",
                "http://LOCALHOST:9/",
                "http://a.localhost/",
                "http://①②⑦.⓪.⓪.①/",
                "http://ⓛocalhost/",
                "http://127。0。0。1/",
                "http://%31%32%37.0.0.1/",
                "ws://127.0.0.1/",
            ][..],
        ),
        (
            "private",
            &[
                "http://10.0.0.1/",
                "http://[::ffff:10.0.0.1]/",
                "http://[64:ff9b::10.0.0.1]/",
                "http://[fd00::1]/",
                "https://192.168.0.1/",
                "http://0xc0a80001/",
            ],
        ),
        ("link-local", &["http://[fe80::1]/", "http://169.254.1.1/"]),
        (
            "cloud metadata",
            &[
                "http://169.254.169.254/latest/",
                "http://[::ffff:169.254.169.254]/",
                "http://0xa9fea9fe/",
                "http://metadata.google.internal/",
                "http://METADATA.google.internal./x",
                "http://[fd00:ec2::254]/",
            ],
        ),
        (
            "scheme",
            &[
                "gopher://example.com/",
                "file:///etc/passwd",
                "ftp://example.com/",
                "javascript:alert(1)",
                "data:,x",
            ],
        ),
        (
            "credentials",
            &["http://user@example.com/", "http://example.com:80@127.0.0.1/", "http://:p@example.com/"],
        ),
        ("port", &["http://example.com:22/", "http://example.com:25/", "https://example.com:6379/"]),
    ];
    for (expected, urls) in refused {
        for url in urls {
            let found = rule(&guard, url);
            // `localhost:9` is refused for its port first; what matters is that it is.
            let other = url.ends_with(":9/") && found.as_deref() == Some("port");
            assert!(found.as_deref() == Some(expected) || other, "{url}: {found:?}");
        }
    }
    for url in [
        "https://example.com/mcp",
        "http://1.1.1.1:8080/",
        "wss://bücher.example/",
        "https://[2606:4700::1]/",
    ] {
        assert_eq!(rule(&guard, url), None, "{url}");
    }
}

/// B-20: a listed address is let through, for everybody or for one tenant, and the error says which line would do it.
#[test]
fn listed_networks_and_names_are_let_through() {
    let guard = guarded(
        "allow = ['10.1.0.0/16', 'localhost', '*.lan.example']\nports = [22]\ntenants = { acme = ['192.168.0.0/16'] }",
    );
    for url in
        ["http://10.1.2.3:22/", "http://[::ffff:10.1.2.3]/", "http://localhost:8000/", "http://192.168.7.7/"]
    {
        assert_eq!(rule(&guard, url), None, "{url}");
    }
    let other = guard.for_tenant(&tenant("other")).check_url(&Url::parse("http://192.168.7.7/").unwrap());
    assert!(other.unwrap_err().message().contains("`[outbound] allow = [\"192.168.7.7\"]`"));
    assert_eq!(rule(&guard, "http://10.2.0.1/").as_deref(), Some("private"));
    let all = guarded("allow = ['0.0.0.0/0', '::/0', 'metadata.google.internal']");
    assert_eq!(rule(&all, "http://127.0.0.1/"), None);
    assert_eq!(
        rule(&all, "http://169.254.169.254/").as_deref(),
        Some("cloud metadata"),
        "nothing allows that"
    );
    assert_eq!(rule(&all, "http://metadata.google.internal/").as_deref(), Some("cloud metadata"));
}

/// B-20: without users, on one machine, everything but cloud metadata is let through.
#[test]
fn a_gateway_of_one_machine_connects_to_all_but_metadata() {
    let guard = Guard::default();
    for url in ["http://127.0.0.1:22/", "http://10.0.0.1/", "http://localhost/", "http://[::1]/"] {
        assert_eq!(rule(&guard, url), None, "{url}");
    }
    assert_eq!(rule(&guard, "http://169.254.169.254/").as_deref(), Some("cloud metadata"));
}

/// B-20: a server that the operator's configuration names is the operator's choice until somebody else points it elsewhere.
#[test]
fn a_server_that_the_operator_names_is_the_operators_while_it_stays_where_it_was() {
    let guard = guarded("");
    let server = |url: &str| server("files", url);
    let url = |server: &Server| Url::parse(server.endpoint.url().unwrap()).unwrap();
    let (named, moved) = (server("http://127.0.0.1:1/"), server("http://127.0.0.1:2/"));
    guard.trust([(named.tenant_id.clone(), named.name.clone(), named.endpoint.clone())]);
    assert!(guard.for_server(&named).check_url(&url(&named)).is_ok());
    assert!(guard.for_server(&moved).check_url(&url(&moved)).is_err());
    guard.trust([]);
    assert!(guard.for_server(&named).check_url(&url(&named)).is_err());
}

/// Answers each question with the next of its answers, the last one for ever.
#[derive(Debug)]
struct Scripted(Mutex<Vec<Vec<&'static str>>>);

#[async_trait]
impl Resolve for Scripted {
    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Ok(answer.iter().map(|address| SocketAddr::new(address.parse().unwrap(), port)).collect())
    }
}

/// B-21: every address that a name has is judged each time anew, and one bad address spoils all.
#[tokio::test]
async fn a_name_is_judged_by_all_its_addresses_each_time() {
    let answers = vec![
        vec!["1.1.1.1"],
        vec!["127.0.0.1"],
        vec!["1.1.1.1", "::1"],
        vec!["2606:4700::1", "10.0.0.1"],
        vec!["169.254.169.254"],
        vec![],
    ];
    let guard = Guard::resolving(
        Stance::Guarded,
        Outbound::default(),
        Stdio::default(),
        Arc::new(Scripted(Mutex::new(answers))),
    );
    let watch = guard.for_tenant(&tenant("acme"));
    let addresses = watch.resolve("a.example", 80).await.unwrap();
    assert_eq!(addresses, ["1.1.1.1:80".parse().unwrap()]);
    for _ in 0..5 {
        let error = watch.resolve("a.example", 80).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::BadUpstream, crate::error::Delivery::NotSent)
        );
        assert!(!error.to_string().contains("10.0.0.1"), "{error}");
    }
}

/// B-21: whatever form a name server gives an inner address, and whatever it puts beside it, the name leads nowhere; also where every
/// other address may be connected to, none that hands out a machine's credentials.
#[tokio::test]
async fn a_name_server_that_lies_leads_nowhere() {
    let inner = [
        "127.0.0.1",
        "0.0.0.0",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::808:808",
        "2002:7f00:1::1",
        "2001:0:808:808::f7f7:f7f7",
        "fe80::5efe:8.8.8.8",
        "fd00::5efe:8.8.8.8",
        "2606:4700::5efe:10.0.0.1",
        "fec0::1",
        "ff02::1",
        "224.0.0.1",
        "255.255.255.255",
    ];
    let metadata = [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::1",
        "2001:0:808:808:0:0:5601:5601",
        "fe80::5efe:169.254.169.254",
        "fd00::200:5efe:169.254.169.254",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
    ];
    for (stance, bad) in
        [(Stance::Guarded, &inner[..]), (Stance::Guarded, &metadata), (Stance::Open, &metadata)]
    {
        for address in bad {
            for answer in [vec![*address], vec!["1.1.1.1", address], vec![address, "2606:4700::1"]] {
                let resolver = Arc::new(Scripted(Mutex::new(vec![answer.clone()])));
                let guard = Guard::resolving(stance, Outbound::default(), Stdio::default(), resolver);
                for name in ["a.example", "a.example.", "127.0.0.1.nip.example", "2130706433"] {
                    let outcome = guard.for_tenant(&tenant("acme")).resolve(name, 80).await;
                    assert!(outcome.is_err(), "{stance:?} {name} {answer:?}: {outcome:?}");
                }
            }
        }
    }
    // Names that are decided without asking anybody, whatever the answer would be.
    let honest = || Arc::new(Scripted(Mutex::new(vec![vec!["1.1.1.1"]])));
    for (stance, name) in [
        (Stance::Guarded, "localhost"),
        (Stance::Guarded, "x.localhost."),
        (Stance::Open, "metadata.google.internal"),
        (Stance::Open, "INSTANCE-DATA."),
    ] {
        let guard = Guard::resolving(stance, Outbound::default(), Stdio::default(), honest());
        assert!(guard.for_tenant(&tenant("acme")).resolve(name, 80).await.is_err(), "{name}");
    }
}

/// Answers with other ports, and with more addresses than anybody has.
#[derive(Debug)]
struct Talkative;

#[async_trait]
impl Resolve for Talkative {
    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((0..5000_u32)
            .map(|n| SocketAddr::new(std::net::Ipv4Addr::from(0x0808_0000 + n).into(), 22))
            .collect())
    }
}

/// B-21: of an answer the addresses count, up to a number that can be tried; the port is the one that was judged.
#[tokio::test]
async fn a_name_server_chooses_no_port_and_no_number_of_attempts() {
    let guard = Guard::resolving(Stance::Guarded, Outbound::default(), Stdio::default(), Arc::new(Talkative));
    let found = guard.for_tenant(&tenant("acme")).resolve("a.example", 443).await.unwrap();
    assert!(found.len() <= 16 && found.iter().all(|found| found.port() == 443), "{found:?}");
}

/// B-20: an entry of an allow-list has an address in its other forms, but not every way that ends there.
#[test]
fn a_listed_network_is_no_tunnel() {
    let guard = guarded("allow = ['10.1.0.0/16', '8.8.8.8']");
    for url in ["http://[::ffff:10.1.2.3]/", "http://[64:ff9b::a01:203]/", "http://[::10.1.2.3]/"] {
        assert_eq!(rule(&guard, url), None, "{url}");
    }
    for (url, expected) in [
        ("http://[fe80::5efe:10.1.2.3]/", "link-local"),
        ("http://[fd00::5efe:10.1.2.3]/", "private"),
        ("http://[2002:a01:203::1]/", "private"),
        ("http://[fd00::5efe:8.8.8.8]/", "private"),
    ] {
        assert_eq!(rule(&guard, url).as_deref(), Some(expected), "{url}");
    }
}

/// B-21: a name that is listed may lead inside, but not to a machine's credentials.
#[tokio::test]
async fn a_listed_name_may_lead_inside() {
    let answers = vec![vec!["10.9.9.9"], vec!["169.254.169.254"]];
    let outbound = toml::from_str("allow = ['*.svc.cluster.local']").unwrap();
    let guard = Guard::resolving(
        Stance::Guarded,
        outbound,
        Stdio::default(),
        Arc::new(Scripted(Mutex::new(answers))),
    );
    let watch = guard.for_tenant(&tenant("acme"));
    assert!(watch.resolve("tools.ns.svc.cluster.local.", 80).await.is_ok());
    assert!(watch.resolve("tools.ns.svc.cluster.local", 80).await.is_err());
}

#[cfg(feature = "http")]
mod connections {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::SystemClock;
    use crate::rpc::Method;
    use crate::tasks::Tasks;
    use crate::transport::http::HttpConnector;
    use crate::transport::{Connector, Outgoing, TransportContext};

    fn connector(url: &str, guard: &Guard) -> HttpConnector {
        let means = TransportContext {
            guard: guard.clone(),
            ..TransportContext::new(SystemClock::shared(), Tasks::default())
        };
        HttpConnector::with(&server("files", url), &means).unwrap()
    }

    /// Whether nobody has connected to `listener`, or is about to.
    async fn untouched(listener: &TcpListener) -> bool {
        tokio::time::timeout(Duration::from_millis(20), listener.accept()).await.is_err()
    }

    /// B-21: the address of a name is judged at each new connection, and the judged address is the one connected to: a listener
    /// to which the name is turned afterwards hears nothing.
    #[tokio::test]
    async fn a_name_that_is_turned_inside_later_leads_nowhere() {
        let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = canary.local_addr().unwrap().port();
        let listed = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let answers = vec![vec!["127.0.0.2"], vec!["127.0.0.2"], vec!["127.0.0.1"]];
        let outbound = toml::from_str("allow = ['127.0.0.2']").unwrap();
        let resolver = Arc::new(Scripted(Mutex::new(answers)));
        let guard = Guard::resolving(Stance::Guarded, outbound, Stdio::default(), resolver);
        let connector = connector(&format!("http://tools.example:{port}/"), &guard);
        for _ in 0..2 {
            connector.check().await.unwrap();
            assert!(listed.accept().await.is_ok());
        }
        let error = connector.check().await.unwrap_err();
        assert_eq!((error.kind(), error.context()[0].1.as_str()), (ErrorKind::BadUpstream, "loopback"));
        assert!(untouched(&canary).await && untouched(&listed).await);
    }

    /// B-22: a redirect is an error that says where to; it is not followed, whatever its status, and nothing reaches the place
    /// that it names.
    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let away = format!("http://{}/stolen", canary.local_addr().unwrap());
        for status in ["301 a", "302 b", "303 c", "307 d", "308 e"] {
            for place in [away.as_str(), "//evil.example/", "gopher://x/", "/loop"] {
                // Within the origin these two are followed, a few times at most: it was judged.
                if place == "/loop" && matches!(status, "307 d" | "308 e") {
                    continue;
                }
                let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let url = format!("http://{}/mcp", upstream.local_addr().unwrap());
                let answering = async {
                    let (mut socket, _) = upstream.accept().await.unwrap();
                    let mut request = vec![0; 4096];
                    let size = socket.read(&mut request).await.unwrap();
                    let answer =
                        format!("HTTP/1.1 {status}\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n");
                    socket.write_all(answer.as_bytes()).await.unwrap();
                    assert!(request[..size].starts_with(b"POST "));
                    // A second request would come on this connection or on another.
                    let again =
                        tokio::time::timeout(Duration::from_millis(20), socket.read(&mut request)).await;
                    assert!(matches!(again, Err(_) | Ok(Ok(0))) && untouched(&upstream).await);
                };
                let asking = async {
                    let link = connector(&url, &Guard::default()).connect(true).await.unwrap();
                    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#.into();
                    let outgoing = Outgoing {
                        id: 1,
                        method: Method::Ping,
                        body,
                        correlation_id: None,
                        headers: None,
                        pauses: None,
                        queued: None,
                        call: None,
                    };
                    link.request(outgoing).await.err().unwrap()
                };
                let (error, ()) = tokio::join!(asking, answering);
                assert_eq!(error.kind(), ErrorKind::BadUpstream, "{status} {place}");
                assert!(error.message().contains("redirect"), "{status} {place}: {error}");
            }
        }
        assert!(untouched(&canary).await);
    }
}
