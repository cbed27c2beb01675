//! What the kernel says of processes.

use std::fs;
use std::time::Duration;

/// What one process uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time on a CPU, user and system together, children not counted.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// Open file descriptors.
    pub descriptors: usize,
}

/// What process `pid` uses; `None` if it has ended.
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything; fields are counted from behind it, where `state` is number 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    let ticks = number(14)? + number(15)?;
    let pages: u64 = number(24)?;
    Some(Usage {
        cpu: Duration::from_micros(ticks * 1_000_000 / rustix::param::clock_ticks_per_second()),
        memory: pages * u64::try_from(rustix::param::page_size()).ok()?,
        descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count(),
    })
}

/// The living processes, zombies included, on whose command line `mark` stands, as `(pid, state)`.
///
/// A zombie has lost its command line; it is found by its parent `parent`, where one is given.
pub fn marked(mark: &str, parent: Option<u32>) -> Vec<(u32, char)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let above: u32 = fields.next()?.parse().ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let named = String::from_utf8_lossy(&line).contains(mark);
        (named || (state == 'Z' && parent == Some(above))).then_some((pid, state))
    })
    .collect()
}
