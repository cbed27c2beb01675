//! Lists of servers, filtered and cut into pages.

use std::sync::Arc;

use crate::model::{HealthStatus, Server, Status};

/// Which servers a list shows. Absent conditions do not restrict.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this operator state.
    pub status: Option<Status>,
    /// Only of this observed health.
    pub health_status: Option<HealthStatus>,
    /// Only those that have all of these tags.
    pub tags: Vec<String>,
    /// Only those whose name, service, display name or description contains this, without regard to case.
    pub search: Option<String>,
    /// Which page, from 1; 0 is taken as 1.
    pub page: u32,
    /// Servers a page: 1 to [`Filter::MAX_LIMIT`]; 0 is taken as [`Filter::DEFAULT_LIMIT`], more is an error.
    pub limit: u32,
}

impl Filter {
    /// Servers a page unless said.
    pub const DEFAULT_LIMIT: u32 = 50;
    /// Servers a page at most.
    pub const MAX_LIMIT: u32 = 200;
}

/// One page of a list, ordered by name.
#[derive(Clone, Debug)]
pub struct Page {
    /// The servers of this page.
    pub servers: Vec<Arc<Server>>,
    /// How many match in all.
    pub total: u64,
    /// Which page this is.
    pub page: u32,
    /// Servers a page.
    pub limit: u32,
}
