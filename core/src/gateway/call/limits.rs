//! How long a call may take: in silence, and in all. A report of progress begins the time of silence anew.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::{Error, ErrorKind};
use crate::model::Configuration;

/// The limits of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeLimits {
    /// Without an answer or a report of progress.
    pub(crate) idle: Duration,
    /// In all.
    pub(crate) total: Duration,
    /// Whether the caller itself allowed less than the server's registration.
    wished: bool,
}

impl TimeLimits {
    /// The limits of a call to a service that is configured so, and for which the caller allowed the time `wished`. `longest`
    /// holds where the configuration has no limit in all.
    pub(crate) fn of(
        configuration: Option<&Configuration>,
        wished: Option<Duration>,
        longest: Duration,
    ) -> Self {
        let configured = configuration.map_or(Duration::from_secs(30), |configured| configured.timeout);
        let total = configuration.and_then(|configured| configured.max_timeout).unwrap_or(longest);
        let total = wished.map_or(total, |wish| wish.min(total.max(configured)));
        let wished = wished.is_some_and(|wish| wish < configured);
        Self { idle: configured.min(total), total, wished }
    }

    /// The error of a call whose server sent nothing in time.
    pub(crate) fn silent(&self, server: &str) -> Error {
        let seconds = self.idle.as_secs_f64();
        Error::new(
            ErrorKind::Timeout,
            if self.wished {
                format!(
                    "`{server}` did not answer within the {seconds} s that the caller allowed for the call"
                )
            } else {
                format!(
                    "`{server}` sent neither an answer nor progress for {seconds} s; raise \
                     `configuration.timeout_seconds` of the server if it needs longer"
                )
            },
        )
    }

    /// The error of a call that went on for too long, with reports of progress.
    pub(crate) fn too_long(&self, server: &str) -> Error {
        let seconds = self.total.as_secs_f64();
        let message = format!(
            "`{server}` did not answer within {seconds} s in all, although it reported progress; raise \
             `configuration.max_timeout_seconds` of the server if its calls need longer"
        );
        Error::new(ErrorKind::Timeout, message)
    }

    /// The error of a call that ended for this reason.
    pub(crate) fn error(&self, passed: Passed, server: &str) -> Error {
        match passed {
            Passed::Idle => self.silent(server),
            Passed::Total => self.too_long(server),
        }
    }
}

/// The limit that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// The server was silent for too long.
    Idle,
    /// The call took too long in all.
    Total,
}

/// The time of silence of one call, which a report of progress begins anew.
#[derive(Debug, Default)]
pub(crate) struct IdleTimer(Notify);

impl IdleTimer {
    /// The server has reported progress.
    pub(crate) fn renew(&self) {
        self.0.notify_one();
    }

    /// Waits until a limit is passed. `left`: the rest of the time of silence; `in_all`: the rest of all time.
    pub(crate) async fn passed(&self, limits: TimeLimits, left: Duration, in_all: Duration) -> Passed {
        let mut total = pin!(tokio::time::sleep(in_all));
        // Without progress a call has nothing but its time of silence.
        let mut passed = Passed::Idle;
        let mut pause = left.min(in_all);
        loop {
            tokio::select! {
                biased;
                () = self.0.notified() => (pause, passed) = (limits.idle, Passed::Total),
                () = &mut total => return passed,
                () = tokio::time::sleep(pause) => return Passed::Idle,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(timeout: u32, max: Option<u32>, wished: Option<u32>) -> TimeLimits {
        let max_timeout = max.map(|max| SECOND * max);
        let configuration =
            Configuration { timeout: SECOND * timeout, max_timeout, ..Configuration::default() };
        TimeLimits::of(Some(&configuration), wished.map(|wish| SECOND * wish), SECOND * 600)
    }

    #[test]
    fn the_callers_wish_is_a_limit_in_all_and_lifts_none_of_the_servers() {
        let of = |limits: TimeLimits| (limits.idle.as_secs(), limits.total.as_secs());
        assert_eq!(of(limits(30, None, None)), (30, 600));
        assert_eq!(of(limits(30, Some(60), None)), (30, 60));
        assert_eq!(of(limits(30, Some(10), None)), (10, 10));
        assert_eq!(of(limits(30, None, Some(5))), (5, 5));
        assert_eq!(of(limits(30, None, Some(45))), (30, 45));
        assert_eq!(of(limits(30, None, Some(6000))), (30, 600));
    }

    #[test]
    fn the_error_names_the_setting_that_ended_the_call() {
        let told = |limits: TimeLimits, passed| limits.error(passed, "docs").message().to_owned();
        assert!(
            told(limits(30, None, None), Passed::Idle)
                .contains("30 s; raise `configuration.timeout_seconds`")
        );
        assert!(told(limits(30, None, None), Passed::Total).contains("600 s in all"));
        assert!(told(limits(30, None, None), Passed::Total).contains("`configuration.max_timeout_seconds`"));
        assert!(told(limits(30, None, Some(5)), Passed::Idle).contains("5 s that the caller allowed"));
    }

    #[tokio::test(start_paused = true)]
    async fn progress_renews_the_time_of_silence_up_to_the_limit_in_all() {
        let (limits, idle_timer) = (limits(30, Some(100), None), IdleTimer::default());
        assert_eq!(idle_timer.passed(limits, SECOND * 30, SECOND * 100).await, Passed::Idle);
        let telling = async {
            for _ in 0..4 {
                tokio::time::sleep(SECOND * 29).await;
                idle_timer.renew();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            passed = idle_timer.passed(limits, SECOND * 30, SECOND * 100) => assert_eq!(passed, Passed::Total),
            () = telling => panic!("it ends"),
        }
    }
}
