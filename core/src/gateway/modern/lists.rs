//! The merged lists as modern clients get them: page by page, with how long they may be kept.
//!
//! A merged list shows what one tenant has, so nobody else may be given it, whatever the servers say of theirs. A cursor
//! names the last item of the page before it: a list that changes between two pages loses and repeats nothing else.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::Inner;
use super::super::catalog::{Item, items_of};
use super::super::snapshot::View;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{CapabilityKind, Principal, Reply, Route};
use crate::rpc::answer::result_response;
use crate::rpc::envelope::quote;
use crate::rpc::{Edit, Message, object};

/// Items of a page.
const PAGE: usize = 1000;

impl Inner {
    /// The answer to a list method on the aggregated route, or on that of a service of which the caller sees a part.
    ///
    /// [`ErrorKind::InvalidParams`] for a cursor that was not given here.
    pub(super) async fn list_modern(
        self: &Arc<Self>,
        route: &Route,
        kind: CapabilityKind,
        message: &Message,
        principal: &Principal,
    ) -> Result<Reply> {
        let params = message.params_members()?;
        let after = params.get("cursor").map(|raw| {
            let cursor = object::text(raw).and_then(|cursor| read(&cursor));
            cursor.ok_or_else(|| Error::new(ErrorKind::InvalidParams, "`cursor` was not given by this list"))
        });
        let after = after.transpose()?;
        let whole = self.own_list(route, principal, kind).await?;
        let view = self.sight(principal);
        let mut edit = Edit::of(&whole)?;
        // The list of one service comes in one piece.
        let aggregated = *route == Route::All;
        if let Some((items, next)) = page(&view, kind, after.as_ref(), PAGE).filter(|_| aggregated) {
            edit.set(kind.list_member(), items);
            if let Some(next) = next {
                edit.set("nextCursor", quote(&next));
            }
        }
        edit.set("resultType", r#""complete""#)
            .set("ttlMs", ttl(&view, kind).to_string())
            .set("cacheScope", r#""private""#);
        Ok(Reply::own(result_response(message.id().unwrap_or("null"), &edit.apply())))
    }
}

/// Milliseconds for which every server allows its list to be kept; 0 if one of them is silent, or of the legacy era.
fn ttl(view: &View, kind: CapabilityKind) -> u64 {
    let places = view.services.values().flat_map(|service| &service.places);
    let said = places.filter_map(|place| match &place.listing.modern {
        None => Some(0),
        Some(modern) => modern.freshness(kind).map(|said| said.ttl_ms),
    });
    said.min().unwrap_or(0)
}

/// The items behind `after`, as a raw array, and the cursor of the next page; `None` if the list is one page.
fn page(
    view: &View,
    kind: CapabilityKind,
    after: Option<&(String, String)>,
    size: usize,
) -> Option<(String, Option<String>)> {
    let all = items_of(view, kind);
    if after.is_none() && all.len() <= size {
        return None;
    }
    let start = after.map_or(0, |(service, name)| {
        let found = all.iter().position(|item| item.key() == (service, name));
        // Its item is gone: on with the next service, since nobody knows how far in its own the list had come.
        let next = || all.iter().position(|item| item.key().0 > service.as_str());
        found.map(|at| at + 1).or_else(next).unwrap_or(all.len())
    });
    let shown = &all[start..(start + size).min(all.len())];
    let items: Vec<_> = shown.iter().map(Item::render).collect();
    let more = start + shown.len() < all.len();
    let next = shown.last().filter(|_| more).map(|item| write(item.key().0, item.key().1));
    Some((format!("[{}]", items.join(",")), next))
}

fn write(service: &str, name: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{service}\n{name}"))
}

fn read(cursor: &str) -> Option<(String, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (service, name) = text.split_once('\n')?;
    Some((service.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_is_url_safe_and_says_what_was_written(service in "[a-z0-9.]{1,20}", name in any::<String>()) {
            let cursor = write(&service, &name);
            prop_assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            prop_assert_eq!(read(&cursor), Some((service, name)));
        }

        #[test]
        fn no_text_breaks_the_reader(cursor in any::<String>()) {
            let _ = read(&cursor);
        }
    }
}
