//! Elapsed time and patience, for tests that talk to real processes.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mcp_registry_gateway::clock::{Clock, SystemClock, Tick};

fn system() -> &'static Arc<dyn Clock> {
    static CLOCK: OnceLock<Arc<dyn Clock>> = OnceLock::new();
    CLOCK.get_or_init(SystemClock::shared)
}

/// Measures from its making.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Tick);

impl Stopwatch {
    /// A stopwatch that starts now.
    pub fn start() -> Self {
        Self(system().now())
    }

    /// Time since the start.
    pub fn elapsed(self) -> Duration {
        system().now().since(self.0)
    }
}

/// Asks `look` every 10 ms until it gives something; fails the test, naming `what`, after `patience`.
pub async fn eventually<T, F: AsyncFnMut() -> Option<T>>(what: &str, patience: Duration, mut look: F) -> T {
    let watch = Stopwatch::start();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(watch.elapsed() < patience, "waited {patience:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The value at `share` (0 to 1) of the sorted `values`; the default where there are none.
pub fn quantile<T: Copy + Default + Debug + PartialOrd>(values: &mut [T], share: f64) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("comparable values"));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a slice of measurements"
    )]
    let index = (share * values.len() as f64) as usize;
    values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}
