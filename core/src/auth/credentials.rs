//! The credentials that a caller sends. They are never printed.

use std::fmt;
use std::net::IpAddr;

use http::HeaderValue;
use http::header::{AUTHORIZATION, FORWARDED, HeaderMap, HeaderName, VIA};

use crate::model::Principal;

/// The credentials that a caller sends.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A call from within the process that embeds the gateway, which speaks for this principal.
    Embedded(Principal),
    /// A call over the network.
    Network {
        /// The address of the peer.
        peer: IpAddr,
        /// Why `peer` may be somebody else than the sender, if so; see [`forwarded`].
        forwarded: Option<Forwarded>,
        /// The content of `Authorization`.
        authorization: Authorization,
    },
}

/// Why a request is not known to be sent by the other end of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// It has this header, by which a proxy says that it passed the request on.
    Header(HeaderName),
    /// `server.trusted_proxies` is set, so that there is a proxy, and a proxy may add no header.
    Proxies,
}

/// The content of the header `Authorization` of a request.
#[derive(Clone, Debug, Default)]
pub enum Authorization {
    /// There is none.
    #[default]
    Absent,
    /// A bearer token.
    Bearer(Bearer),
    /// Something that is no credential here, and why.
    Unusable(&'static str),
}

/// A bearer token (RFC 6750 section 2.1); its `Debug` form hides it.
#[derive(Clone)]
pub struct Bearer {
    header: HeaderValue,
    /// Where the token begins in the header.
    start: usize,
}

impl Bearer {
    /// The token.
    pub fn token(&self) -> &[u8] {
        &self.header.as_bytes()[self.start..]
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(***)")
    }
}

impl Authorization {
    /// Reads the header. Cookies, the query and other schemes are not looked at: a token that stands in an URL is written
    /// down by everything that the URL passes, and one that a browser sends by itself is sent for any page.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(header) = values.next() else { return Self::Absent };
        if values.next().is_some() {
            return Self::Unusable("the request has two `Authorization` headers");
        }
        let bytes = header.as_bytes();
        let scheme = bytes.iter().position(|byte| *byte == b' ').unwrap_or(bytes.len());
        if !bytes[..scheme].eq_ignore_ascii_case(b"bearer") {
            return Self::Unusable("only `Authorization: Bearer` is taken");
        }
        let rest = &bytes[scheme..];
        let start = scheme + rest.iter().take_while(|byte| **byte == b' ').count();
        if !is_token(&bytes[start..]) {
            return Self::Unusable("`Authorization: Bearer` is not followed by a token");
        }
        let mut header = header.clone();
        header.set_sensitive(true);
        Self::Bearer(Bearer { header, start })
    }
}

/// The header by which a request says that a proxy passed it on: `Forwarded`, one of `X-Forwarded-…`, `X-Real-IP` or `Via`. Such
/// a request comes from somewhere else than its connection does, so that the peer's address says nothing of its sender.
pub fn forwarded(headers: &HeaderMap) -> Option<Forwarded> {
    headers.keys().find(|name| is_of_a_proxy(name)).cloned().map(Forwarded::Header)
}

/// Whether proxies say by this header that they passed a request on.
pub fn is_of_a_proxy(name: &HeaderName) -> bool {
    *name == FORWARDED
        || *name == VIA
        || name
            .as_str()
            .strip_prefix("x-")
            .is_some_and(|rest| rest == "real-ip" || rest.starts_with("forwarded"))
}

/// `b64token` of RFC 6750 section 2.1.
fn is_token(bytes: &[u8]) -> bool {
    let body = bytes.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    body > 0
        && bytes[..body].iter().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Authorization {
        let pair = |value: &&str| (AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        Authorization::of(&values.iter().map(pair).collect())
    }

    #[test]
    fn only_one_bearer_token_is_a_credential() {
        for (given, token) in [("Bearer abc", "abc"), ("bearer  a.b-c_~+/==", "a.b-c_~+/==")] {
            let Authorization::Bearer(bearer) = read(&[given]) else { panic!("{given}") };
            assert_eq!(bearer.token(), token.as_bytes());
        }
        assert!(matches!(read(&[]), Authorization::Absent));
        for bad in [
            &["Bearer"][..],
            &["Bearer "],
            &["Bearer =="],
            &["Bearer a b"],
            &["Bearer a\tb"],
            &["Basic YTpi"],
            &["abc"],
            &[""],
            &["Bearer a", "Bearer a"],
        ] {
            assert!(matches!(read(bad), Authorization::Unusable(_)), "{bad:?}");
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        let credentials = Credentials::Network {
            peer: [127, 0, 0, 1].into(),
            forwarded: None,
            authorization: read(&["Bearer canary-7"]),
        };
        assert!(!format!("{credentials:?}").contains("canary"));
    }
    #[test]
    fn a_request_that_a_proxy_passed_on_is_known_by_its_headers() {
        let of = |name: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(""));
            forwarded(&headers).is_some()
        };
        for name in
            ["Forwarded", "VIA", "X-Real-IP", "x-forwarded-for", "X-Forwarded-Host", "X-Forwarded-Anything"]
        {
            assert!(of(name), "{name}");
        }
        for name in ["Host", "X-Real", "X-Request-Id", "Authorization", "Viable"] {
            assert!(!of(name), "{name}");
        }
    }
}
