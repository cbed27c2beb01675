//! Processes that a child started outside of its group on purpose (`setsid`, double forks): they end with it all the same.
//!
//! Every child is given a variable, `MCP_GATEWAY_CHILD`, with a value that no other child has; what it starts inherits that, in
//! whatever session it is. On Linux such processes are found in `/proc`, and each is signalled through a descriptor of the process,
//! so that a process of the same number that comes later is never meant. When a link is closed, the living descendants are found
//! by their parents, too, for those that empty their environment.
//!
//! A process that empties its environment *and* whose parent ended before the connection was closed is not found. Other systems have no
//! `/proc` to look into: there the group is all that is ended.

#[cfg(target_os = "linux")]
use std::collections::BTreeMap;
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable by which a child and what it starts are known.
pub(super) const VARIABLE: &str = "MCP_GATEWAY_CHILD";
/// The beginning of the values that this process gives, which no other process of the machine gives.
static PROCESS: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string());
static NEXT: AtomicU64 = AtomicU64::new(0);

/// How often processes that are to end are looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// Looks at processes that were killed, before they are given up: one can start another at the same moment.
const ROUNDS: usize = 100;

/// The value that all children of this process have the beginning of in common.
pub(super) fn of_this_process() -> &'static str {
    &PROCESS
}

/// The value of one child.
#[derive(Clone, Debug)]
pub(super) struct Mark(String);

impl Mark {
    pub(super) fn new() -> Self {
        Self(format!("{}.{}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    pub(super) fn value(&self) -> &str {
        &self.0
    }

    /// Asks the processes with this mark, and `others`, to end, and kills those that have not after `grace`.
    #[cfg(target_os = "linux")]
    pub(super) async fn end(&self, others: &Processes, grace: Duration) {
        let mut left = self.living(others);
        if left.is_empty() {
            return;
        }
        signal(&left, Signal::TERM);
        let asked = async {
            while !left.is_empty() {
                tokio::time::sleep(GLANCE).await;
                left = self.living(others);
            }
        };
        if tokio::time::timeout(grace, asked).await.is_ok() {
            return;
        }
        for _ in 0..ROUNDS {
            let left = self.living(others);
            if left.is_empty() {
                return;
            }
            signal(&left, Signal::KILL);
            tokio::time::sleep(GLANCE).await;
        }
        tracing::warn!("processes that a server started outside of its group could not be ended");
    }

    /// Kills the processes with this mark at once.
    #[cfg(target_os = "linux")]
    pub(super) fn kill(&self) {
        signal(&self.living(&Processes::default()), Signal::KILL);
    }

    #[cfg(target_os = "linux")]
    fn living<'a>(&self, others: &'a Processes) -> Vec<Found<'a>> {
        let wanted = format!("{VARIABLE}={}\0", self.0);
        let finder = memchr::memmem::Finder::new(wanted.as_bytes());
        let marked = pids().filter_map(|pid| {
            // First, so that it means the process whose environment is read, or one before it that is gone.
            let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            // A zombie has none.
            let environment = std::fs::read(format!("/proc/{}/environ", pid.as_raw_pid())).ok()?;
            finder.find(&environment).map(|_| Found::Marked(process))
        });
        marked
            .chain(others.0.iter().filter(|known| known.is_alive()).map(|known| Found::Known(&known.process)))
            .collect()
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) async fn end(&self, _: &Processes, _: Duration) {}

    #[cfg(not(target_os = "linux"))]
    pub(super) fn kill(&self) {}
}

/// Processes, by descriptors that mean them and none that come later.
#[derive(Debug, Default)]
#[cfg(target_os = "linux")]
pub(super) struct Processes(Vec<Known>);

#[derive(Debug)]
#[cfg(target_os = "linux")]
struct Known {
    pid: Pid,
    began: u64,
    process: OwnedFd,
}

#[cfg(target_os = "linux")]
impl Known {
    fn is_alive(&self) -> bool {
        stat_of(self.pid).is_some_and(|(_, began)| began == self.began)
    }
}

/// Processes; none on this system.
#[derive(Debug, Default)]
#[cfg(not(target_os = "linux"))]
pub(super) struct Processes;

impl Processes {
    /// The living descendants of `ancestor`.
    #[cfg(target_os = "linux")]
    pub(super) fn below(ancestor: u32) -> Self {
        let mut children: BTreeMap<i32, Vec<(Pid, u64)>> = BTreeMap::new();
        for pid in pids() {
            if let Some((parent, began)) = stat_of(pid) {
                children.entry(parent).or_default().push((pid, began));
            }
        }
        let mut open = vec![i32::try_from(ancestor).unwrap_or(0)];
        let mut all = Vec::new();
        while let Some(parent) = open.pop() {
            for (pid, began) in children.remove(&parent).into_iter().flatten() {
                open.push(pid.as_raw_pid());
                let process = pidfd_open(pid, PidfdFlags::empty()).ok();
                let known = process.map(|process| Known { pid, began, process });
                // Not one of the same number that came meanwhile.
                all.extend(known.filter(Known::is_alive));
            }
        }
        Self(all)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn below(_: u32) -> Self {
        Self
    }
}

#[cfg(target_os = "linux")]
enum Found<'a> {
    Marked(OwnedFd),
    Known(&'a OwnedFd),
}

#[cfg(target_os = "linux")]
fn signal(all: &[Found<'_>], signal: Signal) {
    for process in all {
        // ESRCH: it has ended by itself.
        let _ = match process {
            Found::Marked(process) => pidfd_send_signal(process, signal),
            Found::Known(process) => pidfd_send_signal(process, signal),
        };
    }
}

/// Every process that there is, but this one.
#[cfg(target_os = "linux")]
fn pids() -> impl Iterator<Item = Pid> {
    let this = rustix::process::getpid();
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(move |pid| *pid != this)
}

/// The parent of a process, and when it began, in ticks of the kernel; `None` for one that has ended, reaped or not.
#[cfg(target_os = "linux")]
fn stat_of(pid: Pid) -> Option<(i32, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // `pid (name) state parent …`, and the name may hold anything, parentheses too (proc(5)).
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let (state, parent, began) = (fields.next()?, fields.next()?, fields.nth(17)?);
    if matches!(state, "Z" | "X") {
        return None;
    }
    Some((parent.parse().ok()?, began.parse().ok()?))
}
