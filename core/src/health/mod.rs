//! Decides when a server is probed and draws the conclusions; reaches servers only through [`Probe`].
//!
//! - The operator's setting is never touched: a conclusion is a [`HealthRecord`](crate::store::HealthRecord), which the
//!   [`Sink`] keeps apart from the operator's [`Status`](crate::model::Status).
//! - Probes run side by side, each with its own timeout: a server that hangs delays no other.
//! - [`Schedule`] and [`Observation`] are plain state machines that are told the time.

mod monitor;
mod observe;
mod schedule;

pub use monitor::{Monitor, Probe, Sink};
pub use observe::{Observation, Outcome};
pub use schedule::{LONGEST_INTERVAL, Schedule};
