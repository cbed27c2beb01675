//! Headers at the edge: who is let in by `Host` and `Origin`, against another reading of both, and what comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{HOST, ORIGIN};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use mcp_registry_gateway::clock::SystemClock;
use mcp_registry_gateway::config;
use mcp_registry_gateway::gateway::{Gateway, Settings};
use mcp_registry_gateway::server::{self, Peer, Service};
use mcp_registry_gateway::store::memory::MemoryStore;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use url::{Host, Url};

/// One gateway for all inputs: none of them changes it.
fn place() -> &'static (Runtime, Service) {
    static PLACE: OnceLock<(Runtime, Service)> = OnceLock::new();
    PLACE.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let service = runtime.block_on(async {
            let clock = SystemClock::shared();
            let settings = Settings { probing: false, ..Settings::default() };
            let gateway = Gateway::open(settings, Arc::new(MemoryStore::new()), clock.clone()).await;
            server::service(gateway.expect("a gateway"), config::Server::default(), clock)
        });
        (runtime, service)
    })
}

/// The input is lines of `name: value`.
pub(crate) fn header(input: &[u8]) {
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.uri_mut() = "/ready".parse().expect("a path");
    request.extensions_mut().insert(Peer(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))));
    for line in input.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let value = line[colon + 1..].trim_ascii();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(value))
        {
            request.headers_mut().append(name, value);
        }
    }
    let headers = request.headers().clone();
    let (runtime, service) = place();
    let Ok(response) = runtime.block_on(service.clone().oneshot(request));
    let status = response.status();
    let known = [StatusCode::OK, StatusCode::FORBIDDEN, StatusCode::PAYLOAD_TOO_LARGE];
    assert!(known.contains(&status), "{status}");
    let id = response.headers()["x-correlation-id"].to_str().expect("text");
    assert!(
        (1..=128).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c))
    );
    if status != StatusCode::OK {
        return;
    }
    let hosts: Vec<_> = headers.get_all(HOST).iter().collect();
    let [host] = hosts[..] else { panic!("let in with {} hosts", hosts.len()) };
    let asked = Url::parse(&format!("http://{}/", host.to_str().expect("text"))).expect("a host");
    let is_here = match asked.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    assert!(is_here && asked.username().is_empty(), "let in for {host:?}");
    for origin in headers.get_all(ORIGIN) {
        let origin = Url::parse(origin.to_str().expect("text")).expect("an origin");
        assert_eq!(origin.host_str(), asked.host_str(), "let in from {origin}");
    }
}
