//! The state of one legacy client: its session, the messages that wait for it, the requests that servers sent to it, and
//! the streams that it can resume; and the streams that callers of all kinds hold open. Nothing here knows the gateway.

pub(super) mod sticky_routes;
pub(super) mod outbox;
pub(super) mod pending_requests;
pub(super) mod replay;
pub(super) mod client;
pub(super) mod pool;
pub(super) mod sessions;
pub(super) mod open_streams;
