//! When a breaker opens, for how long, and which calls close it again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::gate::Rules;
use super::window::BUCKETS;
use crate::model::server::seconds;

/// When a breaker opens and for how long. Durations are in seconds in configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Failures in a row that open a breaker.
    pub consecutive_failures: u32,
    /// Seconds over which the share of failures is taken; the window slides in ten steps.
    #[serde(rename = "window_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub window: Duration,
    /// Calls in the window below which the share of failures is not looked at.
    pub minimum_calls: u32,
    /// Share of failures in the window, in percent, that opens a breaker.
    pub failure_percent: u32,
    /// Seconds that a breaker stays open the first time. The time doubles each time that a probe call fails.
    #[serde(rename = "open_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub open: Duration,
    /// Seconds that a breaker stays open at most, before jitter.
    #[serde(rename = "open_max_seconds", with = "seconds")]
    #[cfg_attr(feature = "server", schema(value_type = f64))]
    pub open_max: Duration,
    /// Share of the open time by which chance lengthens or shortens it.
    pub jitter: f64,
    /// Calls let through while half-open; as many successes close the breaker. Zero counts as one.
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
