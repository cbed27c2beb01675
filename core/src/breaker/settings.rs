//! When a breaker opens, for how long, and what closes it again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::gate::Rules;
use super::window::BUCKETS;
use crate::model::server::seconds;

/// When a breaker opens and for how long. Durations are in seconds in configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Failures in a row that open it.
    pub consecutive_failures: u32,
    /// The time that the share of failures is taken over; it slides in ten steps.
    #[serde(rename = "window_seconds", with = "seconds")]
    pub window: Duration,
    /// Calls in the window below which the share of failures says nothing.
    pub minimum_calls: u32,
    /// Share of failures in the window, in percent, that opens it.
    pub failure_percent: u32,
    /// How long it stays open the first time; doubles each time that a probe fails.
    #[serde(rename = "open_seconds", with = "seconds")]
    pub open: Duration,
    /// The longest that it stays open, before jitter.
    #[serde(rename = "open_max_seconds", with = "seconds")]
    pub open_max: Duration,
    /// By how much the open time is lengthened or shortened at random, as a share of it.
    pub jitter: f64,
    /// Calls let in while half-open; as many successes close it. Zero counts as one.
    pub probes: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            window: Duration::from_secs(10),
            minimum_calls: 20,
            failure_percent: 50,
            open: Duration::from_secs(1),
            open_max: Duration::from_secs(60),
            jitter: 0.2,
            probes: 3,
        }
    }
}

impl Settings {
    pub(super) fn rules(&self) -> Rules {
        Rules {
            consecutive: u64::from(self.consecutive_failures),
            bucket_nanos: (nanos(self.window) / BUCKETS as u64).max(1),
            minimum_calls: u64::from(self.minimum_calls),
            failure_percent: u64::from(self.failure_percent),
            probes: u64::from(self.probes.max(1)),
        }
    }

    /// The open time after `trips` openings in a row, before jitter.
    pub(super) fn open_time(&self, trips: u64) -> Duration {
        let factor = 2_u32.saturating_pow(u32::try_from(trips).unwrap_or(u32::MAX));
        self.open.saturating_mul(factor).min(self.open_max)
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
