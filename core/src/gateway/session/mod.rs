//! The state of one legacy client: its session, what waits to be sent to it, the questions it was asked, and the
//! streams it can take up again. Nothing here knows the gateway.

pub(super) mod sticky_routes;
pub(super) mod outbox;
pub(super) mod pending_requests;
pub(super) mod replay;
pub(super) mod client;
pub(super) mod pool;
pub(super) mod sessions;
