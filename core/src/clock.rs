//! Time as a parameter: the system's clock, or one that a test moves by hand.
//!
//! Nothing else in this crate asks the operating system for the time, so that every decision
//! that depends on time is repeatable.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A point on the monotonic clock: nanoseconds since the clock was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(u64);

impl Tick {
    /// The tick `nanos` nanoseconds after the clock was made.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock was made.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to this tick; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Tick {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Where time comes from.
///
/// ```
/// use std::sync::Arc;
/// use mcp_registry_gateway::{Clock, Gateway, ManualClock};
///
/// # #[tokio::main]
/// # async fn main() -> mcp_registry_gateway::Result<()> {
/// let clock: Arc<dyn Clock> = ManualClock::shared();
/// let gateway = Gateway::builder().clock(clock).open().await?;
/// assert_eq!(gateway.opened_at().to_string(), "2026-01-01T00:00:00Z");
/// # gateway.close().await;
/// # Ok(())
/// # }
/// ```
pub trait Clock: Send + Sync + fmt::Debug {
    /// Monotonic time, for durations and deadlines.
    fn now(&self) -> Tick;
    /// Wall time, for records.
    fn timestamp(&self) -> Timestamp;
}

/// The operating system's clocks.
///
/// ```
/// use mcp_registry_gateway::SystemClock;
///
/// let clock = SystemClock::shared();
/// assert!(clock.now() <= clock.now());
/// ```
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose first tick is now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self { origin: Instant::now() })
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Tick {
        Tick(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn timestamp(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still until it is told to move.
///
/// ```
/// use std::time::Duration;
/// use mcp_registry_gateway::{Clock, ManualClock};
///
/// let clock = ManualClock::shared();
/// clock.advance(Duration::from_secs(30));
/// assert_eq!(clock.timestamp().to_string(), "2026-01-01T00:00:30Z");
/// ```
#[derive(Debug, Default)]
pub struct ManualClock {
    nanos: AtomicU64,
}

impl ManualClock {
    /// A clock at tick zero, which is 2026-01-01T00:00:00Z.
    pub fn shared() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Moves time forward.
    pub fn advance(&self, by: Duration) {
        self.nanos.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Tick {
        Tick(self.nanos.load(Ordering::SeqCst))
    }

    fn timestamp(&self) -> Timestamp {
        let start = Timestamp::constant(1_767_225_600, 0);
        start.checked_add(Duration::from_nanos(self.now().0)).unwrap_or(Timestamp::MAX)
    }
}
