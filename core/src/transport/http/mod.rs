//! Streamable HTTP: one POST for each message, answered by one JSON message or a stream of events.
//!
//! Connections are this module's own, because the gateway must know whether a byte of a call was written, and
//! because each server's share of connections is bounded. A connection is driven by the task that waits for the
//! answer: there is no task for each connection and no waking across threads.

mod answer;
mod body;
mod connector;
mod dial;
mod encoding;
mod events;
mod fetch;
mod sse_requests;
mod link;
mod lost;
mod modern;
mod pool;
mod redirects;
mod socket;
mod status;
pub(crate) mod trust;
mod wire;

pub use connector::HttpConnector;
pub use fetch::{ask, exchange, fetch};
pub(super) use sse_requests::{Delivery, EventStream};

/// Bytes of one answer at most: 16 MiB.
pub const MAX_BODY: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;
