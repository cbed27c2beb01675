//! One page of an MCP list, from its raw result.

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Capability, CapabilityKind};
use crate::registry::items::{self, Excluded, Items, Repaired};
use crate::rpc::Members;

/// One page of a list.
#[derive(Clone, Debug)]
pub struct ListPage {
    /// The items that can be used, each definition byte for byte.
    pub items: Vec<Capability>,
    /// Where the next page begins, as it stands there; `None` on the last page. An empty text is a cursor like any other, and so
    /// is a number.
    pub next_cursor: Option<String>,
    /// The items that cannot be used, with the reasons.
    pub excluded: Vec<Excluded>,
    /// The items that were repaired.
    pub repaired: Vec<Repaired>,
}

/// Reads the raw `result` of the list of `kind`.
///
/// Errors: [`ErrorKind::BadUpstream`] if it is not an object with the list in it. A bad item is no error: it is
/// in [`ListPage::excluded`].
pub fn parse_list(kind: CapabilityKind, result_raw: &str) -> Result<ListPage> {
    let bad =
        |message: String| Error::new(ErrorKind::BadUpstream, message).with("method", kind.list_method());
    let members = Members::parse(result_raw)
        .map_err(|error| bad(format!("the server's answer is not a list: {error}")))?;
    // An answer that leaves the list out has no items.
    let list = members.get(kind.list_member()).unwrap_or("null");
    let Items { items, mut excluded, repaired } =
        items::items(kind, list).map_err(|error| bad(error.message().to_owned()))?;
    let next_cursor = match members.get("nextCursor") {
        None | Some("null" | "false") => None,
        Some(cursor) if cursor.starts_with('"') || cursor.parse::<f64>().is_ok() => Some(cursor.to_owned()),
        Some(_) => {
            let reason = "the list was cut: its `nextCursor` is not a string".to_owned();
            excluded.push(Excluded { kind, name: String::new(), reason, is_list: true });
            None
        }
    };
    Ok(ListPage { items, next_cursor, excluded, repaired })
}
