//! The verbs: what each takes and gives. One line a verb; what is done is done above.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{House, identity, mcp};
use crate::document::found::{
    OfferedResources, OfferedTools, Part, PromptAnswer, ResourceAnswer, SearchAnswer, ToolAnswer,
};
use crate::document::health::{HealthCheckAnswer, HealthHistory};
use crate::document::key::{KeyView, KeyWish, KeysAnswer, NewKeyAnswer};
use crate::document::server::{Definitions, ListAnswer, ServerView, update_shown};
use crate::document::traffic::{ActiveAnswer, MetricsAnswer};
use crate::document::{self, between};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{HealthStatus, KeyId, Patch, Registration, Status};
use crate::registry::Filter;
use crate::store::HEALTH_HISTORY;

/// What can be asked of a gateway with one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Own(Own),
    Mcp(mcp::Verb),
}

macro_rules! verbs {
    ($($name:literal $verb:ident,)+) => {
        /// Verbs of the gateway's own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Own { $($verb,)+ }

        impl Own {
            const ALL: &'static [(&'static str, Self)] = &[$(($name, Self::$verb),)+];
        }
    };
}

verbs! {
    "register" Register,
    "update" Update,
    "remove" Remove,
    "approve" Approve,
    "get" Get,
    "list" List,
    "find" Find,
    "search" Search,
    "offered" Offered,
    "capabilities" Capabilities,
    "discover" Discover,
    "health" Health,
    "health_history" HealthHistory,
    "create_key" CreateKey,
    "get_key" GetKey,
    "list_keys" ListKeys,
    "rotate_key" RotateKey,
    "revoke_key" RevokeKey,
    "stats" Stats,
    "metrics" Metrics,
    "active_requests" ActiveRequests,
    "cancel_request" CancelRequest,
    "authenticate" Authenticate,
    "authorize" Authorize,
}

impl Verb {
    pub(super) fn named(name: &str) -> Result<Self> {
        let own = Own::ALL.iter().find(|(own, _)| *own == name).map(|(_, verb)| Self::Own(*verb));
        own.or_else(|| mcp::Verb::named(name).map(Self::Mcp)).ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            Error::new(ErrorKind::MethodNotFound, "the gateway has no such verb").with("verb", shown)
        })
    }

    pub(super) async fn perform(self, house: &House, input: &Bytes) -> Result<Bytes> {
        let input: &[u8] = if input.is_empty() { b"{}" } else { input };
        match self {
            Self::Mcp(verb) => verb.perform(house, input).await,
            Self::Own(verb) => Box::pin(verb.perform(house, input)).await,
        }
    }
}

impl Own {
    async fn perform(self, house: &House, input: &[u8]) -> Result<Bytes> {
        let (gateway, caller) = (&house.gateway, &house.caller);
        let shown = |server| written(&ServerView::shown(gateway, caller, server));
        match self {
            Self::Register => {
                let registration: Registration = read(input)?;
                shown(&*gateway.register(caller, registration).await?)
            }
            Self::Update => {
                let asked: Change = read(input)?;
                let current = gateway.named(caller, &asked.server)?;
                shown(&*update_shown(gateway, caller, &current, asked.changes, asked.revision).await?)
            }
            Self::Remove => {
                let asked: Removal = read(input)?;
                let id = gateway.named(caller, &asked.server)?.id;
                written(&gateway.remove(caller, id, asked.revision).await?)
            }
            Self::Approve => shown(&*gateway.approve(caller, one(house, input)?).await?),
            Self::Get => shown(&*gateway.get(caller, one(house, input)?)?),
            Self::List => {
                let asked: Listing = read(input)?;
                let (tools, resources) = (asked.include_tools, asked.include_resources);
                written(&ListAnswer::of(gateway, caller, &asked.filter()?, tools, resources)?)
            }
            Self::Find => match read(input)? {
                Question { tools: Some(names), resources: None, prompts: None } => {
                    written(&ToolAnswer::of(gateway, caller, names)?)
                }
                Question { tools: None, resources: Some(names), prompts: None } => {
                    written(&ResourceAnswer::of(gateway, caller, names)?)
                }
                Question { tools: None, resources: None, prompts: Some(names) } => {
                    written(&PromptAnswer::of(gateway, caller, names)?)
                }
                Question { .. } => {
                    let message = "ask for `tools`, for `resources` or for `prompts`: for one of the three";
                    Err(Error::new(ErrorKind::InvalidParams, message))
                }
            },
            Self::Search => {
                let asked: Search = read(input)?;
                written(&SearchAnswer::of(gateway, caller, asked.query, asked.limit)?)
            }
            Self::Offered => match read::<Offers>(input)?.kind {
                Offer::Tools => written(&OfferedTools::of(gateway, caller, Part::All)?),
                Offer::Resources => written(&OfferedResources::of(gateway, caller, Part::All)?),
            },
            Self::Capabilities => {
                written(&Definitions::of(&gateway.capabilities(caller, one(house, input)?)?))
            }
            Self::Discover => written(&Definitions::of(&gateway.discover(caller, one(house, input)?).await?)),
            Self::Health => {
                let id = one(house, input)?;
                written(&HealthCheckAnswer::new(*id.as_uuid(), gateway.health_check(caller, id).await?))
            }
            Self::HealthHistory => {
                let asked: History = read(input)?;
                let id = gateway.named(caller, &asked.server)?.id;
                let limit = between("limit", asked.limit, HEALTH_HISTORY, HEALTH_HISTORY)?;
                let records = gateway.health_history(caller, id, limit).await?;
                written(&HealthHistory::new(*id.as_uuid(), records))
            }
            Self::CreateKey => {
                let wish: KeyWish = read(input)?;
                let made = gateway.create_key(caller, wish.key()).await?;
                written(&NewKeyAnswer::new(made, gateway.clock().timestamp()))
            }
            Self::GetKey => {
                let key = gateway.key(caller, read::<Key>(input)?.key).await?;
                written(&KeyView::new(key, gateway.clock().timestamp()))
            }
            Self::ListKeys => {
                let asked: Page = read(input)?;
                written(&KeysAnswer::of(gateway, caller, asked.page, asked.limit).await?)
            }
            Self::RotateKey => {
                let made = gateway.rotate_key(caller, read::<Key>(input)?.key).await?;
                written(&NewKeyAnswer::new(made, gateway.clock().timestamp()))
            }
            Self::RevokeKey => written(&gateway.revoke_key(caller, read::<Key>(input)?.key).await?),
            Self::Stats => written(&gateway.stats(caller)?),
            Self::Metrics => written(&MetricsAnswer::of(gateway, caller)?),
            Self::ActiveRequests => written(&ActiveAnswer::of(gateway, caller)?),
            Self::CancelRequest => written(&gateway.cancel(caller, &read::<Request>(input)?.request_id)?),
            Self::Authenticate => written(&identity::authenticate(house, &read(input)?).await?),
            Self::Authorize => written(&identity::authorize(house, &read(input)?).await?),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(input: &[u8]) -> Result<T> {
    document::read(input, "the document")
}

fn written(document: &impl Serialize) -> Result<Bytes> {
    document::write(document).map(Into::into)
}

/// The server that `{server}` names, by its id or its name.
fn one(house: &House, input: &[u8]) -> Result<crate::model::ServerId> {
    let asked: Named = read(input)?;
    Ok(house.gateway.named(&house.caller, &asked.server)?.id)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    server: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    server: String,
    changes: Patch,
    revision: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    server: String,
    revision: Option<u64>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Listing {
    page: Option<u32>,
    limit: Option<u32>,
    status: Option<Status>,
    health_status: Option<HealthStatus>,
    tags: Vec<String>,
    search: Option<String>,
    include_tools: bool,
    include_resources: bool,
}

impl Listing {
    fn filter(self) -> Result<Filter> {
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
struct Question {
    tools: Option<Vec<String>>,
    resources: Option<Vec<String>>,
    prompts: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    query: String,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Offers {
    kind: Offer,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Offer {
    Tools,
    Resources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    server: String,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key: KeyId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    page: Option<u32>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    request_id: String,
}
