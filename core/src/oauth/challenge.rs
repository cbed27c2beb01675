//! The challenge of a server that refuses a request: the header `WWW-Authenticate` with the scheme `Bearer` (RFC 6750 section 3).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use rmcp::transport::auth::WWWAuthenticateParams;
use url::Url;

/// Longest challenge that is looked at, in bytes.
const LONGEST: usize = 4 * 1024;

/// A challenge of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// As it came.
    pub(crate) text: String,
    /// The scopes that it names.
    pub(crate) scopes: Vec<String>,
    /// Whether it says that the credential does not have them.
    pub(crate) is_short_of_scope: bool,
}

impl Challenge {
    /// The one in these headers, if there is any.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let text = values.find(|text| {
            let scheme = text.split([' ', ',']).next().unwrap_or_default();
            text.len() <= LONGEST && scheme.eq_ignore_ascii_case("bearer")
        })?;
        // The base is there for relative URLs alone, which are read when somebody logs in.
        let base = Url::parse("http://localhost").ok()?;
        let params = WWWAuthenticateParams::parse(text, &base);
        let is_short_of_scope = params.is_insufficient_scope();
        let scopes = params.scope.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        Some(Self { text: text.to_owned(), scopes, is_short_of_scope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Challenge> {
        Challenge::of(&[(WWW_AUTHENTICATE, text.parse().unwrap())].into_iter().collect())
    }

    #[test]
    fn the_scopes_that_a_server_wants_are_read() {
        let found = of(r#"bearer error="insufficient_scope", scope="mcp:read mcp:write""#).unwrap();
        assert_eq!(found.scopes, ["mcp:read", "mcp:write"]);
        assert!(found.is_short_of_scope);
        assert_eq!(of("Bearer").unwrap().scopes, [""; 0]);
        for other in [r#"Basic realm="x""#, "Bearers", "", &format!("Bearer realm=\"{}\"", "x".repeat(5000))]
        {
            assert_eq!(of(other), None, "{other:.20}");
        }
    }
}
