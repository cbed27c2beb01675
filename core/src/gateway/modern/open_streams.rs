//! How many streams each principal holds open: one that opens many leaves room for the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Principal;

/// The open streams, counted by principal.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenStreams(Arc<Mutex<HashMap<Principal, usize>>>);

/// One open stream; releases its slot when dropped.
#[derive(Debug)]
pub(super) struct Hold {
    held: OpenStreams,
    principal: Principal,
}

impl OpenStreams {
    /// One more. [`ErrorKind::RateLimited`] if the principal has `most`.
    pub(super) fn enter(&self, principal: &Principal, most: usize) -> Result<Hold> {
        let mut all = self.all();
        let count = all.entry(principal.clone()).or_default();
        if *count >= most {
            return Err(Error::new(
                ErrorKind::RateLimited,
                "you have as many subscriptions open as you may have; close some",
            )
            .with("limit", most)
            .retry_after(Duration::from_secs(10)));
        }
        *count += 1;
        Ok(Hold { held: self.clone(), principal: principal.clone() })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Principal, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut all = self.held.all();
        if let Some(count) = all.get_mut(&self.principal) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Role, TenantId};

    #[test]
    fn a_principal_with_too_many_streams_is_refused_and_no_other_is() {
        let held = OpenStreams::default();
        let who = |subject: &str| Principal::new(TenantId::default_tenant(), subject, Role::Analyst);
        let first = held.enter(&who("a"), 2).unwrap();
        let second = held.enter(&who("a"), 2).unwrap();
        assert_eq!(held.enter(&who("a"), 2).unwrap_err().kind(), ErrorKind::RateLimited);
        assert!(held.enter(&who("b"), 2).is_ok());
        drop(first);
        let third = held.enter(&who("a"), 2).unwrap();
        drop((second, third));
        assert!(held.all().is_empty());
    }
}
