//! One connection, below the requests that it carries: TLS, framing, timeouts, and how its task is woken.

pub(super) mod heads;
pub(super) mod patience;
pub mod tls;
pub mod caller_tls;
pub(super) mod body;
pub(super) mod knock;
pub(super) mod turn;
