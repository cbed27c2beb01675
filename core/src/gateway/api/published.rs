//! The caller's services as a registry publishes servers: for editors that look for servers to connect to.

use std::ops::Bound;

use jiff::Timestamp;

use crate::auth::Operation;
use crate::error::Result;
use crate::gateway::routing::service::Service;
use crate::gateway::{Caller, Gateway};
use crate::model::{HealthStatus, ServiceName};

/// The services that a page shows. Absent conditions do not restrict.
#[derive(Clone, Debug, Default)]
pub struct PublishedFilter {
    /// Only those whose names come after this one.
    pub after: Option<ServiceName>,
    /// Only those whose name, title or description contains this, without regard to case.
    pub search: Option<String>,
    /// Only those that were changed after this.
    pub updated_since: Option<Timestamp>,
    /// Only those of exactly this version.
    pub version: Option<String>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its name: it is reached at `/mcp/{service}`.
    pub service: ServiceName,
    /// The name for people, as its oldest server has it.
    pub title: Option<String>,
    /// The description, as its oldest server has it.
    pub description: Option<String>,
    /// As its oldest server has it.
    pub version: Option<String>,
    /// When its first server was registered.
    pub published_at: Timestamp,
    /// When one of its servers was last changed.
    pub updated_at: Timestamp,
    /// Its servers.
    pub servers: usize,
    /// Those of them that were healthy when last probed.
    pub healthy: usize,
}

impl Gateway {
    /// The first `limit` services that match, ordered by name, and whether there are more.
    pub fn published(
        &self,
        caller: &Caller,
        filter: &PublishedFilter,
        limit: usize,
    ) -> Result<(Vec<Published>, bool)> {
        caller.may(Operation::ServersRead)?;
        let view = self.0.router.view_for(&caller.principal);
        let search = filter.search.as_ref().map(|text| text.to_lowercase());
        let after = filter.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let mut found: Vec<Published> = view
            .services
            .range((after, Bound::Unbounded))
            .filter(|(name, service)| search.as_ref().is_none_or(|text| contains(name, service, text)))
            .filter_map(|(name, service)| published(name, service))
            .filter(|published| {
                filter.updated_since.is_none_or(|since| published.updated_at > since)
                    && filter.version.as_ref().is_none_or(|v| published.version.as_ref() == Some(v))
            })
            .take(limit + 1)
            .collect();
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    /// The service of this name, if the caller has one.
    pub fn published_one(&self, caller: &Caller, name: &ServiceName) -> Result<Option<Published>> {
        caller.may(Operation::ServersRead)?;
        let view = self.0.router.view_for(&caller.principal);
        Ok(view.services.get(name).and_then(|service| published(name, service)))
    }
}

fn published(name: &ServiceName, service: &Service) -> Option<Published> {
    let servers = || service.replicas.iter().map(|replica| &replica.server);
    let oldest = servers().next()?;
    Some(Published {
        service: name.clone(),
        title: oldest.display_name.clone(),
        description: oldest.description.clone(),
        version: oldest.version.clone(),
        published_at: oldest.created_at,
        updated_at: servers().map(|server| server.updated_at).max()?,
        servers: service.replicas.len(),
        healthy: servers().filter(|server| server.health_status == HealthStatus::Healthy).count(),
    })
}

fn contains(name: &ServiceName, service: &Service, text: &str) -> bool {
    let Some(oldest) = service.replicas.first().map(|replica| &replica.server) else { return false };
    name.as_str().contains(text)
        || [&oldest.display_name, &oldest.description]
            .into_iter()
            .flatten()
            .any(|part| part.to_lowercase().contains(text))
}
