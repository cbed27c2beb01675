//! The replicas of one service, compared by how well they answer: one that answers with errors of its own what the others answer
//! well is an outlier, and gets one call in a hundred until it answers well again.
//!
//! Answers are compared by subject (method and tool), each replica with at least 20 of them. A difference counts if it is large (20
//! points) and not by chance (three standard errors). Where the others have answered too few, because a key or fewer calls in
//! flight draw every call to the bad one, it first gives half of its calls away.
//!
//! Invariants:
//! - A replica is an outlier only beside another one that is none: a single one never is, and never all are.
//! - While no replica has answered badly for a while, an answer costs one look at a flag.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::ReplicaState;
use crate::clock::Tick;
use crate::model::ServerId;

/// Answers of one replica below which nothing is said about it.
const ENOUGH: u32 = 20;
/// Answers at which the counts are halved, so that old ones count less.
const MANY: u32 = 200;
/// The least difference of the shares of bad answers.
const DIFFERENCE: f64 = 0.2;
/// The least difference in standard errors.
const STANDARD_ERRORS: f64 = 3.0;
/// One call in so many goes to an outlier.
const OUTLIER: u32 = 100;
/// One call in so many goes to a replica that cannot be compared yet.
const SUSPECT: u32 = 2;
/// Good answers in a row after which an outlier is none any more.
const PROVEN: u32 = 5;
/// For so long after the last bad answer, answers are counted, and an outlier is kept whose subject nobody asks for.
const MEMORY: Duration = Duration::from_mins(5);
/// Subjects that are counted.
const MOST_SUBJECTS: usize = 256;

/// The comparison of the replicas of one service.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    awake: AtomicBool,
    ejections: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Weak<ReplicaState>>,
    subjects: HashMap<u64, Subject, RandomState>,
    outliers: Vec<Outlier>,
    suspect: Option<(ServerId, u64)>,
    last_bad: Tick,
}

#[derive(Debug, Default)]
struct Subject {
    scores: Vec<(ServerId, Score)>,
    seen: Tick,
}

#[derive(Clone, Copy, Debug, Default)]
struct Score {
    answers: u32,
    bad: u32,
}

#[derive(Debug)]
struct Outlier {
    replica: ServerId,
    subject: u64,
    good_in_a_row: u32,
}

impl Comparison {
    /// Compares this replica with the others from now on.
    pub(crate) fn join(&self, replica: &Arc<ReplicaState>) {
        let mut state = self.lock();
        state.members.retain(|member| member.strong_count() > 0);
        let known = state.members.iter().any(|member| std::ptr::eq(member.as_ptr(), Arc::as_ptr(replica)));
        if !known {
            state.members.push(Arc::downgrade(replica));
        }
    }

    /// How often a replica became an outlier.
    pub(crate) fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Counts an answer of `replica`; `bad`: an error of the server's own.
    #[inline]
    pub(super) fn answered(&self, replica: &ReplicaState, subject: u64, bad: bool, now: Tick) {
        if bad || self.awake.load(Ordering::Relaxed) {
            self.count(replica, subject, bad, now);
        }
    }

    #[cold]
    fn count(&self, replica: &ReplicaState, subject: u64, bad: bool, now: Tick) {
        let mut state = self.lock();
        if bad {
            state.last_bad = now;
            self.awake.store(true, Ordering::Relaxed);
        }
        let members: Vec<Arc<ReplicaState>> = state.members.iter().filter_map(Weak::upgrade).collect();
        state.forget_old(&members, now);
        if state.is_at_rest(now) || members.len() < 2 {
            self.awake.store(false, Ordering::Relaxed);
            state.subjects.clear();
            for member in state.outliers.drain(..).filter_map(|one| named(&members, one.replica)) {
                member.set_one_in(0);
            }
            return;
        }
        if !state.add(replica.id(), subject, bad, now) {
            return;
        }
        state.prove(replica, subject, bad);
        let doubted = state.suspect.filter(|(_, of)| *of == subject).map(|(suspect, _)| suspect);
        let candidates = doubted.into_iter().chain(bad.then(|| replica.id()));
        for candidate in candidates.filter_map(|id| named(&members, id)) {
            if state.judge(candidate, &members, subject) {
                self.ejections.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A count that a panic elsewhere left half made is one answer more or less.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there is nothing to compare any more.
    fn is_at_rest(&self, now: Tick) -> bool {
        self.outliers.is_empty() && self.suspect.is_none() && now.since(self.last_bad) >= MEMORY
    }

    /// Forgets outliers and suspects whose subject nobody has asked for.
    fn forget_old(&mut self, members: &[Arc<ReplicaState>], now: Tick) {
        let subjects = &self.subjects;
        let is_old = |of: u64| subjects.get(&of).is_none_or(|subject| now.since(subject.seen) >= MEMORY);
        let old: Vec<ServerId> =
            self.outliers.iter().filter(|one| is_old(one.subject)).map(|one| one.replica).collect();
        let doubted = self.suspect.filter(|(_, of)| is_old(*of)).map(|(suspect, _)| suspect);
        for id in old.into_iter().chain(doubted) {
            self.clear(id, members);
        }
    }

    /// Counts an answer; false if there are too many subjects already.
    fn add(&mut self, replica: ServerId, of: u64, bad: bool, now: Tick) -> bool {
        if !self.subjects.contains_key(&of) && self.subjects.len() >= MOST_SUBJECTS {
            self.subjects.retain(|_, subject| now.since(subject.seen) < MEMORY);
            if self.subjects.len() >= MOST_SUBJECTS {
                return false;
            }
        }
        let subject = self.subjects.entry(of).or_default();
        subject.seen = now;
        if !subject.scores.iter().any(|(id, _)| *id == replica) {
            subject.scores.push((replica, Score::default()));
        }
        let mut many = false;
        for (_, score) in subject.scores.iter_mut().filter(|(id, _)| *id == replica) {
            score.answers += 1;
            score.bad += u32::from(bad);
            many = score.answers >= MANY;
        }
        if many {
            for (_, score) in &mut subject.scores {
                *score = Score { answers: score.answers / 2, bad: score.bad / 2 };
            }
        }
        true
    }

    /// An outlier that answers well what it answered badly is none any more.
    fn prove(&mut self, replica: &ReplicaState, subject: u64, bad: bool) {
        let id = replica.id();
        let outlier = self.outliers.iter_mut().find(|one| one.replica == id && one.subject == subject);
        let Some(outlier) = outlier else { return };
        outlier.good_in_a_row = if bad { 0 } else { outlier.good_in_a_row + 1 };
        if outlier.good_in_a_row < PROVEN {
            return;
        }
        tracing::info!(
            server = &**replica.name(),
            "a replica answers well again, and gets its share of the calls"
        );
        self.outliers.retain(|one| one.replica != id);
        self.forget_scores(id);
        replica.set_one_in(0);
    }

    /// Compares the candidate with the others; true if it is an outlier from now on.
    fn judge(&mut self, candidate: &ReplicaState, members: &[Arc<ReplicaState>], of: u64) -> bool {
        let id = candidate.id();
        let is_outlier = |id: ServerId| self.outliers.iter().any(|one| one.replica == id);
        let mine = self.score(id, of);
        if is_outlier(id) || mine.answers < ENOUGH {
            return false;
        }
        let others =
            members.iter().map(|member| member.id()).filter(|other| *other != id && !is_outlier(*other));
        let others: Vec<Score> = others.map(|other| self.score(other, of)).collect();
        let compared = others.iter().filter(|score| score.answers >= ENOUGH).copied().reduce(Score::plus);
        let Some(compared) = compared else {
            let doubtful = mine.bad * 2 >= mine.answers && !others.is_empty() && self.suspect.is_none();
            if doubtful {
                self.suspect = Some((id, of));
                candidate.set_one_in(SUSPECT);
            }
            return false;
        };
        if mine.is_worse_than(compared) {
            tracing::warn!(
                server = &**candidate.name(),
                answers = mine.answers,
                errors = mine.bad,
                "a replica answers with errors what the others of its service answer well; it gets one call in {OUTLIER}"
            );
            self.outliers.push(Outlier { replica: id, subject: of, good_in_a_row: 0 });
            self.suspect = self.suspect.filter(|(suspect, _)| *suspect != id);
            candidate.set_one_in(OUTLIER);
            return true;
        }
        if self.suspect == Some((id, of)) {
            self.clear(id, members);
        }
        false
    }

    fn score(&self, replica: ServerId, of: u64) -> Score {
        let scores = self.subjects.get(&of).map_or(&[][..], |subject| &subject.scores);
        scores.iter().find(|(id, _)| *id == replica).map(|(_, score)| *score).unwrap_or_default()
    }

    /// The replica gets its share of the calls again.
    fn clear(&mut self, id: ServerId, members: &[Arc<ReplicaState>]) {
        self.outliers.retain(|one| one.replica != id);
        self.suspect = self.suspect.filter(|(suspect, _)| *suspect != id);
        if let Some(member) = named(members, id) {
            member.set_one_in(0);
        }
    }

    fn forget_scores(&mut self, id: ServerId) {
        for subject in self.subjects.values_mut() {
            subject.scores.retain(|(replica, _)| *replica != id);
        }
    }
}

impl Score {
    fn plus(self, other: Self) -> Self {
        Self { answers: self.answers + other.answers, bad: self.bad + other.bad }
    }

    fn share(self) -> f64 {
        f64::from(self.bad) / f64::from(self.answers.max(1))
    }

    /// Whether the share of bad answers is larger, by much and not by chance (the test of two proportions).
    fn is_worse_than(self, other: Self) -> bool {
        let all = self.plus(other).share();
        let spread = all * (1.0 - all);
        let error =
            (spread / f64::from(self.answers.max(1)) + spread / f64::from(other.answers.max(1))).sqrt();
        let difference = self.share() - other.share();
        difference >= DIFFERENCE && difference > STANDARD_ERRORS * error
    }
}

fn named(members: &[Arc<ReplicaState>], id: ServerId) -> Option<&Arc<ReplicaState>> {
    members.iter().find(|member| member.id() == id)
}
