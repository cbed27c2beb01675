//! The parts of every connection that carries messages both ways: a child's pipes, a WebSocket, a stream of events beside POSTs.
//!
//! Answers find their requests by id; messages that wait for a reader are bounded; when the connection ends, every request under
//! way is told whether the server can have seen it.

mod exchanges;
mod link;
mod mailbox;
mod reading;

pub(in crate::transport) use exchanges::{Ending, Receipt};
#[cfg(feature = "http")]
pub(in crate::transport) use exchanges::{Exchanges, Slip};
pub(in crate::transport) use link::{Conversation, DuplexLink, Item, QUEUE};
#[cfg(feature = "http")]
pub(in crate::transport) use mailbox::Mailbox;
pub(in crate::transport) use reading::{Unreadable, deliver};
