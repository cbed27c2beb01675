//! The problems of each server, as they were found last.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{Problem, ProblemKind, ServerId};

/// Problems that are kept of one server at most; more are counted in the last one.
const MAX_KEPT: usize = 100;

/// The problems by server.
#[derive(Debug, Default)]
pub(crate) struct Problems(Mutex<HashMap<ServerId, Vec<Problem>>>);

impl Problems {
    /// Replaces the problems of these kinds by those that were found now. A problem that was known keeps the time since when it
    /// is there. Returns whether anything but times changed.
    pub(crate) fn replace(&self, id: ServerId, kinds: &[ProblemKind], found: Vec<Problem>) -> bool {
        let mut all = self.lock();
        let known = all.remove(&id).unwrap_or_default();
        let (before, others): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|problem| kinds.contains(&problem.what));
        let mut found = cut(found);
        for problem in &mut found {
            if let Some(seen) = before.iter().find(|seen| is_same(seen, problem)) {
                problem.since = seen.since;
            }
        }
        let same = before.len() == found.len() && before.iter().zip(&found).all(|(a, b)| is_same(a, b));
        let now: Vec<_> = others.into_iter().chain(found).collect();
        if !now.is_empty() {
            all.insert(id, now);
        }
        !same
    }

    /// The problems of a server.
    pub(crate) fn of(&self, id: ServerId) -> Vec<Problem> {
        self.lock().get(&id).cloned().unwrap_or_default()
    }

    /// Forgets the servers that are not `known`.
    pub(crate) fn retain(&self, known: impl Fn(ServerId) -> bool) {
        self.lock().retain(|id, _| known(*id));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerId, Vec<Problem>>> {
        // A panic elsewhere cannot leave the map half changed: every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_same(a: &Problem, b: &Problem) -> bool {
    a.what == b.what && a.item == b.item && a.reason == b.reason
}

/// The first problems, and one that counts the others.
fn cut(mut found: Vec<Problem>) -> Vec<Problem> {
    if found.len() > MAX_KEPT {
        let more = found.len() - MAX_KEPT + 1;
        found.truncate(MAX_KEPT);
        if let Some(last) = found.last_mut() {
            last.item = None;
            last.reason = format!("{more} more problems of this server are not shown");
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn problem(what: ProblemKind, reason: &str, at: i64) -> Problem {
        let since = Timestamp::from_second(at).unwrap();
        Problem { what, item: Some("x".into()), reason: reason.into(), since, next_attempt: None }
    }

    #[test]
    fn a_known_problem_keeps_its_time_and_problems_of_other_kinds_stay() {
        let (problems, id) = (Problems::default(), ServerId::random());
        let kinds = &ProblemKind::FOUND_BY_LISTS;
        assert!(problems.replace(id, &[ProblemKind::Server], vec![problem(ProblemKind::Server, "s", 1)]));
        assert!(problems.replace(id, kinds, vec![problem(ProblemKind::Item, "a", 2)]));
        assert!(!problems.replace(id, kinds, vec![problem(ProblemKind::Item, "a", 3)]));
        let known: Vec<_> = problems.of(id).iter().map(|one| one.since.as_second()).collect();
        assert_eq!(known, [1, 2]);
        assert!(problems.replace(id, kinds, Vec::new()));
        assert_eq!(problems.of(id).len(), 1);
        problems.retain(|_| false);
        assert_eq!(problems.of(id), []);
    }

    #[test]
    fn a_server_with_many_problems_does_not_fill_the_memory() {
        let (problems, id) = (Problems::default(), ServerId::random());
        let many = (0..250).map(|n| problem(ProblemKind::Item, &n.to_string(), 1)).collect();
        problems.replace(id, &ProblemKind::FOUND_BY_LISTS, many);
        let kept = problems.of(id);
        assert_eq!(kept.len(), MAX_KEPT);
        assert!(kept.last().unwrap().reason.contains("151 more"), "{:?}", kept.last());
    }
}
