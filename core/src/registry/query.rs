//! Lists of servers, filtered and cut into pages.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{HealthStatus, Server, Status};

/// The servers that a list shows. Absent conditions do not restrict.
///
/// ```
/// use mcp_registry_gateway::{Caller, Filter, Gateway, Registration};
///
/// # #[tokio::main]
/// # async fn main() -> mcp_registry_gateway::Result<()> {
/// let docs = Registration { tags: vec!["eu".into()], ..Registration::at("docs", "http://127.0.0.1:9000/mcp") };
/// let gateway = Gateway::builder().server(docs).open().await?;
/// let found = |tag: &str| {
///     let filter = Filter { tags: vec![tag.into()], ..Filter::default() };
///     gateway.list(&Caller::local(), &filter).map(|page| page.total)
/// };
/// assert_eq!((found("eu")?, found("us")?), (1, 0));
/// # gateway.close().await;
/// # Ok(())
/// # }
/// ```
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

    /// Whether there is any condition.
    pub(crate) fn restricts(&self) -> bool {
        let Self { status, health_status, tags, search, page: _, limit: _ } = self;
        status.is_some() || health_status.is_some() || !tags.is_empty() || search.is_some()
    }

    /// Which page it is, how many servers one has, and how many are before it.
    pub(super) fn place(&self) -> Result<(u32, u32, u64)> {
        let limit = if self.limit == 0 { Self::DEFAULT_LIMIT } else { self.limit };
        if limit > Self::MAX_LIMIT {
            let message = "a page has at most 200 servers; ask for more pages";
            return Err(Error::new(ErrorKind::InvalidParams, message).with("limit", limit));
        }
        let page = self.page.max(1);
        Ok((page, limit, u64::from(page - 1) * u64::from(limit)))
    }
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
