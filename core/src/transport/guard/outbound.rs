//! `[outbound]`: addresses that may be connected to although they are not just any machine of the internet.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::class::effective;
use super::command::Folder;
use crate::error::{Error, ErrorKind};

/// The addresses that may be connected to, besides the internet, once the gateway is shared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// Networks (`10.1.0.0/16`), addresses and names (`tools.internal`, `*.svc.cluster.local`) inside which every tenant may
    /// register servers. Once others can register servers, the gateway connects to the internet and to these alone.
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub allow: Vec<Allowed>,
    /// The same for one tenant alone: `tenants = { acme = ["10.2.0.0/16"] }`.
    #[cfg_attr(feature = "server", schema(value_type = Object))]
    pub tenants: BTreeMap<String, Vec<Allowed>>,
    /// Ports of other services than HTTP that may be connected to all the same.
    pub ports: Vec<u16>,
    /// The folder, by its whole path, whose files callers below administrator may name in `configuration.ca_file`. Links that
    /// lead out of it are not followed.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub ca_folder: Option<Folder>,
}

/// One entry of an allow-list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Allowed {
    /// Addresses, whatever name led to them.
    Network(IpNet),
    /// A name, whatever it resolves to.
    Name(String),
    /// Every name below this one.
    Below(String),
}

impl Allowed {
    /// Whether `address`, or the IPv4 address inside it, is one of these.
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        matches!(self, Self::Network(net) if net.contains(&address) || net.contains(&effective(address)))
    }

    /// Whether `name`, in lower case and without a dot at its end, is one of these.
    pub(super) fn has_name(&self, name: &str) -> bool {
        match self {
            Self::Network(_) => false,
            Self::Name(allowed) => allowed == name,
            Self::Below(above) => {
                name.strip_suffix(above.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
        }
    }
}

impl FromStr for Allowed {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
        };
        let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit()));
        if numeric || !name.split('.').all(label) {
            let message = "expected a network such as `10.1.0.0/16`, an address, a name, or `*.` and a name";
            return Err(Error::new(ErrorKind::InvalidParams, message).with("found", text));
        }
        let name = name.to_ascii_lowercase();
        Ok(if below { Self::Below(name) } else { Self::Name(name) })
    }
}

impl TryFrom<String> for Allowed {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Allowed> for String {
    fn from(allowed: Allowed) -> Self {
        allowed.to_string()
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(net) => net.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_network_an_address_or_a_name() {
        for (text, shown) in [
            ("10.1.2.3/16", "10.1.0.0/16"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("fd00::/8", "fd00::/8"),
            ("Tools.Internal", "tools.internal"),
            ("*.svc.cluster.local", "*.svc.cluster.local"),
        ] {
            assert_eq!(text.parse::<Allowed>().unwrap().to_string(), shown);
        }
        for wrong in ["", "10.1", "127.1", "*", "*.", "a..b", "http://a", "a b", "10.0.0.0/33", "a/8", "a.1"]
        {
            assert!(wrong.parse::<Allowed>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_entry_has_what_it_names_and_nothing_beside_it() {
        let below: Allowed = "*.corp.example".parse().unwrap();
        assert!(below.has_name("a.corp.example") && below.has_name("a.b.corp.example"));
        for other in ["corp.example", ".corp.example", "evilcorp.example", "a.corp.example.evil"] {
            assert!(!below.has_name(other), "{other}");
        }
        let network: Allowed = "10.0.0.0/8".parse().unwrap();
        assert!(network.has_address("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!network.has_address("11.0.0.1".parse().unwrap()) && !network.has_name("10.0.0.1"));
    }
}
