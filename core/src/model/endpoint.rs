//! The endpoint that a client connects to. No code outside of this file can match on the kinds of endpoints, so a further kind, such
//! as a selection of services, is a change of this file alone.

use super::ServiceName;

/// The target of a client connection: everything that the client may see, or one service.
///
/// ```
/// use mcp_registry_gateway::model::{Endpoint, ServiceName};
///
/// let docs = ServiceName::new("docs")?;
/// let (all, one) = (Endpoint::all(), Endpoint::of(docs.clone()));
/// assert!(all.prefixes_names() && all.covers(&docs));
/// assert_eq!(one.service(), Some(&docs));
/// # Ok::<_, mcp_registry_gateway::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    All,
    Service(ServiceName),
}

impl Endpoint {
    /// `/mcp`: everything that the caller may see, names prefixed `service__`.
    pub const fn all() -> Self {
        Self(Kind::All)
    }

    /// `/mcp/{service}`: one service, names untouched.
    pub const fn of(service: ServiceName) -> Self {
        Self(Kind::Service(service))
    }

    /// The one service that it stands for; `None` if it puts several together.
    pub fn service(&self) -> Option<&ServiceName> {
        match &self.0 {
            Kind::All => None,
            Kind::Service(service) => Some(service),
        }
    }

    /// Whether it puts several services together, so that the gateway makes the lists and looks up who has what is named.
    pub fn is_aggregated(&self) -> bool {
        self.service().is_none()
    }

    /// Whether tools and prompts are named `service__name` here.
    pub fn prefixes_names(&self) -> bool {
        self.is_aggregated()
    }

    /// Whether the service is, or is part of, what it stands for.
    pub fn covers(&self, service: &ServiceName) -> bool {
        match &self.0 {
            Kind::All => true,
            Kind::Service(own) => own == service,
        }
    }

    /// The text that tells it from all other endpoints.
    pub fn describe(&self) -> &str {
        match &self.0 {
            Kind::All => "",
            Kind::Service(service) => service.as_str(),
        }
    }
}
