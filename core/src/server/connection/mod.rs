//! One connection, below the requests that it carries: TLS, framing, timeouts, and how its task is woken.

pub(super) mod framing_guard;
pub(super) mod limits;
pub(super) mod exchange;
pub(super) mod timeouts;
pub mod tls;
pub mod caller_tls;
pub(super) mod body;
pub(super) mod deferred_waker;
pub(super) mod wake_gate;
