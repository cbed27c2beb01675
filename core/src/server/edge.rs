//! The checks in front of every route: whether a request may reach the gateway at all.
//!
//! A browser on the same machine reaches a loopback port on behalf of any page. `Host` stops a name that was made to
//! point here after the page was loaded (DNS rebinding), `Origin` stops everything else that a foreign page sends.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::{Request, Uri};
use ipnet::IpNet;
use uuid::Uuid;

use crate::config;
use crate::error::{Error, ErrorKind, Result};
use crate::random::Random;

/// Ties the log lines of a request together, here and upstream.
pub(super) const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// The hosts and origins that are let in besides loopback names and the same origin.
pub(super) struct Edge {
    hosts: Vec<String>,
    origins: Vec<String>,
    /// The proxies whose word of a request counts.
    pub(super) proxies: Vec<IpNet>,
    /// A `Host` that was let in, which most clients name.
    usual: OnceLock<HeaderValue>,
}

impl Edge {
    pub(super) fn new(settings: &config::Server) -> Self {
        let lower = |list: &[String]| list.iter().map(|text| text.to_ascii_lowercase()).collect();
        Self {
            hosts: lower(&settings.allowed_hosts),
            origins: lower(&settings.allowed_origins),
            proxies: settings.proxies(),
            usual: OnceLock::new(),
        }
    }

    /// Refuses a request for a foreign host, or from a foreign origin, with [`ErrorKind::PermissionDenied`].
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<()> {
        if self.is_usual(request) {
            return Ok(());
        }
        let host = asked_host(request.headers(), request.uri())?;
        if !is_loopback(name_of(&host)) && !self.lists(&host) {
            return Err(refused(
                "this host is not served here; list it in `server.allowed_hosts`",
                "host",
                &host,
            ));
        }
        let mut origins = request.headers().get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else {
            if let Some(host) = request.headers().get(HOST) {
                // The first one stays.
                let _ = self.usual.set(host.clone());
            }
            return Ok(());
        };
        let origin = origin.to_str().unwrap_or("").to_ascii_lowercase();
        let known = same_origin(&origin, &host) || self.origins.contains(&origin);
        if !known || origins.next().is_some() {
            let message = "requests from this origin are not served; list it in `server.allowed_origins`";
            return Err(refused(message, "origin", &origin));
        }
        Ok(())
    }

    /// Whether the settings list this host, in lower case.
    pub(super) fn lists(&self, host: &str) -> bool {
        self.hosts.iter().any(|listed| *listed == host || *listed == name_of(host))
    }

    /// Whether all that there is to check is a host that was let in before.
    fn is_usual<B>(&self, request: &Request<B>) -> bool {
        let headers = request.headers();
        let mut hosts = headers.get_all(HOST).iter();
        hosts.next().is_some_and(|host| self.usual.get() == Some(host))
            && hosts.next().is_none()
            && request.uri().authority().is_none()
            && !headers.contains_key(ORIGIN)
    }
}

/// The correlation id that the request brings, if it is 1 to 128 of `[A-Za-z0-9._-]`; a new one otherwise.
pub(super) fn correlation_id(headers: &HeaderMap, random: &Random) -> Arc<str> {
    let fits = |text: &&str| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
    };
    if let Some(given) = headers.get(CORRELATION_ID).and_then(|value| value.to_str().ok()).filter(fits) {
        return given.into();
    }
    Arc::from(&*random.uuid().hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

fn asked_host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Result<Cow<'a, str>> {
    let mut hosts = headers.get_all(HOST).iter();
    let header = hosts.next().map(|value| lower(value.to_str().unwrap_or("")));
    let target = uri.authority().map(|authority| lower(authority.as_str()));
    match (header, target) {
        _ if hosts.next().is_some() => {
            Err(Error::new(ErrorKind::PermissionDenied, "the request has two `Host` headers"))
        }
        (Some(header), Some(target)) if header != target => {
            Err(refused("`Host` and the request's target disagree", "host", &header))
        }
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) => Err(Error::new(ErrorKind::PermissionDenied, "the request has no `Host` header")),
    }
}

/// `text` in lower case; nearly always it is already.
fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|c| c.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { text.into() }
}

/// `host:port` without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => host,
    }
}

/// Digits of a port that there can be, or none: HTTP allows `host:`.
fn is_port(text: &str) -> bool {
    text.is_empty() || (text.bytes().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

/// Whether a name or address, IPv6 in brackets, is this machine's own whatever any name server says.
pub(super) fn is_loopback(name: &str) -> bool {
    if name == "localhost" {
        return true;
    }
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match (bare, bare.unwrap_or(name).parse::<IpAddr>()) {
        (Some(_), Ok(IpAddr::V6(ip))) => ip.is_loopback(),
        (None, Ok(IpAddr::V4(ip))) => ip.is_loopback(),
        _ => false,
    }
}

fn same_origin(origin: &str, host: &str) -> bool {
    let (authority, port) = match origin.split_once("://") {
        Some(("http", authority)) => (authority, ":80"),
        Some(("https", authority)) => (authority, ":443"),
        _ => return false,
    };
    let bare = |text: &str| name_of(text) == text;
    authority == host
        || (bare(host) && authority.strip_suffix(port) == Some(host))
        || (bare(authority) && host.strip_suffix(port) == Some(authority))
}

fn refused(message: &'static str, key: &'static str, value: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, message).with(key, value.chars().take(120).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&str, &str)]) -> Result<()> {
        let settings = config::Server {
            allowed_hosts: vec!["gate.example".into()],
            allowed_origins: vec!["https://app.example".into()],
            ..config::Server::default()
        };
        let mut request = Request::builder().uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Edge::new(&settings).check(&request.body(()).unwrap())
    }

    #[test]
    fn loopback_and_listed_hosts_are_served_and_no_others() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "127.9.9.9", "[::1]:80", "gate.example:9"]
        {
            assert!(check(&[("host", host)]).is_ok(), "{host}");
        }
        let foreign = [
            "localhost.evil.com",
            "evil.com",
            "127.0.0.1.evil.com",
            "10.0.0.1",
            "[::2]",
            "::1",
            "",
            "localhost:80:80",
            "localhost:65536",
            "evil.com:127.0.0.1",
            "localhost.",
            "notgate.example",
            "user@localhost",
            "[127.0.0.1]",
        ];
        for host in foreign {
            assert_eq!(check(&[("host", host)]).unwrap_err().kind(), ErrorKind::PermissionDenied, "{host}");
        }
        assert!(check(&[]).is_err());
        assert!(check(&[("host", "localhost"), ("host", "evil.com")]).is_err());
    }

    #[test]
    fn only_the_same_origin_and_listed_ones_may_come_from_a_browser() {
        let from = |origin| check(&[("host", "localhost:8000"), ("origin", origin)]);
        for origin in ["http://localhost:8000", "https://app.example", "HTTPS://APP.example"] {
            assert!(from(origin).is_ok(), "{origin}");
        }
        let foreign = [
            "null",
            "",
            "http://localhost",
            "http://localhost:3000",
            "http://localhost:8000:80",
            "http://localhost:8000.evil.com",
            "http://localhost.evil.com:8000",
            "https://evil.com",
            "file://localhost:8000",
            "http://app.example",
        ];
        for origin in foreign {
            assert_eq!(from(origin).unwrap_err().kind(), ErrorKind::PermissionDenied, "{origin}");
        }
        assert!(check(&[("host", "localhost"), ("origin", "http://localhost:80")]).is_ok());
    }

    #[test]
    fn a_correlation_id_that_could_break_a_log_line_is_replaced() {
        let given = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CORRELATION_ID, value.parse().unwrap());
            correlation_id(&headers, &Random::seeded(1)).to_string()
        };
        assert_eq!(given("a-b_c.9"), "a-b_c.9");
        for bad in ["", "a b", "a\"b", "é"] {
            assert_ne!(given(bad), bad);
            assert!(given(bad).parse::<Uuid>().is_ok());
        }
    }
}
