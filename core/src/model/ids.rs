//! Names and identifiers, each checked when it is made.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $unknown:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new random identifier.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// The identifier with these 128 bits, as read from a store.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The 128 bits.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                let unknown = |_| Error::new(ErrorKind::NotFound, $unknown).with("id", text);
                text.parse().map(Self).map_err(unknown)
            }
        }
    };
}

id!(
    /// Identifies one registered server for ever; random (UUID version 4), so that it tells nothing.
    ServerId,
    "no such server: its id is a UUID"
);

id!(
    /// Identifies one API key for ever; random (UUID version 4). It is no secret, and tells nothing of the key.
    KeyId,
    "no such key: its id is a UUID"
);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes the name.
            pub fn new(text: &str) -> Result<Self> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                Self::new(&text)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// A service: every server registered under it is a replica of the others.
    ///
    /// Matches `[a-z0-9]([a-z0-9_.-]*[a-z0-9])?`, has at most 63 characters and never contains `__`, which
    /// separates service and tool on the aggregated route.
    ServiceName, check_service
}

name! {
    /// A tenant: the boundary of isolation. Same form as a service name.
    ///
    /// ```
    /// use mcp_registry_gateway::TenantId;
    ///
    /// assert!(TenantId::new("research").is_ok() && TenantId::new("Re search").is_err());
    /// ```
    TenantId, check_tenant
}

impl TenantId {
    /// The tenant that local calls belong to while nothing else is configured.
    #[expect(clippy::missing_panics_doc, clippy::expect_used, reason = "the literal is a valid name")]
    pub fn default_tenant() -> Self {
        Self::new("default").expect("`default` is a valid tenant")
    }
}

/// Service names that are paths or services of the gateway itself.
pub const RESERVED_SERVICES: [&str; 6] = ["tools", "resources", "proxy", "oauth", "health", "gateway"];

impl ServiceName {
    /// The name of the gateway's own service, which cannot be registered.
    pub const GATEWAY: &str = "gateway";

    /// A service that a client may name: one that can be registered, or the gateway's own.
    pub fn asked(text: &str) -> Result<Self> {
        if text == Self::GATEWAY { Ok(Self(text.into())) } else { Self::new(text) }
    }

    /// Whether this is the gateway's own service.
    pub fn is_gateway(&self) -> bool {
        self.as_str() == Self::GATEWAY
    }
}

fn check_service(text: &str) -> Result<()> {
    check_name(text, "service")?;
    if RESERVED_SERVICES.contains(&text) {
        return Err(Error::new(ErrorKind::InvalidParams, "this service name is reserved; choose another")
            .with("service", text));
    }
    Ok(())
}

fn check_tenant(text: &str) -> Result<()> {
    check_name(text, "tenant")
}

fn check_name(text: &str, what: &'static str) -> Result<()> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'.' | b'-');
    let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = text.as_bytes();
    let valid = bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|c| inner(*c))
        && !text.contains("__");
    if valid {
        return Ok(());
    }
    let shown: String = text.chars().take(80).collect();
    Err(Error::new(
        ErrorKind::InvalidParams,
        "a name has 1 to 63 of a-z 0-9 _ . -, begins and ends with a letter or digit, and has no `__`",
    )
    .with(what, shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B-16: full names are one to one.
    #[test]
    fn a_service_name_that_could_be_read_two_ways_is_refused() {
        for bad in ["", "a__b", "-a", "a-", "A", "a b", "tools", "gateway", &"a".repeat(64)] {
            assert!(ServiceName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a_b", "a.b-c", "0", &"a".repeat(63)] {
            assert!(ServiceName::new(good).is_ok(), "{good:?}");
        }
    }
}
