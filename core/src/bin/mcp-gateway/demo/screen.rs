//! Where the demo shows itself: a table that is redrawn in a terminal, lines elsewhere, nothing for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp_registry_gateway::tasks::Tasks;
use tokio::time::{MissedTickBehavior, interval};

use super::failover::Failover;
use super::statistics::{Counts, Run};
use super::table;

/// Time between two pictures.
const FRAME: Duration = Duration::from_millis(100);

/// Everything that is on the screen.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// Where the gateway listens, and the servers behind it.
    pub(super) headline: String,
    /// The replicas in their order.
    pub(super) servers: Vec<String>,
    /// One row an algorithm.
    pub(super) rows: Vec<Row>,
    /// The failover as far as it is.
    pub(super) failover: Progress,
    /// The last line, if everything held.
    pub(super) verdict: Option<String>,
}

/// One algorithm.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Its name, with weights where they count.
    pub(super) title: String,
    /// The counts so far.
    pub(super) counts: Counts,
    /// The judgement, once it is done.
    pub(super) run: Option<Run>,
}

/// The failover while it goes on.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The events, in order.
    pub(super) steps: Vec<String>,
    /// Answers by replica.
    pub(super) per_server: BTreeMap<String, u64>,
    /// Breaker states in the replicas' order.
    pub(super) breakers: Vec<String>,
    /// The report, once it is there.
    pub(super) report: Option<Failover>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Live,
    Lines,
    Silent,
}

/// The board and the way it is shown. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    mode: Mode,
    color: bool,
    board: Arc<Mutex<Board>>,
    drawn: Arc<Mutex<usize>>,
}

impl Screen {
    /// A screen on standard output: silent if `json`, a live table if it is a terminal that can move its cursor and is
    /// high enough, else lines. `NO_COLOR` is honoured.
    pub(super) fn new(json: bool) -> Self {
        let high = terminal_size::terminal_size().is_some_and(|(_, height)| height.0 > table::HEIGHT);
        let able = anstyle_query::term_supports_ansi_color() && high && std::io::stdout().is_terminal();
        let mode = match (json, able) {
            (true, _) => Mode::Silent,
            (false, true) => Mode::Live,
            (false, false) => Mode::Lines,
        };
        Self { mode, color: !anstyle_query::no_color(), board: Arc::default(), drawn: Arc::default() }
    }

    /// Changes the board.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Board) -> T) -> T {
        change(&mut lock(&self.board))
    }

    /// Prints a line where there is no table to show it.
    pub(super) fn line(&self, text: &str) {
        if self.mode == Mode::Lines {
            println!("{text}");
        }
    }

    /// Redraws the table until `tasks` stop.
    pub(super) fn animate(&self, tasks: &Tasks) {
        if self.mode != Mode::Live {
            return;
        }
        let screen = self.clone();
        tasks.spawn(async move {
            let mut frames = interval(FRAME);
            frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                frames.tick().await;
                screen.draw();
            }
        });
    }

    /// Draws the table over the one before.
    pub(super) fn draw(&self) {
        if self.mode != Mode::Live {
            return;
        }
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        let lines = table::lines(&lock(&self.board), width, self.color);
        let mut drawn = lock(&self.drawn);
        let mut picture = String::new();
        if *drawn > 0 {
            // Writing to a string cannot fail.
            let _ = write!(picture, "\x1b[{drawn}A");
        }
        for line in &lines {
            picture.push_str("\r\x1b[2K");
            picture.push_str(line);
            picture.push('\n');
        }
        picture.push_str("\x1b[J");
        *drawn = lines.len();
        let mut out = std::io::stdout().lock();
        // A terminal that went away needs no picture.
        let _ = out.write_all(picture.as_bytes()).and_then(|()| out.flush());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
