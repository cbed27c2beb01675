//! Headers by which a client could pretend to be something inside of the gateway are taken away before any logic sees them.
//!
//! Nothing here reads them, and nothing behind the edge ever shall: a request's principal comes from its credentials alone.

use http::header::{HeaderMap, HeaderName};

/// Names that are internal by themselves.
const NAMES: [&str; 5] = ["x-tenant-id", "x-tenant", "x-user", "x-user-id", "mcp-init-host"];
/// Beginnings of such names.
const BEGINNINGS: [&str; 2] = ["x-upstream-", "x-mcp-"];

/// By this header clients of other gateways choose the credentials that a server is sent.
pub(super) const OVERRIDE: &str = "x-upstream-authorization";

/// Takes internal headers out of a request; says whether [`OVERRIDE`] was among them.
pub(super) fn internal(headers: &mut HeaderMap) -> bool {
    // Hardly any request has one, so that looking is all it costs.
    if !headers.keys().any(is_internal) {
        return false;
    }
    let found: Vec<HeaderName> = headers.keys().filter(|name| is_internal(name)).cloned().collect();
    let chose = found.iter().any(|name| name == OVERRIDE);
    for name in found {
        tracing::debug!(header = name.as_str(), "an internal header of a client was taken away");
        headers.remove(name);
    }
    chose
}

fn is_internal(name: &HeaderName) -> bool {
    let name = name.as_str();
    let candidate = name.starts_with("x-") || name.starts_with("mcp-i");
    candidate && (NAMES.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// internal headers are stripped, whatever their case and however often they come; others stay.
    #[test]
    fn internal_headers_are_stripped_and_others_stay() {
        let mut headers = HeaderMap::new();
        for name in ["X-Tenant-Id", "X-User", "X-Upstream-Authorization", "X-MCP-Role", "mcp-init-host"] {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name.clone(), HeaderValue::from_static("evil"));
            headers.append(name, HeaderValue::from_static("evil"));
        }
        for name in ["x-correlation-id", "mcp-param-x", "mcp-session-id", "authorization"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("kept"));
        }
        assert!(internal(&mut headers) && !internal(&mut headers));
        assert_eq!(headers.len(), 4);
        assert!(headers.values().all(|value| value == "kept"));
    }
}
