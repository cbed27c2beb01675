//! The merged lists as modern clients get them: with how long they may be kept.
//!
//! A merged list holds the items of one tenant, so nobody else may be given it, whatever the servers declare for theirs.

use std::sync::Arc;

use crate::error::Result;
use crate::gateway::Core;
use crate::gateway::routing::snapshot::View;
use crate::model::{CapabilityKind, Endpoint, Principal, Reply};
use crate::rpc::answer::result_response;
use crate::rpc::{Edit, Message};

impl Core {
    /// The answer to a list method on the aggregated route, or on that of a service of which the caller sees a part. Errors as
    /// of [`Core::listed`].
    pub(super) async fn list_modern(
        self: &Arc<Self>,
        route: &Endpoint,
        kind: CapabilityKind,
        message: &Message,
        principal: &Principal,
    ) -> Result<Reply> {
        let page = self.listed(route, kind, message, principal).await?;
        let mut edit = Edit::of(&page)?;
        // Items of before the start are not to be kept for long: their servers are being asked.
        let is_stale = !self.discoveries.are_confirmed();
        let ttl = if is_stale { 0 } else { ttl(&self.router.view_for(principal), kind) };
        edit.set("resultType", r#""complete""#)
            .set("ttlMs", ttl.to_string())
            .set("cacheScope", r#""private""#);
        Ok(Reply::own(result_response(message.id().unwrap_or("null"), &edit.apply())))
    }
}

/// Milliseconds for which every server allows its list to be kept; 0 if one of them is silent, or of the legacy era.
fn ttl(view: &View, kind: CapabilityKind) -> u64 {
    let replicas = view.services.values().flat_map(|service| &service.replicas);
    let said = replicas.filter_map(|replica| match &replica.listing.modern {
        None => Some(0),
        Some(modern) => modern.freshness(kind).map(|said| said.ttl_ms),
    });
    said.min().unwrap_or(0)
}
