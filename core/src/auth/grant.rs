//! A grant that somebody gave the gateway by OAuth, as it is sealed in the store.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::model::Authorized;

/// An access token, and all that it takes to renew it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) access_token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
    /// When the access token ends, if the authorization server said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) issued_at: Timestamp,
    /// The scopes that it was given for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) scopes: Vec<String>,
    /// The scopes that were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) asked: Vec<String>,
    /// The client that the gateway is there.
    pub(crate) client: OauthClient,
    /// The resource that the token is meant for (RFC 8707).
    pub(crate) resource: String,
    /// The authorization server's metadata (RFC 8414), as it was when the grant was given.
    pub(crate) metadata: serde_json::Value,
}

/// A client that an authorization server knows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OauthClient {
    pub(crate) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,
    pub(crate) redirect_uri: String,
    /// Whether the gateway registered itself (RFC 7591), with the issuer of the metadata and no other.
    #[serde(default)]
    pub(crate) registered: bool,
}

impl Grant {
    /// From when on the access token is not used any more: a minute before it ends, or a quarter of its life for one that lives
    /// for less than four, as long as it can be renewed; else its end.
    pub(crate) fn used_until(&self) -> Option<Timestamp> {
        let end = self.expires_at?;
        if self.refresh_token.is_none() {
            return Some(end);
        }
        let life = end.duration_since(self.issued_at);
        let before = jiff::SignedDuration::from_secs(60).min(life / 4);
        end.checked_sub(before).ok()
    }

    /// As it is sealed.
    pub(crate) fn sealable(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| {
            Error::new(ErrorKind::Internal, "a grant cannot be written as JSON").caused_by(error)
        })
    }

    /// The issuer that gave it.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.metadata.get("issuer").and_then(serde_json::Value::as_str)
    }

    /// The public part of it.
    pub(crate) fn told(&self) -> Authorized {
        Authorized {
            issuer: self.issuer().map(str::to_owned),
            scopes: self.scopes.clone(),
            expires_at: self.expires_at,
            renewable: self.refresh_token.is_some(),
        }
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told().fmt(f)
    }
}

impl fmt::Debug for OauthClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthClient").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn grant(refresh_token: Option<&str>, life: Option<i64>) -> Grant {
        let at = Timestamp::from_second(1_000_000).unwrap();
        Grant {
            access_token: "canary-access".into(),
            refresh_token: refresh_token.map(str::to_owned),
            expires_at: life.map(|life| Timestamp::from_second(1_000_000 + life).unwrap()),
            issued_at: at,
            scopes: vec!["read".into()],
            asked: vec!["read".into(), "write".into()],
            client: OauthClient {
                id: "client".into(),
                secret: Some("canary-secret".into()),
                redirect_uri: "http://127.0.0.1/mcp/oauth/callback".into(),
                registered: true,
            },
            resource: "https://tools.example/mcp".into(),
            metadata: serde_json::json!({ "issuer": "https://login.example" }),
        }
    }

    #[test]
    fn a_token_that_can_be_renewed_is_renewed_before_it_ends() {
        for (refresh, life, used) in [
            (Some("r"), Some(3600), Some(3540)),
            (Some("r"), Some(40), Some(30)),
            (None, Some(3600), Some(3600)),
            (Some("r"), None, None),
        ] {
            let until = grant(refresh, life).used_until();
            assert_eq!(until.map(|until| until.as_second() - 1_000_000), used, "{life:?}");
        }
    }

    #[test]
    fn no_secret_of_a_grant_is_printed() {
        let grant = grant(Some("canary-refresh"), Some(60));
        assert!(!format!("{grant:?} {:?}", grant.client).contains("canary"));
        let text = serde_json::to_string(&grant).unwrap();
        assert_eq!(serde_json::from_str::<Grant>(&text).unwrap(), grant);
    }
}
