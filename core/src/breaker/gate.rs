//! The concurrent core of the breaker: one atomic word for the phase, one for failures in a row, ten for the window.
//!
//! With the window it stands alone (time and durations are plain nanoseconds, the atomics come from the parent
//! module) so that a model checker can run the very same files over its own atomics: `core/tests/breaker_loom.rs`.
//!
//! Invariants:
//! - Each change of phase is one compare-and-swap of the word and raises the generation by one, so that a ticket
//!   tells which phase it belongs to and the result of an older one finds another generation and changes nothing.
//! - In half-open, tickets out plus successes never exceed the number of probes.
//! - Counters carry the generation they count for; a counter of another generation reads as zero, and a late
//!   thread can never set one back.
//!
//! The word: phase (2 bits), generation (20), openings in a row (4), payload (38). The payload is the time at
//! which an open breaker lets a probe in, in units of 2^22 ns (about 4 ms, rounded up, good for 36 years), or,
//! half-open, tickets out and successes. A generation comes round after 2^20 changes of phase; with at least a
//! second of being open between them, that is days after the ticket was given out.

use super::atomic::{AtomicU64, Ordering};
use super::window::{Window, is_later};

/// An open breaker's deadline is kept in units of 2 to this power nanoseconds.
pub(super) const DUE_SHIFT: u32 = 22;

const GENERATION: u64 = (1 << 20) - 1;
const TRIPS: u64 = (1 << 4) - 1;
const PAYLOAD: u64 = (1 << 38) - 1;

/// The limits, in plain numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Failures in a row that open it.
    pub(super) consecutive: u64,
    /// Length of one of the ten parts of the window.
    pub(super) bucket_nanos: u64,
    /// Calls in the window below which the share of failures says nothing.
    pub(super) minimum_calls: u64,
    /// Share of failures in the window that opens it.
    pub(super) failure_percent: u64,
    /// Calls let in while half-open, and successes that close it.
    pub(super) probes: u64,
}

/// The state of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Everything passes.
    Closed,
    /// Nothing passes before `due`.
    Open { due: u64 },
    /// A few pass.
    HalfOpen { out: u64, successes: u64 },
}

/// The right to one call; belongs to one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    generation: u64,
}

/// A ticket, and whether it took the last permit of half-open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entered {
    pub(super) ticket: Ticket,
    pub(super) filled: bool,
}

/// How the call of a ticket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Success,
    Failure,
    Ignored,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    phase: Phase,
    generation: u64,
    trips: u64,
}

impl Word {
    fn pack(self) -> u64 {
        let (phase, payload) = match self.phase {
            Phase::Closed => (0, 0),
            Phase::Open { due } => (1, due.div_ceil(1 << DUE_SHIFT).min(PAYLOAD)),
            Phase::HalfOpen { out, successes } => (2, out << 16 | successes),
        };
        phase << 62 | self.generation << 42 | self.trips << 38 | payload
    }

    fn unpack(word: u64) -> Self {
        let payload = word & PAYLOAD;
        let phase = match word >> 62 {
            0 => Phase::Closed,
            1 => Phase::Open { due: payload << DUE_SHIFT },
            _ => Phase::HalfOpen { out: payload >> 16, successes: payload & 0xffff },
        };
        Self { phase, generation: word >> 42 & GENERATION, trips: word >> 38 & TRIPS }
    }

    fn next(self, phase: Phase, trips: u64) -> Self {
        Self { phase, generation: (self.generation + 1) & GENERATION, trips: trips.min(TRIPS) }
    }
}

/// The state of one breaker.
#[derive(Debug)]
pub(super) struct Gate {
    word: AtomicU64,
    /// Generation (upper half) and failures in a row (lower half).
    failures: AtomicU64,
    window: Window,
}

impl Gate {
    /// A closed gate that has seen nothing.
    pub(super) fn new() -> Self {
        Self { word: AtomicU64::new(0), failures: AtomicU64::new(0), window: Window::new() }
    }

    /// The phase as it was last left; an open gate whose time has passed still says open.
    pub(super) fn phase(&self) -> Phase {
        Word::unpack(self.word.load(Ordering::Acquire)).phase
    }

    /// Asks to pass. One load while closed.
    #[inline]
    pub(super) fn enter(&self, now: u64, probes: u64) -> Result<Entered, Phase> {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let word = Word::unpack(seen);
            let next = match word.phase {
                Phase::Closed => {
                    return Ok(Entered { ticket: Ticket { generation: word.generation }, filled: false });
                }
                Phase::Open { due } if now < due => return Err(word.phase),
                Phase::Open { .. } => word.next(Phase::HalfOpen { out: 1, successes: 0 }, word.trips),
                Phase::HalfOpen { out, successes } if out + successes >= probes => return Err(word.phase),
                Phase::HalfOpen { out, successes } => {
                    Word { phase: Phase::HalfOpen { out: out + 1, successes }, ..word }
                }
            };
            match self.word.compare_exchange(seen, next.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    let Phase::HalfOpen { out, successes } = next.phase else { continue };
                    let ticket = Ticket { generation: next.generation };
                    return Ok(Entered { ticket, filled: out + successes >= probes });
                }
                Err(current) => seen = current,
            }
        }
    }

    /// Returns a ticket. `open_for` turns the number of openings in a row before this one into nanoseconds.
    ///
    /// True if a reader of this gate would now decide otherwise than before: the phase changed, or a permit
    /// became free in a half-open gate that was full.
    pub(super) fn finish(
        &self,
        ticket: Ticket,
        ending: Ending,
        now: u64,
        rules: &Rules,
        open_for: impl Fn(u64) -> u64,
    ) -> bool {
        let seen = self.word.load(Ordering::Acquire);
        let word = Word::unpack(seen);
        if word.generation != ticket.generation {
            return false;
        }
        match word.phase {
            Phase::Open { .. } => false,
            Phase::HalfOpen { .. } => self.finish_probe(ticket, ending, now, rules, open_for),
            Phase::Closed => match ending {
                Ending::Ignored => false,
                Ending::Success => {
                    self.window.count(word.generation, false, now / rules.bucket_nanos);
                    self.forget_failures(word.generation);
                    false
                }
                Ending::Failure => {
                    self.window.count(word.generation, true, now / rules.bucket_nanos);
                    let row = self.add_failure(word.generation);
                    if row < rules.consecutive && !self.too_many(word.generation, now, rules) {
                        return false;
                    }
                    let next = word.next(Phase::Open { due: now.saturating_add(open_for(0)) }, 0);
                    // Losing means that another failure of this generation opened it first.
                    self.word.compare_exchange(seen, next.pack(), Ordering::AcqRel, Ordering::Acquire).is_ok()
                }
            },
        }
    }

    fn finish_probe(
        &self,
        ticket: Ticket,
        ending: Ending,
        now: u64,
        rules: &Rules,
        open_for: impl Fn(u64) -> u64,
    ) -> bool {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let word = Word::unpack(seen);
            let Phase::HalfOpen { out, successes } = word.phase else { return false };
            if word.generation != ticket.generation {
                return false;
            }
            let (next, changed) = match ending {
                Ending::Success if successes + 1 >= rules.probes => (word.next(Phase::Closed, 0), true),
                Ending::Success => {
                    let phase = Phase::HalfOpen { out: out - 1, successes: successes + 1 };
                    (Word { phase, ..word }, false)
                }
                Ending::Ignored => {
                    let phase = Phase::HalfOpen { out: out - 1, successes };
                    (Word { phase, ..word }, out + successes >= rules.probes)
                }
                Ending::Failure => {
                    let due = now.saturating_add(open_for(word.trips + 1));
                    (word.next(Phase::Open { due }, word.trips + 1), true)
                }
            };
            match self.word.compare_exchange(seen, next.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    if ending == Ending::Failure {
                        self.failures.fetch_add(1, Ordering::Relaxed);
                    }
                    return changed;
                }
                Err(current) => seen = current,
            }
        }
    }

    /// Failures in a row; while open or half-open, those that led there and those of probes since.
    pub(super) fn failures_in_a_row(&self) -> u64 {
        let word = Word::unpack(self.word.load(Ordering::Acquire));
        let failures = self.failures.load(Ordering::Acquire);
        if word.phase == Phase::Closed && failures >> 32 != word.generation {
            return 0;
        }
        failures & 0xffff_ffff
    }

    fn forget_failures(&self, generation: u64) {
        let clean = generation << 32;
        let mut seen = self.failures.load(Ordering::Acquire);
        while seen >> 32 == generation && seen != clean {
            match self.failures.compare_exchange(seen, clean, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(current) => seen = current,
            }
        }
    }

    fn add_failure(&self, generation: u64) -> u64 {
        let mut seen = self.failures.load(Ordering::Acquire);
        loop {
            let next = match seen >> 32 {
                tag if tag == generation => seen + 1,
                tag if is_later(tag, generation, GENERATION) => return 0,
                _ => generation << 32 | 1,
            };
            match self.failures.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return next & 0xffff_ffff,
                Err(current) => seen = current,
            }
        }
    }

    /// Whether the window has enough calls and too large a share of failures.
    fn too_many(&self, generation: u64, now: u64, rules: &Rules) -> bool {
        let (calls, failures) = self.window.sum(generation, now / rules.bucket_nanos);
        calls >= rules.minimum_calls && failures * 100 >= calls * rules.failure_percent
    }
}
