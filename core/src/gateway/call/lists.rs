//! Lists that are passed on from a server: in the form that clients can read.

use crate::model::CapabilityKind;
use crate::registry::items::mended_list;
use crate::rpc::{Message, Method, Splice};

/// The kind that a list method lists.
pub(crate) fn list_kind(method: &Method) -> Option<CapabilityKind> {
    CapabilityKind::ALL.into_iter().find(|kind| kind.list_method() == method.as_str())
}

/// The answer to `method` with its items repaired; `None` if it is no list, or needs no repair.
pub(crate) fn mended(method: &Method, answer: &Message) -> Option<Message> {
    let kind = list_kind(method)?;
    let result = answer.result()?;
    let list = mended_list(kind, result)?;
    let mut splice = Splice::new();
    splice.replace(answer.range_of(result), list);
    Message::parse(splice.apply(answer.bytes())).ok()
}
