//! The verbs: the documents that each takes and returns. The work is done above.

use bytes::Bytes;
use serde::Serialize;

use super::governing::Governing;
use super::requests::{
    Change, History, Key, Listing, Named, Nothing, Offer, Offers, Page, Question, Removal, Request, Search,
};
use super::{OpenGateway, identity, mcp};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Registration;
use crate::store::HEALTH_HISTORY;
use crate::views::diagnosis::DiagnosisView;
use crate::views::found::{
    OfferedResources, OfferedTools, Part, PromptAnswer, ResourceAnswer, SearchAnswer, ToolAnswer,
};
use crate::views::health::{HealthCheckAnswer, HealthHistory};
use crate::views::key::{KeyView, KeyWish, KeysAnswer, NewKeyAnswer};
use crate::views::server::{Definitions, ListAnswer, ServerView, update_shown};
use crate::views::traffic::{ActiveAnswer, MetricsAnswer};
use crate::views::{self, between};

/// A question or command for a gateway in one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Own(Own),
    Governing(Governing),
    Mcp(mcp::Verb),
}

/// Makes an enumeration of verbs out of the table of their names.
macro_rules! table {
    ($(#[$doc:meta])* $enum:ident $($(#[$attribute:meta])* $name:literal $verb:ident,)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $enum { $($(#[$attribute])* $verb,)+ }

        impl $enum {
            pub(super) const ALL: &'static [(&'static str, Self)] = &[$($(#[$attribute])* ($name, Self::$verb),)+];

            pub(super) fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().find(|(own, _)| *own == name).map(|(_, verb)| *verb)
            }
        }
    };
}
pub(super) use table;

table! {
    /// Verbs about servers, keys and operations under way.
    Own
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
    "diagnose" Diagnose,
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
        let own = Own::named(name).map(Self::Own);
        let governing = || Governing::named(name).map(Self::Governing);
        let mcp = || mcp::Verb::named(name).map(Self::Mcp);
        own.or_else(governing).or_else(mcp).ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            Error::new(ErrorKind::MethodNotFound, "the gateway has no such operation").with("verb", shown)
        })
    }

    pub(super) async fn perform(self, house: &OpenGateway, input: &Bytes) -> Result<Bytes> {
        let input: &[u8] = if input.is_empty() { b"{}" } else { input };
        match self {
            Self::Mcp(verb) => verb.perform(house, input).await,
            Self::Governing(verb) => Box::pin(verb.perform(house, input)).await,
            Self::Own(verb) => Box::pin(verb.perform(house, input)).await,
        }
    }
}

impl Own {
    async fn perform(self, house: &OpenGateway, input: &[u8]) -> Result<Bytes> {
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
            Self::Diagnose => {
                let diagnosis = gateway.diagnose(caller, one(house, input)?).await?;
                written(&DiagnosisView::from(diagnosis))
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
            Self::Stats => nothing(input).and_then(|()| written(&gateway.stats(caller)?)),
            Self::Metrics => nothing(input).and_then(|()| written(&MetricsAnswer::of(gateway, caller)?)),
            Self::ActiveRequests => {
                nothing(input).and_then(|()| written(&ActiveAnswer::of(gateway, caller)?))
            }
            Self::CancelRequest => written(&gateway.cancel(caller, &read::<Request>(input)?.request_id)?),
            Self::Authenticate => written(&identity::authenticate(house, &read(input)?).await?),
            Self::Authorize => written(&identity::authorize(house, &read(input)?).await?),
        }
    }
}

pub(super) fn read<T: serde::de::DeserializeOwned>(input: &[u8]) -> Result<T> {
    views::read(input, "the document")
}

/// Reads the document of a verb that takes nothing.
pub(super) fn nothing(input: &[u8]) -> Result<()> {
    read::<Nothing>(input).map(|Nothing {}| ())
}

pub(super) fn written(document: &impl Serialize) -> Result<Bytes> {
    views::write(document).map(Into::into)
}

/// The server that `{server}` names, by its id or its name.
pub(super) fn one(house: &OpenGateway, input: &[u8]) -> Result<crate::model::ServerId> {
    let asked: Named = read(input)?;
    Ok(house.gateway.named(&house.caller, &asked.server)?.id)
}
