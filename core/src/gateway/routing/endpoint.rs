//! The resolution of an endpoint to a part of the view of a caller.

use std::sync::Arc;

use super::service::Service;
use super::snapshot::View;
use crate::error::Result;
use crate::gateway::Core;
use crate::model::{Endpoint, Principal};

impl View {
    /// The one service that the endpoint stands for; `None` if it puts several together.
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it stands for one that the caller does not see.
    pub(crate) fn service_at(&self, endpoint: &Endpoint) -> Result<Option<&Arc<Service>>> {
        endpoint.service().map(|name| self.service(name.as_str())).transpose()
    }
}

impl Core {
    /// Whether the gateway makes the lists of this endpoint itself, rather than pass on a server's: several services are put
    /// together, or something is kept from the caller.
    pub(crate) fn makes_lists(&self, endpoint: &Endpoint, principal: &Principal) -> bool {
        endpoint.service().is_none_or(|name| self.is_veiled(principal, name))
    }
}
