//! Revisions of the protocol, and the two eras that they belong to.

/// How a revision opens a conversation, and who may ask whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// Opens with `initialize`; then a session, in which both sides ask.
    Legacy,
    /// Nothing opens it: every request says in its `_meta` what the other side must know, and only clients ask.
    Modern,
}

/// Revisions that open with `initialize`, oldest first.
pub const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// The newest revision that opens with `initialize`.
pub const LATEST_LEGACY: &str = "2025-11-25";

/// The revision to answer a client that asks for `requested`: the same if it is spoken here, else the newest
/// legacy one, as the specification's version negotiation demands.
pub fn negotiate(requested: &str) -> &'static str {
    LEGACY.iter().copied().find(|version| *version == requested).unwrap_or(LATEST_LEGACY)
}
