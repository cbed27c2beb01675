//! Public keys of issuers (RFC 7517), and their verdict on signatures. A key is for one algorithm, whatever a token says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::identity::issuers_of;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    /// By its name in RFC 7518 and RFC 8037 and, for Ed25519, RFC 9864.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A key as an issuer publishes it.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    issuer: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

/// A public key.
#[derive(Debug)]
pub(super) struct PublicKey {
    pub(super) kid: Option<String>,
    /// The only issuer of Entra that it is for, where it says so and that is not a pattern for every directory.
    issuer: Option<String>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The part of a URL up to its path.
fn host_of(url: &str) -> &str {
    url.match_indices('/').nth(2).map_or(url, |(end, _)| &url[..=end])
}

impl PublicKey {
    /// The key in `value`; `None` if it is of a kind that is not used here, or not for signatures.
    pub(super) fn read(value: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let bytes =
            |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?.trim_end_matches('=')).ok();
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { n: bytes(&jwk.n)?, e: bytes(&jwk.e)? },
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                // The uncompressed form of SEC 1 section 2.3.3.
                Material::P256([&[4], x.as_slice(), y.as_slice()].concat())
            }
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(&jwk.x)?),
            _ => return None,
        };
        let of_entra = |issuer: &String| issuers_of("").iter().any(|all| issuer.starts_with(host_of(all)));
        let issuer = jwk.issuer.filter(|issuer| of_entra(issuer) && !issuer.contains('{'));
        let key = Self { kid: jwk.kid, issuer, material };
        match jwk.alg.as_deref() {
            Some(alg) if Algorithm::named(alg) != Some(key.algorithm()) => None,
            _ => Some(key),
        }
    }

    /// The only algorithm that this key is used with.
    pub(super) fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether it is a key for tokens of the issuer that the claims name. Entra publishes the keys of several issuers together, and says
    /// of each whose it is: a key for personal accounts signs nothing for a directory.
    pub(super) fn is_of(&self, claims: &Map<String, Value>) -> bool {
        let Some(own) = &self.issuer else { return true };
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        // A token of version 1 has another name for the same directory than the keys of version 2.
        let directory = text("tid").is_some_and(|tid| issuers_of(tid).contains(own));
        directory || text("iss") == Some(own)
    }

    /// Whether `signature` is this key's of `signed`. RSA keys have at least 2048 bits.
    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { n, e } => {
                let n = n.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &n[first..]);
                let key = RsaPublicKeyComponents { n, e: e.as_slice() };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature).is_ok()
            }
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).is_ok()
            }
            Material::Ed25519(point) => {
                UnparsedPublicKey::new(&ED25519, point).verify(signed, signature).is_ok()
            }
        }
    }
}
