//! One page of an MCP list, from its raw result.

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Capability, CapabilityKind};
use crate::registry::items::{self, Excluded};
use crate::rpc::Members;

/// One page of a list.
#[derive(Clone, Debug)]
pub struct ListPage {
    /// The items that can be used, each definition byte for byte.
    pub items: Vec<Capability>,
    /// Where the next page begins; `None` on the last page. An empty text is a cursor like any other.
    pub next_cursor: Option<String>,
    /// The items that cannot be used, with the reasons.
    pub excluded: Vec<Excluded>,
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
    let list = members
        .get(kind.list_member())
        .ok_or_else(|| bad(format!("the server's answer has no `{}`", kind.list_member())))?;
    let (items, excluded) = items::items(kind, list).map_err(|error| bad(error.message().to_owned()))?;
    let next_cursor = match members.get("nextCursor") {
        None | Some("null") => None,
        Some(_) => Some(
            members
                .text("nextCursor")
                .ok_or_else(|| bad("the server's `nextCursor` is not a string".into()))?
                .into_owned(),
        ),
    };
    Ok(ListPage { items, next_cursor, excluded })
}
