//! How long audit rows are kept.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};

use crate::cluster::Job;
use crate::gateway::Core;

/// The interval between two searches for rows that are old enough to be removed.
const ROUND: Duration = Duration::from_secs(3600);
/// Rows that are removed in one transaction: no mutation waits long behind it.
const BATCH: u32 = 500;

impl Core {
    /// Removes rows that need not be kept any longer, in batches, and checks again every hour, unless another replica does.
    pub(crate) async fn keep_audit(&self) {
        loop {
            if self.cluster.leases.acquire(&Job::AuditRetention, ROUND).get().await {
                self.remove_old_audit().await;
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    async fn remove_old_audit(&self) {
        while let Some(before) = horizon(self.clock.timestamp(), self.settings.audit.keep_years) {
            match self.store.retain_audit(before, BATCH).await {
                Ok(0) => break,
                Ok(rows) => {
                    tracing::info!(rows, %before, "removed audit rows that were kept long enough");
                }
                Err(error) => {
                    tracing::error!(%error, "old audit rows cannot be removed");
                    break;
                }
            }
        }
    }
}

/// The time that lies `years` calendar years before `now` in UTC; older rows may be removed. The 29th of February of a year that
/// has none is the 28th, so that a row of a leap day is kept until the 1st of March.
fn horizon(now: Timestamp, years: u16) -> Option<Timestamp> {
    let then = now.to_zoned(jiff::tz::TimeZone::UTC).checked_sub(i64::from(years).years());
    then.ok().map(|then| then.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D-09: seven years less a day are kept, a day more is removed; a leap day is kept to its end
    #[test]
    fn rows_are_kept_for_seven_calendar_years() {
        for (written, now, kept) in [
            ("2019-03-10T12:00:00Z", "2026-03-09T12:00:00Z", true),
            ("2019-03-10T12:00:00Z", "2026-03-10T12:00:00Z", true),
            ("2019-03-10T12:00:00Z", "2026-03-10T12:00:01Z", false),
            ("2019-03-10T12:00:00Z", "2026-03-11T12:00:00Z", false),
            ("2024-02-29T12:00:00Z", "2031-02-28T23:59:59Z", true),
            ("2024-02-29T12:00:00Z", "2031-03-01T00:00:00Z", false),
            ("2025-02-28T12:00:00Z", "2032-02-28T11:00:00Z", true),
            ("2025-02-28T12:00:00Z", "2032-02-29T12:00:01Z", false),
        ] {
            let (row, now): (Timestamp, Timestamp) = (written.parse().unwrap(), now.parse().unwrap());
            assert_eq!(row >= horizon(now, 7).unwrap(), kept, "{written} at {now}");
        }
    }
}
