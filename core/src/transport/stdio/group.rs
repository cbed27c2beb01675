//! The process group of one child: processes that it started die with it, also those that left the group (`strays.rs`).

use std::time::Duration;

#[cfg(unix)]
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpgid};

use super::guardian::Watched;
use super::strays::{Mark, Processes};

/// How often a group that is to be gone is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// The group that a child leads. Dropping it kills what is left of the group.
#[derive(Debug)]
pub(super) struct Group {
    #[cfg(unix)]
    leader: Option<Pid>,
    /// By which processes are known that left the group on purpose.
    mark: Mark,
    /// Whether those have been ended.
    swept: bool,
    /// Held until the group is dead: the guardian must not kill a group of the same number that came later.
    _watched: Option<Watched>,
}

impl Group {
    /// The group of the process `leader`, which was started as a leader of its own group.
    pub(super) fn of(leader: Option<u32>, mark: Mark) -> Self {
        #[cfg(unix)]
        {
            let leader = leader.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            let watched = leader.and_then(|leader| Watched::new(leader.as_raw_pid()));
            Self { leader, mark, swept: false, _watched: watched }
        }
        #[cfg(not(unix))]
        {
            let _ = leader;
            Self { mark, swept: false, _watched: None }
        }
    }

    /// Asks all of the group to end.
    pub(super) fn terminate(&self) {
        #[cfg(unix)]
        self.signal(Signal::TERM);
    }

    /// Ends all of the group.
    pub(super) fn kill(&self) {
        #[cfg(unix)]
        self.signal(Signal::KILL);
    }

    /// Ends what left the group, and those of `others` that still run.
    pub(super) async fn sweep(&mut self, others: &Processes, grace: Duration) {
        self.mark.end(others, grace).await;
        self.swept = true;
    }

    /// Waits until nothing of the group runs. The leader must have been reaped.
    pub(super) async fn gone(&self) {
        while self.runs() {
            tokio::time::sleep(GLANCE).await;
        }
    }

    #[cfg(unix)]
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // ESRCH, nothing left to signal, is the usual answer.
            let _ = kill_process_group(leader, signal);
        }
    }

    #[cfg(unix)]
    fn runs(&self) -> bool {
        let Some(leader) = self.leader else { return false };
        // Where the gateway is process 1 of a container, orphans of the group become its children: reap them.
        while let Ok(Some(_)) = waitpgid(leader, WaitOptions::NOHANG) {}
        test_kill_process_group(leader).is_ok() && has_living(leader.as_raw_pid())
    }

    #[cfg(not(unix))]
    fn runs(&self) -> bool {
        false
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        if !self.swept {
            self.mark.kill();
        }
    }
}

/// Whether the group has a member that is not a zombie. A lazy process 1 leaves orphans unreaped for seconds, and
/// they would count as alive; where there is no `/proc` that cannot be told apart.
#[cfg(unix)]
fn has_living(group: i32) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    let mut read_any = false;
    for process in processes.flatten() {
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
        // `pid (name) state parent group …`, and the name may hold anything, parentheses too (proc(5)).
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        read_any = true;
        let mut fields = rest.split(' ');
        let (state, _parent, its_group) = (fields.next(), fields.next(), fields.next());
        if its_group.and_then(|id| id.parse().ok()) == Some(group) && !matches!(state, Some("Z" | "X")) {
            return true;
        }
    }
    !read_any
}
