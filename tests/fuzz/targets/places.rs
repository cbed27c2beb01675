//! URLs: where a server is, and where an old one wants to be posted to.

use http::Uri;
use mcp_registry_gateway::ErrorKind;
use mcp_registry_gateway::clock::SystemClock;
use mcp_registry_gateway::model::{Registration, TenantId};
use mcp_registry_gateway::registry::validate;
use mcp_registry_gateway::tasks::Tasks;
use mcp_registry_gateway::transport::http::HttpConnector;
use mcp_registry_gateway::transport::sse;
use url::Url;

const BASE: &str = "http://tools.example:8080/a/sse?x=1";

pub(crate) fn url(input: &[u8]) {
    let base = Url::parse(BASE).expect("a URL");
    match sse::resolve(&base, input) {
        Ok(target) => holds_at_its_origin(&target),
        Err(error) => assert_eq!(error.kind(), ErrorKind::BadUpstream),
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let registration = Registration {
        name: "fuzzed".into(),
        endpoint_url: Some(text.to_owned()),
        ..Registration::default()
    };
    let now = SystemClock::shared().timestamp();
    let Ok(valid) = validate::registration(&TenantId::default_tenant(), registration, now) else { return };
    let kept = valid.server.endpoint.url().expect("a URL").to_owned();
    let parsed = Url::parse(&kept).expect("what was registered is a URL");
    assert!(["http", "https", "ws", "wss"].contains(&parsed.scheme()), "{kept}");
    match HttpConnector::new(&valid.server, SystemClock::shared(), Tasks::default()) {
        Ok(connector) => {
            assert!(parsed.username().is_empty() && parsed.password().is_none(), "credentials in {kept}");
            assert!(!format!("{connector:?}").is_empty());
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidParams, "{kept}: {error}"),
    }
}

/// A request for `target` on the stream's connection reaches the very place that the target names.
fn holds_at_its_origin(target: &Uri) {
    assert!(target.authority().is_none() && target.path().starts_with('/'), "{target}");
    let text = target.to_string();
    assert!(text.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{text:?} would break the request line");
    let seen = Url::parse(&format!("http://tools.example:8080{text}")).expect("a URL");
    assert_eq!((seen.host_str(), seen.port()), (Some("tools.example"), Some(8080)));
    assert_eq!(seen.path(), target.path());
}
