//! Outlives the gateway by a second, to end the children of a gateway that was killed.
//!
//! A gateway that gets SIGKILL can do nothing. Its children see the end of their input, and most leave; processes that they
//! started themselves (`npx` and `uvx` start the real server as a grandchild) may not. `PR_SET_PDEATHSIG` is no answer: it
//! reaches the direct child alone, it fires when the *thread* that started the child ends, which in a host program with a runtime
//! of its own happens at any time, and Rust has no safe way to set it.
//!
//! So one small POSIX shell per process, started with the first child, reads the numbers of the living process groups from a
//! pipe. The kernel closes that pipe when the gateway ends in whatever way, and the shell then sends SIGTERM, and after a second
//! SIGKILL, to the groups that are left. It stands in a group of its own, so that Ctrl-C in a terminal does not reach it, and
//! ends with the last child. It watches the process, which is why all gateways in a process share it. Without a `/bin/sh`
//! children still see the end of their input.
//!
//! On Linux it then kills what left a group on purpose (`setsid`), known by a variable in its environment (`strays.rs`). Two gaps
//! remain: the microseconds between the start of a child and the line that names its group, and descendants that left the group
//! *and* emptied their environment.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

static WARNED: Once = Once::new();
static GUARDIAN: Mutex<Weak<Mutex<Guardian>>> = Mutex::new(Weak::new());

/// Signals are ignored because a service manager that stops a unit sends SIGTERM to all its processes at once.
#[cfg(unix)]
const SCRIPT: &str = r#"trap '' INT TERM HUP QUIT
groups=
while read -r change group; do
  kept=
  for each in $groups; do [ "$each" = "$group" ] || kept="$kept $each"; done
  groups=$kept
  [ "$change" = + ] && groups="$groups $group"
done
[ -z "$groups" ] && exit
for each in $groups; do kill -s TERM -- "-$each"; done
sleep 1
for each in $groups; do kill -s KILL -- "-$each"; done
for each in /proc/[0-9]*; do
  grep -qF "$1." "$each/environ" && kill -s KILL "${each#/proc/}"
done
"#;

#[derive(Debug)]
struct Guardian {
    shell: Child,
    groups: BTreeSet<i32>,
}

/// A group that the guardian ends if the gateway does not live to do it. Dropping it takes the group off.
#[derive(Debug)]
pub(super) struct Watched {
    guardian: Arc<Mutex<Guardian>>,
    group: i32,
}

/// Keeps the guardian alive while a child is being started, so that its group can be named at once.
#[derive(Debug)]
pub(super) struct Ready(Option<Arc<Mutex<Guardian>>>);

impl Ready {
    /// Starts the guardian if it does not run.
    pub(super) fn new() -> Self {
        let mut current = GUARDIAN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guardian) = current.upgrade() {
            return Self(Some(guardian));
        }
        match start() {
            Ok(shell) => {
                let guardian = Arc::new(Mutex::new(Guardian { shell, groups: BTreeSet::new() }));
                *current = Arc::downgrade(&guardian);
                Self(Some(guardian))
            }
            Err(error) => {
                WARNED.call_once(|| tracing::warn!(%error, "cannot start the guardian of child processes: what a server started itself may outlive a gateway that is killed"));
                Self(None)
            }
        }
    }
}

impl Watched {
    /// Has `group` watched; `None` without a guardian.
    pub(super) fn new(group: i32) -> Option<Self> {
        let guardian = Ready::new().0?;
        guardian.lock().unwrap_or_else(PoisonError::into_inner).change('+', group);
        Some(Self { guardian, group })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.guardian.lock().unwrap_or_else(PoisonError::into_inner).change('-', self.group);
    }
}

impl Guardian {
    fn change(&mut self, change: char, group: i32) {
        if change == '+' {
            self.groups.insert(group);
        } else {
            self.groups.remove(&group);
        }
        if self.tell(&format!("{change} {group}\n")).is_err() {
            // Somebody killed it. A new one has to hear all.
            let told = start().and_then(|shell| {
                self.end();
                self.shell = shell;
                self.groups.iter().try_for_each(|group| self.tell(&format!("+ {group}\n")))
            });
            if let Err(error) = told {
                tracing::warn!(%error, "the guardian of child processes died and cannot be started again");
            }
        }
    }

    fn tell(&self, line: &str) -> std::io::Result<()> {
        self.shell.stdin.as_ref().map_or(Ok(()), |mut input| input.write_all(line.as_bytes()))
    }

    fn end(&mut self) {
        // By SIGKILL, because waiting for a shell that reads to the end of its input could block.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(unix)]
fn start() -> std::io::Result<Child> {
    use std::os::unix::process::CommandExt;
    Command::new("/bin/sh")
        .args(["-c", SCRIPT, "mcp-gateway-guardian"])
        .arg(format!("{}={}", super::strays::VARIABLE, super::strays::of_this_process()))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

#[cfg(not(unix))]
fn start() -> std::io::Result<Child> {
    Err(std::io::ErrorKind::Unsupported.into())
}
