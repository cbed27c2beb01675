//! The documents that verbs take, where no other entry point takes the same.

use serde::Deserialize;

use crate::error::Result;
use crate::model::{HealthStatus, KeyId, Patch, Status};
use crate::registry::Filter;
use crate::views::between;
use crate::views::credential::NewCredential;
use crate::views::tenant::ChangedTenant;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub(super) server: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    pub(super) server: String,
    pub(super) changes: Patch,
    pub(super) revision: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    pub(super) server: String,
    pub(super) revision: Option<u64>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
pub(super) struct Listing {
    pub(super) page: Option<u32>,
    pub(super) limit: Option<u32>,
    pub(super) status: Option<Status>,
    pub(super) health_status: Option<HealthStatus>,
    pub(super) tags: Vec<String>,
    pub(super) search: Option<String>,
    pub(super) include_tools: bool,
    pub(super) include_resources: bool,
}

impl Listing {
    pub(super) fn filter(self) -> Result<Filter> {
        Ok(Filter {
            status: self.status,
            health_status: self.health_status,
            tags: self.tags,
            search: self.search.filter(|text| !text.is_empty()),
            page: between("page", self.page, 1, u32::MAX)?,
            limit: between("limit", self.limit, Filter::DEFAULT_LIMIT, Filter::MAX_LIMIT)?,
        })
    }
}

/// Names of one kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    pub(super) tools: Option<Vec<String>>,
    pub(super) resources: Option<Vec<String>>,
    pub(super) prompts: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    pub(super) query: String,
    pub(super) limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Offers {
    pub(super) kind: Offer,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Offer {
    Tools,
    Resources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    pub(super) server: String,
    pub(super) limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub(super) key: KeyId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    pub(super) page: Option<u32>,
    pub(super) limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) request_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tenant {
    pub(super) tenant: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TenantChange {
    pub(super) tenant: String,
    pub(super) changes: ChangedTenant,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetCredential {
    pub(super) server: String,
    pub(super) credential: NewCredential,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichCredential {
    pub(super) server: String,
    pub(super) header: String,
    pub(super) subject: Option<String>,
}

/// A login, and the page of the host's that the authorization server sends the browser back to.
#[cfg(feature = "oauth")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    pub(super) server: String,
    pub(super) redirect_uri: String,
    pub(super) subject: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) client_secret: Option<String>,
    pub(super) client_metadata_url: Option<String>,
    #[serde(default)]
    pub(super) scopes: Vec<String>,
}

/// The parameters that the browser brought back to that page.
#[cfg(feature = "oauth")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginAnswered {
    pub(super) state: String,
    pub(super) code: String,
    pub(super) iss: Option<String>,
    /// The address of the page at which the browser arrived: the one that `begin_login` answered.
    pub(super) redirect_uri: Option<String>,
}
