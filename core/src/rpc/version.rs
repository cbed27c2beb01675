//! Revisions of the protocol, and the two eras that they belong to.

/// How a revision opens a conversation, and which side may send requests to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// Opens with `initialize`; then a session, in which both sides ask.
    Legacy,
    /// Nothing opens it: every request has all that the other side must know in its `_meta`, and only clients send requests.
    Modern,
}

impl Era {
    /// The era of a revision; `None` for one that is not spoken here.
    pub fn of(version: &str) -> Option<Self> {
        if version == MODERN {
            return Some(Self::Modern);
        }
        LEGACY.contains(&version).then_some(Self::Legacy)
    }
}

/// The revision in which every request is complete in itself.
pub const MODERN: &str = "2026-07-28";

/// Revisions that open with `initialize`, oldest first.
pub const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// Every revision that is spoken here, newest first.
pub fn supported() -> Vec<&'static str> {
    std::iter::once(MODERN).chain(LEGACY.iter().rev().copied()).collect()
}

/// The newest revision that opens with `initialize`.
pub const LATEST_LEGACY: &str = "2025-11-25";

/// The revision to answer a client that asks for `requested`: the same if it is spoken here, else the newest
/// legacy one, as the specification's version negotiation demands.
pub fn negotiate(requested: &str) -> &'static str {
    LEGACY.iter().copied().find(|version| *version == requested).unwrap_or(LATEST_LEGACY)
}
