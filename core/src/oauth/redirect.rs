//! One redirect URI for each authorization server (RFC 9700 section 4.4.2).
//!
//! A server that means ill names an authorization server of its own, which sends the browser on to an honest one under the state of
//! the login at itself. The honest one then answers to the address at which it knows the gateway. Where that address is for its
//! answers alone, the gateway sees that the answer belongs to another login than the state says, and the code goes to nobody.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};
use rmcp::transport::auth::AuthorizationMetadata;
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// The name of an authorization server within addresses: 32 hexadecimal digits of the SHA-256 of its issuer.
pub(crate) fn issuer_id(metadata: &AuthorizationMetadata) -> String {
    // The SDK compares the issuer with the address of the metadata, so that nobody has another's. One without a name is told from
    // others by its endpoints.
    let name = metadata
        .issuer
        .clone()
        .unwrap_or_else(|| format!("{}\n{}", metadata.authorization_endpoint, metadata.token_endpoint));
    let hash = digest(&SHA256, name.as_bytes());
    hash.as_ref().iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The address below `page` that is for the answers of this authorization server alone.
///
/// [`ErrorKind::InvalidParams`] if `page` is no URL with a path.
pub(crate) fn redirect_uri(page: &str, issuer_id: &str) -> Result<String> {
    let wrong = || {
        let message =
            "the page that the browser comes back to is a URL with a path, and without a part after `#`";
        Error::new(ErrorKind::InvalidParams, message).with("member", "redirect_uri")
    };
    let mut url = Url::parse(page).ok().filter(|url| url.fragment().is_none()).ok_or_else(wrong)?;
    url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().push(issuer_id);
    Ok(url.into())
}

/// The name of the authorization server for whose answers the address `at` is; `at` can be a path alone.
pub(crate) fn issuer_at(at: &str) -> &str {
    let path = at.split(['?', '#']).next().unwrap_or_default();
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// issuers that differ in anything have addresses of their own, and the address names its issuer.
    #[test]
    fn each_issuer_has_an_address_of_its_own() {
        let metadata = |issuer: Option<&str>, token: &str| {
            let mut metadata = AuthorizationMetadata::default();
            metadata.issuer = issuer.map(str::to_owned);
            metadata.token_endpoint = token.to_owned();
            issuer_id(&metadata)
        };
        let ids = [
            metadata(Some("https://a.example"), "https://a.example/token"),
            metadata(Some("https://a.example/"), "https://a.example/token"),
            metadata(Some("https://b.example"), "https://a.example/token"),
            metadata(None, "https://a.example/token"),
            metadata(None, "https://b.example/token"),
        ];
        for (n, id) in ids.iter().enumerate() {
            assert!(id.len() == 32 && ids[..n].iter().all(|other| other != id), "{ids:?}");
            for page in ["https://g.example/cb", "https://g.example/cb/", "http://127.0.0.1:1/a/cb?x=1"] {
                assert_eq!(issuer_at(&redirect_uri(page, id).unwrap()), id);
            }
        }
        assert_eq!(ids[0], metadata(Some("https://a.example"), "https://a.example/other"), "of one issuer");
        for wrong in ["", "cb", "mailto:a@b.example", "https://g.example/cb#x"] {
            assert!(redirect_uri(wrong, &ids[0]).is_err(), "{wrong}");
        }
    }
}
