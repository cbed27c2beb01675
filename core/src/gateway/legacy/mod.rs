//! Legacy clients besides their calls: they open sessions, receive messages of servers, and answer requests of servers.

pub(super) mod hearing;
pub(super) mod opening;
pub(super) mod initialize;
pub(super) mod conversation;
pub(super) mod client_connection;
