//! The compact form of a signed token (RFC 7515 section 7.1), read without believing any of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::key::Algorithm;
use crate::error::Result;

/// Longest token, in bytes. Those of the large providers with 200 groups have 10 KiB.
const MAX_TOKEN: usize = 16 * 1024;

/// A token taken apart. Nothing in it is verified yet.
pub(super) struct Form<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// The signed bytes.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

/// The header. Members that name keys or change what the signature covers are refused: `jku`, `x5u`, `jwk`, `crit`, `b64`, `zip`.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    jku: Option<Value>,
    #[serde(default)]
    x5u: Option<Value>,
    #[serde(default)]
    jwk: Option<Value>,
    #[serde(default)]
    crit: Option<Value>,
    #[serde(default)]
    b64: Option<Value>,
    #[serde(default)]
    zip: Option<Value>,
}

/// Whether this has the outer form of a signed token: three parts, divided by dots.
pub(in crate::auth) fn has_form(token: &[u8]) -> bool {
    memchr::memchr_iter(b'.', token).count() == 2 && token.starts_with(b"ey")
}

impl<'a> Form<'a> {
    /// Takes a token apart.
    pub(super) fn read(token: &'a [u8]) -> Result<Self> {
        let bad = || super::refused("this is not a signed token that is taken here");
        if token.len() > MAX_TOKEN {
            return Err(super::refused("the token is longer than 16 KiB"));
        }
        let mut dots = token.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(bad());
        };
        let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| bad());
        let header: Header = object(&decode(&token[..first])?).ok_or_else(bad)?;
        let named = [&header.jku, &header.x5u, &header.jwk, &header.crit, &header.b64, &header.zip];
        if named.iter().any(|member| member.is_some()) {
            return Err(super::refused("the token's header names a key or an extension of its own"));
        }
        let typ = header.typ.map(|typ| typ.to_ascii_lowercase());
        if !matches!(typ.as_deref(), None | Some("jwt" | "at+jwt" | "application/at+jwt")) {
            return Err(super::refused(
                "the token's `typ` says that it is something else than an access token",
            ));
        }
        let algorithm = Algorithm::named(&header.alg)
            .ok_or_else(|| super::refused("the token is not signed by RS256, ES256 or EdDSA"))?;
        let claims = object(&decode(&token[first + 1..second])?).ok_or_else(bad)?;
        let signature = decode(&token[second + 1..])?;
        Ok(Self { algorithm, kid: header.kid, claims, signed: &token[..second], signature })
    }
}

/// One JSON object in which no member stands twice.
fn object<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(bytes).ok()?;
    crate::rpc::Members::parse(text).ok()?;
    serde_json::from_str(text).ok()
}
