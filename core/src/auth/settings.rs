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
    /// The gateway's own URL as clients write it, without a path: `https://gateway.example.com`. Tokens must name it as their
    /// audience. Without it, each request's `Host` counts.
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
        let plain = Url::parse(url).is_ok_and(|parsed| {
            matches!(parsed.scheme(), "http" | "https")
                && parsed.origin().ascii_serialization() == url.trim_end_matches('/').to_ascii_lowercase()
        });
        if plain {
            Ok(())
        } else {
            Err("expected an URL such as `https://gateway.example.com`, without a path".into())
        }
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
        self.url.as_ref().map(|url| url.trim_end_matches('/').to_ascii_lowercase())
    }
}
