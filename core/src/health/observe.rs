//! The conclusion from a row of probes about a server.

use crate::error::{Cause, Delivery, ErrorKind, Result};
use crate::model::{HealthCheck, HealthStatus};

/// The outcome of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered in time, however slowly.
    Answered,
    /// It answered wrongly.
    Wrong,
    /// No connection, or no answer in time.
    Silent,
    /// The probe says nothing about the server: it is starting, it was throttled or given up, or the gateway itself failed.
    Nothing,
}

impl Outcome {
    /// The outcome that the result of a probe means.
    pub fn of(result: &Result<()>) -> Self {
        let Err(error) = result else { return Self::Answered };
        match error.kind() {
            _ if *error.cause() == Cause::Starting => Self::Nothing,
            ErrorKind::RateLimited | ErrorKind::Cancelled | ErrorKind::Internal | ErrorKind::Storage => {
                Self::Nothing
            }
            ErrorKind::Timeout | ErrorKind::Unavailable => Self::Silent,
            _ if error.delivery() == Delivery::NotSent => Self::Silent,
            _ => Self::Wrong,
        }
    }
}

/// Failures and successes of one server in a row, and the conclusion from them.
///
/// The first success makes an unknown server healthy. A failure makes it degraded; `unhealthy_after` failures in a
/// row take it out, as unreachable or unhealthy by the last of them. A server that is not healthy becomes so after
/// `healthy_after` successes in a row, and stays as it is until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    status: HealthStatus,
    failures: u32,
    successes: u32,
}

impl Default for Observation {
    fn default() -> Self {
        Self { status: HealthStatus::Unknown, failures: 0, successes: 0 }
    }
}

impl Observation {
    /// Takes in one outcome and concludes.
    pub fn record(&mut self, outcome: Outcome, check: &HealthCheck) -> HealthStatus {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Answered => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                if self.status == HealthStatus::Unknown || self.successes >= check.healthy_after {
                    self.status = HealthStatus::Healthy;
                }
            }
            Outcome::Wrong | Outcome::Silent => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                let out = matches!(self.status, HealthStatus::Unhealthy | HealthStatus::Unreachable);
                self.status = if !out && self.failures < check.unhealthy_after {
                    HealthStatus::Degraded
                } else if outcome == Outcome::Silent {
                    HealthStatus::Unreachable
                } else {
                    HealthStatus::Unhealthy
                };
            }
        }
        self.status
    }

    /// The last conclusion; unknown before the first probe.
    pub fn status(&self) -> HealthStatus {
        self.status
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Error;

    fn check(unhealthy_after: u32, healthy_after: u32) -> HealthCheck {
        HealthCheck { unhealthy_after, healthy_after, ..HealthCheck::default() }
    }

    fn statuses(outcomes: &[Outcome], check: &HealthCheck) -> Vec<HealthStatus> {
        let mut observation = Observation::default();
        outcomes.iter().map(|outcome| observation.record(*outcome, check)).collect()
    }

    #[test]
    fn three_failures_take_a_server_out_and_one_success_brings_it_back() {
        use HealthStatus::{Degraded, Healthy, Unhealthy, Unreachable};
        use Outcome::{Answered, Silent, Wrong};
        let outcomes = [Answered, Silent, Wrong, Silent, Wrong, Answered];
        let expected = [Healthy, Degraded, Degraded, Unreachable, Unhealthy, Healthy];
        assert_eq!(statuses(&outcomes, &check(3, 1)), expected);
    }

    #[test]
    fn a_server_that_is_out_needs_its_successes_in_a_row() {
        use HealthStatus::{Healthy, Unreachable};
        use Outcome::{Answered, Nothing, Silent};
        let outcomes = [Silent, Answered, Silent, Answered, Nothing, Answered];
        let expected = [Unreachable, Unreachable, Unreachable, Unreachable, Unreachable, Healthy];
        assert_eq!(statuses(&outcomes, &check(1, 2)), expected);
    }

    #[test]
    fn the_kind_of_an_error_tells_silence_from_a_wrong_answer() {
        let of = |error: Error| Outcome::of(&Err(error));
        assert_eq!(of(Error::new(ErrorKind::Timeout, "")), Outcome::Silent);
        assert_eq!(of(Error::new(ErrorKind::BadUpstream, "").not_sent()), Outcome::Silent);
        assert_eq!(of(Error::new(ErrorKind::BadUpstream, "")), Outcome::Wrong);
        assert_eq!(of(Error::new(ErrorKind::Unauthenticated, "")), Outcome::Wrong);
        assert_eq!(of(Error::new(ErrorKind::RateLimited, "")), Outcome::Nothing);
        let starting = Error::new(ErrorKind::Timeout, "").because(Cause::Starting).not_sent();
        assert_eq!(of(starting), Outcome::Nothing);
        assert_eq!(Outcome::of(&Ok(())), Outcome::Answered);
    }

    /// The rules read off the whole history each time, without counters.
    fn reference(history: &[Outcome], check: &HealthCheck) -> HealthStatus {
        let failed = |outcome: &Outcome| matches!(outcome, Outcome::Wrong | Outcome::Silent);
        let telling: Vec<Outcome> =
            history.iter().copied().filter(|outcome| *outcome != Outcome::Nothing).collect();
        let Some((last, before)) = telling.split_last() else { return HealthStatus::Unknown };
        let previous = reference(before, check);
        let in_row = |wanted: bool| telling.iter().rev().take_while(|o| failed(o) == wanted).count();
        let out = matches!(previous, HealthStatus::Unhealthy | HealthStatus::Unreachable);
        match last {
            Outcome::Answered if previous == HealthStatus::Unknown => HealthStatus::Healthy,
            Outcome::Answered if in_row(false) >= check.healthy_after as usize => HealthStatus::Healthy,
            Outcome::Answered => previous,
            _ if !out && in_row(true) < check.unhealthy_after as usize => HealthStatus::Degraded,
            Outcome::Silent => HealthStatus::Unreachable,
            _ => HealthStatus::Unhealthy,
        }
    }

    proptest! {
        #[test]
        fn any_history_is_concluded_as_the_rules_say(
            outcomes in prop::collection::vec(
                prop::sample::select(vec![Outcome::Answered, Outcome::Wrong, Outcome::Silent, Outcome::Nothing]),
                0..40,
            ),
            unhealthy_after in 0_u32..5,
            healthy_after in 0_u32..5,
        ) {
            let check = check(unhealthy_after, healthy_after);
            for (i, status) in statuses(&outcomes, &check).into_iter().enumerate() {
                prop_assert_eq!(status, reference(&outcomes[..=i], &check), "after {:?}", &outcomes[..=i]);
            }
        }
    }
}
