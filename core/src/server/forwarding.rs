//! Requests that a proxy passed on, and paths as clients write them: settled once, before anything else looks at a request.
//!
//! The headers `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix` count if the connection comes from one of
//! `server.trusted_proxies`, and are taken away from every other request. `Host` is then the one that the client wrote, if
//! `server.allowed_hosts` lists it; the URL that the gateway has for that client is [`OwnUrl`]. Behind a prefix of `auth.url` or of
//! the proxy a path is served with the prefix and without it, and with a slash at its end as without it.

use std::net::IpAddr;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use ipnet::IpNet;

use super::Shared;
use super::challenge::WELL_KNOWN;
use super::edge::Edge;
use crate::auth::{Forwarded, forwarded, is_base_path, is_of_a_proxy};
use crate::server::connection::limits::is_of;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// The first names of the gateway's own paths: a prefix that begins with one of them is left to the proxy.
const OWN: [&str; 14] = [
    ".well-known",
    "api",
    "docs",
    "health",
    "legacy",
    "mcp",
    "messages",
    "metrics",
    "oauth",
    "openapi.json",
    "ready",
    "sse",
    "startup",
    "v0.1",
];

/// The sender of a request that a proxy passed on, or may have; an extension of the request.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// Its address, by the word of a trusted proxy; otherwise the connection's other end counts.
    pub(super) client: Option<IpAddr>,
    pub(super) forwarded: Forwarded,
}

/// Settles who sent the request, and where to, by the headers of a proxy at `peer`.
pub(super) fn settle<B>(request: &mut Request<B>, peer: Option<IpAddr>, edge: &Edge, base_path: &str) {
    let header = forwarded(request.headers());
    if header.is_some() || !edge.proxies.is_empty() {
        let proxy = peer.filter(|peer| is_of(&edge.proxies, *peer));
        let client = proxy.map(|proxy| client(request.headers(), &edge.proxies).unwrap_or(proxy));
        rewrite(request.headers_mut(), proxy.is_some(), edge);
        let forwarded = header.unwrap_or(Forwarded::Proxies);
        request.extensions_mut().insert(Sender { client, forwarded });
    }
    let prefix = if base_path.is_empty() { value(request.headers(), &PREFIX) } else { Some(base_path) };
    if let Some(path) = own_path(request.uri().path(), prefix.unwrap_or_default())
        && let Some(uri) = with_path(request.uri(), path)
    {
        *request.uri_mut() = uri;
    }
}

/// Leaves of the headers of proxies those that count.
fn rewrite(headers: &mut HeaderMap, is_trusted: bool, edge: &Edge) {
    let said = |name: &HeaderName| is_trusted.then(|| last(headers, name)).flatten().map(str::to_owned);
    let (proto, host, prefix) = (said(&PROTO), said(&FORWARDED_HOST), said(&PREFIX));
    let names: Vec<_> = headers.keys().filter(|name| is_of_a_proxy(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    let proto =
        proto.map(|proto| proto.to_ascii_lowercase()).filter(|proto| proto == "http" || proto == "https");
    let prefix = prefix.map(|prefix| prefix.trim_end_matches('/').to_owned());
    let prefix = prefix.filter(|prefix| !prefix.is_empty() && prefix.len() <= 200 && is_base_path(prefix));
    let host = host.map(|host| host.to_ascii_lowercase()).filter(|host| edge.lists(host));
    for (name, value) in [(PROTO, proto), (PREFIX, prefix), (HOST, host)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
}

/// The last of the values of a header that is a list: proxies add theirs at the end.
fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim).filter(|value| !value.is_empty())
}

fn value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The client that a trusted proxy names: the last address of `X-Forwarded-For` that is none of a trusted proxy. What stands in
/// front of it is the client's own word.
fn client(headers: &HeaderMap, proxies: &[IpNet]) -> Option<IpAddr> {
    let mut found = None;
    let values = headers.get_all(FOR).iter().rev().map(|value| value.to_str().unwrap_or("?"));
    for said in values.flat_map(|value| value.rsplit(',')) {
        let Some(address) = address(said.trim()) else { return found };
        found = Some(address);
        if !is_of(proxies, address) {
            return found;
        }
    }
    found
}

/// An address, which some proxies write with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.split_once(']')?.0.parse().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(bare).map(|address: IpAddr| address.to_canonical())
}

/// The gateway's own path for the one that a client wrote, if it is another.
fn own_path(path: &str, prefix: &str) -> Option<String> {
    let below = |path: &str| path.is_empty() || path.starts_with('/');
    let is_own = prefix.split('/').nth(1).is_none_or(|first| OWN.contains(&first));
    let stripped = if is_own {
        None
    } else if let Some(rest) = path.strip_prefix(prefix).filter(|rest| below(rest)) {
        Some(rest.to_owned())
    } else {
        // RFC 9728, section 3.1: the well-known part stands in front of the resource's path.
        let resource = path.strip_prefix(WELL_KNOWN).and_then(|path| path.strip_prefix(prefix));
        resource.filter(|rest| below(rest)).map(|rest| format!("{WELL_KNOWN}{rest}"))
    };
    let current = stripped.as_deref().unwrap_or(path);
    match current.strip_suffix('/') {
        Some(rest) if !rest.is_empty() => Some(rest.to_owned()),
        _ if current.is_empty() => Some("/".to_owned()),
        _ => stripped,
    }
}

fn with_path(uri: &Uri, mut path: String) -> Option<Uri> {
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

/// What a request says of the gateway's own URL, once it is settled.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnUrl {
    host: Option<HeaderValue>,
    proto: Option<HeaderValue>,
    prefix: Option<HeaderValue>,
}

impl OwnUrl {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let get = |name: &HeaderName| headers.get(name).cloned();
        Self { host: get(&HOST), proto: get(&PROTO), prefix: get(&PREFIX) }
    }

    /// The URL, without a slash at its end: as configured, else as the client wrote it, which the edge has checked.
    pub(super) fn get(&self, shared: &Shared) -> String {
        shared.gateway.url().unwrap_or_else(|| {
            let text = |value: &Option<HeaderValue>| {
                value.as_ref().and_then(|value| value.to_str().ok()).map(str::to_owned)
            };
            let own = if shared.settings.tls.is_on() { "https" } else { "http" };
            let scheme = text(&self.proto).unwrap_or_else(|| own.to_owned());
            let host =
                text(&self.host).map_or_else(|| "localhost".to_owned(), |host| host.to_ascii_lowercase());
            format!("{scheme}://{host}{}", text(&self.prefix).unwrap_or_default())
        })
    }
}

/// The prefix under which a client reaches the gateway's own paths, without a slash at its end.
pub(super) fn prefix(shared: &Shared, headers: &HeaderMap) -> String {
    if shared.gateway.settings().auth.url.is_some() {
        return shared.base_path.clone();
    }
    value(headers, &PREFIX).unwrap_or_default().to_owned()
}

/// Puts the prefix in front of the path of what was made.
pub(super) fn relocate<B>(response: &mut Response<B>, prefix: &str) {
    if prefix.is_empty() {
        return;
    }
    if let Some(made) = response.headers_mut().get_mut(LOCATION)
        && let Some(path) = made.to_str().ok().filter(|path| path.starts_with('/'))
        && let Ok(value) = HeaderValue::try_from(format!("{prefix}{path}"))
    {
        *made = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn edge() -> Edge {
        Edge::new(&config::Server {
            trusted_proxies: vec!["10.0.0.0/8".into(), "127.0.0.1".into()],
            allowed_hosts: vec!["gw.example".into()],
            ..config::Server::default()
        })
    }

    fn settled(peer: &str, headers: &[(&str, &str)], edge: &Edge) -> Request<()> {
        let mut request = Request::builder().uri("/x?y").header("host", "127.0.0.1:8000");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        settle(&mut request, Some(peer.parse().unwrap()), edge, "");
        request
    }

    const SAID: [(&str, &str); 4] = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "GW.example"),
        ("x-forwarded-prefix", "/gw/"),
    ];

    #[test]
    fn what_a_proxy_says_counts_of_a_trusted_one_alone() {
        let request = settled("10.1.2.3", &SAID, &edge());
        let sender = request.extensions().get::<Sender>().unwrap();
        assert_eq!(sender.client, Some("203.0.113.7".parse().unwrap()));
        let said = |name| request.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!((said("host"), said("x-forwarded-proto")), (Some("gw.example"), Some("https")));
        assert_eq!((said("x-forwarded-prefix"), said("x-forwarded-for")), (Some("/gw"), None));

        for (peer, edge) in [("192.0.2.1", edge()), ("10.1.2.3", Edge::new(&config::Server::default()))] {
            let request = settled(peer, &SAID, &edge);
            let sender = request.extensions().get::<Sender>().unwrap();
            assert!(sender.client.is_none() && matches!(sender.forwarded, Forwarded::Header(_)));
            assert_eq!(request.headers().len(), 1, "{:?}", request.headers());
            assert_eq!(request.headers()["host"], "127.0.0.1:8000");
        }
        // While proxies are trusted nobody is of this machine; while none is, nothing is in the way.
        let sender = |edge| settled("127.0.0.1", &[], &edge).extensions().get::<Sender>().cloned();
        assert_eq!(sender(edge()).unwrap().forwarded, Forwarded::Proxies);
        assert!(sender(Edge::new(&config::Server::default())).is_none());
    }

    #[test]
    fn a_forwarded_host_counts_if_it_is_listed_and_other_values_if_they_have_their_form() {
        for (name, value) in [
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-host", "localhost"),
            ("x-forwarded-host", "gw.example, evil.example"),
            ("x-forwarded-proto", "javascript"),
            ("x-forwarded-prefix", "//evil.example"),
            ("x-forwarded-prefix", "/a/../b"),
            ("x-forwarded-prefix", "gw"),
            ("x-forwarded-prefix", "/"),
        ] {
            let request = settled("10.1.2.3", &[(name, value)], &edge());
            assert_eq!(request.headers().len(), 1, "{name}: {value}");
            assert_eq!(request.headers()["host"], "127.0.0.1:8000", "{name}: {value}");
        }
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_proxys() {
        for (said, found) in [
            (&["203.0.113.7"][..], Some("203.0.113.7")),
            (&["127.0.0.1, 203.0.113.7"], Some("203.0.113.7")),
            (&["198.51.100.1", "203.0.113.7, 10.1.1.1"], Some("203.0.113.7")),
            (&["203.0.113.7:4711"], Some("203.0.113.7")),
            (&["[2001:db8::1]:80"], Some("2001:db8::1")),
            (&["2001:db8::1"], Some("2001:db8::1")),
            (&["203.0.113.7, nonsense"], None),
            (&["nonsense, 10.1.1.1"], Some("10.1.1.1")),
            (&["10.1.1.1"], Some("10.1.1.1")),
            (&[""], None),
        ] {
            let values = said.iter().map(|value| (FOR, HeaderValue::from_str(value).unwrap()));
            let found: Option<IpAddr> = found.map(|found| found.parse().unwrap());
            assert_eq!(client(&values.collect(), &edge().proxies), found, "{said:?}");
        }
    }

    #[test]
    fn a_path_is_the_same_with_its_prefix_and_with_a_slash_at_its_end() {
        for (path, prefix, own) in [
            ("/mcp", "", None),
            ("/", "", None),
            ("/mcp/", "", Some("/mcp")),
            ("/mcp/one/", "", Some("/mcp/one")),
            ("/api/v1/servers/", "", Some("/api/v1/servers")),
            ("/gw/mcp", "/gw", Some("/mcp")),
            ("/gw/mcp/one/", "/gw", Some("/mcp/one")),
            ("/gw", "/gw", Some("/")),
            ("/gw/", "/gw", Some("/")),
            ("/mcp", "/gw", None),
            ("/gwx/mcp", "/gw", None),
            ("/a/b/mcp", "/a/b", Some("/mcp")),
            (
                "/.well-known/oauth-protected-resource/gw/mcp",
                "/gw",
                Some("/.well-known/oauth-protected-resource/mcp"),
            ),
            (
                "/.well-known/oauth-protected-resource/gw",
                "/gw",
                Some("/.well-known/oauth-protected-resource"),
            ),
            ("/.well-known/oauth-protected-resource/mcp", "/gw", None),
            ("/mcp/mcp", "/mcp", None),
        ] {
            assert_eq!(own_path(path, prefix).as_deref(), own, "{path} under {prefix:?}");
        }
        let uri: Uri = "/gw/mcp/?a=b".parse().unwrap();
        assert_eq!(with_path(&uri, "/mcp".into()).unwrap(), "/mcp?a=b");
    }

    #[test]
    fn what_was_made_is_named_below_the_prefix() {
        let relocated = |place: &str, prefix: &str| {
            let mut response = Response::builder().header("location", place).body(()).unwrap();
            relocate(&mut response, prefix);
            response.headers()["location"].to_str().unwrap().to_owned()
        };
        assert_eq!(relocated("/api/v1/servers/x", "/gw"), "/gw/api/v1/servers/x");
        assert_eq!(relocated("/api/v1/servers/x", ""), "/api/v1/servers/x");
        assert_eq!(relocated("https://issuer.example/x", "/gw"), "https://issuer.example/x");
    }
}
