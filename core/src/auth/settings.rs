//! `[auth]`: the callers that are let in, and their credentials.

use serde::{Deserialize, Serialize};
use url::Url;

use super::jwt::{Issuer, Preset};

/// The callers that are let in. With nothing set, processes of this machine alone are, as administrator of `default`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Callers show API keys, which `mcp-gateway keys create` makes. Every route but `/health`, `/ready` and the OAuth
    /// metadata then needs one.
    pub api_keys: bool,
    /// The gateway's own URL as clients write it: `https://gateway.example.com`, or `https://example.com/gateway` behind a proxy
    /// that serves it below a path. Tokens must name it as their audience. Without it, each request's `Host` counts.
    pub url: Option<String>,
    /// Issuers whose signed tokens are taken: `[[auth.issuers]]`.
    #[cfg_attr(feature = "server", schema(value_type = Vec<Object>))]
    pub issuers: Vec<Issuer>,
    /// Processes of this machine need no credential and are administrator of `default`; commands, credentials and keys still
    /// need the local token. Never set it with a proxy on this machine: all that the proxy passes on comes from here.
    pub trust_loopback: bool,
    /// Callers without a credential are let in, as guest of `default`.
    pub anonymous: bool,
}

impl Auth {
    /// Whether any authentication is configured.
    pub fn is_configured(&self) -> bool {
        self.api_keys || !self.issuers.is_empty()
    }

    /// Whether processes of this machine are let in without a credential.
    pub fn trusts_loopback(&self) -> bool {
        self.trust_loopback || !self.is_configured()
    }

    /// Checks `url`; the error names the fault.
    pub(crate) fn check_url(&self) -> Result<(), String> {
        let Some(url) = &self.url else { return Ok(()) };
        if canonical(url).is_some() {
            return Ok(());
        }
        Err("expected an URL such as `https://gateway.example.com` or `https://example.com/gateway`".into())
    }

    /// The issuers whose tokens are taken.
    pub fn authorization_servers(&self) -> Vec<String> {
        self.issuers.iter().flat_map(Issuer::servers).collect()
    }

    /// Checks the issuers; the error names the fault.
    pub(crate) fn check_issuers(&self) -> Result<(), String> {
        for (index, issuer) in self.issuers.iter().enumerate() {
            issuer.check(self.url.is_some())?;
            let opaque = |issuer: &Issuer| issuer.preset == Preset::GithubUsers;
            if opaque(issuer) && self.issuers[..index].iter().any(opaque) {
                return Err(
                    "only one issuer can be `github_users`: its tokens do not say who gave them".into()
                );
            }
            if self.issuers[..index].iter().any(|other| other.name == issuer.name) {
                return Err(format!("two issuers are named `{}`", issuer.name));
            }
        }
        Ok(())
    }

    /// `url` in its one form, without a slash at its end.
    pub fn canonical_url(&self) -> Option<String> {
        self.url.as_deref().and_then(canonical)
    }

    /// The path of `url`, without a slash at its end: empty if it has none.
    pub fn base_path(&self) -> String {
        let path = |url: String| Url::parse(&url).map(|url| url.path().trim_end_matches('/').to_owned()).ok();
        self.canonical_url().and_then(path).unwrap_or_default()
    }
}

/// The one form of the gateway's own URL; `None` if it cannot be that.
fn canonical(url: &str) -> Option<String> {
    let url = url.trim_end_matches('/');
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let path = parsed.path().trim_end_matches('/');
    // The parser has dropped a user, a default port and steps such as `..`: what it was not given it must not have to drop.
    let (given, given_path) = url.split_at_checked(url.len() - path.len())?;
    let origin = parsed.origin().ascii_serialization();
    (origin == given.to_ascii_lowercase() && path == given_path && is_base_path(path)).then(|| origin + path)
}

/// Whether `path` can stand in front of the gateway's own paths: empty, or `/` and plain names.
pub fn is_base_path(path: &str) -> bool {
    let plain = |name: &str| {
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~');
        !name.is_empty() && name != "." && name != ".." && name.bytes().all(plain)
    };
    path.is_empty() || path.strip_prefix('/').is_some_and(|path| path.split('/').all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_own_url_may_have_a_path_and_nothing_else() {
        for (url, form) in [
            ("https://GW.example/", "https://gw.example"),
            ("https://gw.example:8443", "https://gw.example:8443"),
            ("https://gw.example/Team-A/gw/", "https://gw.example/Team-A/gw"),
        ] {
            assert_eq!(canonical(url).as_deref(), Some(form), "{url}");
        }
        for url in [
            "gw.example",
            "ftp://gw.example",
            "https://user@gw.example/gw",
            "https://gw.example:443/gw",
            "https://gw.example/gw?x",
            "https://gw.example/gw#x",
            "https://gw.example/a/../b",
            "https://gw.example//gw",
            "https://gw.example/g%77",
            "https://gw.example/g w",
        ] {
            assert_eq!(canonical(url), None, "{url}");
        }
        let auth = Auth { url: Some("https://gw.example/gw/".into()), ..Auth::default() };
        assert_eq!(auth.base_path(), "/gw");
    }
}
