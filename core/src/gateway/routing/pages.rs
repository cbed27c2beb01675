//! The merged lists page by page.
//!
//! A cursor names the last item of the page before it: so items that come or go elsewhere in the list are neither lost nor
//! repeated, and the cursor reveals nothing that the list did not. If that item itself is gone, the client's position is unknown,
//! and it begins anew.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::catalog::{Item, array, items_of};
use super::snapshot::View;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::model::{CapabilityKind, Endpoint, Principal};
use crate::rpc::envelope::quote;
use crate::rpc::{Edit, Message, object};

/// Items of a page.
const PAGE: usize = 1000;

impl Core {
    /// The `result` of a list that the gateway answers itself: the page for which `message` asks.
    ///
    /// [`ErrorKind::InvalidParams`] for a cursor that this list did not return, or whose item is gone.
    pub(crate) async fn listed(
        self: &Arc<Self>,
        route: &Endpoint,
        kind: CapabilityKind,
        message: &Message,
        principal: &Principal,
    ) -> Result<String> {
        let after = message.params_members()?.get("cursor").map(|raw| {
            // The list of one service comes in one piece.
            let given = object::text(raw).filter(|_| route.is_aggregated());
            given.and_then(|cursor| read(&cursor)).ok_or_else(stale)
        });
        let after = after.transpose()?;
        let whole = self.own_list(route, principal, kind).await?;
        if !route.is_aggregated() {
            return Ok(whole);
        }
        let view = self.router.view_for(principal);
        let Some(page) = page(&view, kind, after.as_ref(), PAGE)? else { return Ok(whole) };
        let mut edit = Edit::of(&whole)?;
        // The gateway's own items follow all others.
        let own =
            if page.next.is_none() { self.builtin_items(route, principal, kind) } else { String::new() };
        edit.set(kind.list_member(), array(&page.items, &own));
        if let Some(next) = page.next {
            edit.set("nextCursor", quote(&next));
        }
        Ok(edit.apply())
    }
}

/// A part of a list.
struct ListPage {
    /// Separated by commas.
    items: String,
    /// The cursor of the next page.
    next: Option<String>,
}

/// The items behind `after`; `None` if the list is one page.
fn page(
    view: &View,
    kind: CapabilityKind,
    after: Option<&(String, String)>,
    size: usize,
) -> Result<Option<ListPage>> {
    let all = items_of(view, kind);
    if after.is_none() && all.len() <= size {
        return Ok(None);
    }
    let start = match after {
        None => 0,
        Some((service, name)) => {
            all.iter().position(|item| item.key() == (service, name)).ok_or_else(stale)? + 1
        }
    };
    let shown = &all[start..(start + size).min(all.len())];
    let items: Vec<_> = shown.iter().map(Item::render).collect();
    let more = start + shown.len() < all.len();
    let next = shown.last().filter(|_| more).map(|item| write(item.key().0, item.key().1));
    Ok(Some(ListPage { items: items.join(","), next }))
}

fn stale() -> Error {
    let text = "`cursor` was not given by this list, or the list has changed since; ask for its first page";
    Error::new(ErrorKind::InvalidParams, text)
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
