//! What legacy clients do besides calls: they open sessions, hear what servers tell them, and answer what servers ask.

pub(super) mod hearing;
pub(super) mod opening;
pub(super) mod conversation;
pub(super) mod client_connection;
