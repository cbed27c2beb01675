//! Revisions of the protocol.

/// Revisions that open with `initialize`, oldest first.
pub const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// The newest revision that opens with `initialize`.
pub const LATEST_LEGACY: &str = "2025-11-25";

/// The revision to answer a client that asks for `requested`: the same if it is spoken here, else the newest
/// legacy one, as the specification's version negotiation demands.
pub fn negotiate(requested: &str) -> &'static str {
    LEGACY.iter().copied().find(|version| *version == requested).unwrap_or(LATEST_LEGACY)
}
