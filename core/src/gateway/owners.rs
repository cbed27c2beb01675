//! Whose a task is: one that a server made for a principal is unknown to every other.
//!
//! Servers that many share cannot tell their callers apart, so it is remembered here, for the newest of them.

use std::collections::{HashMap, VecDeque};
use std::sync::{LazyLock, Mutex, PoisonError};

use memchr::memmem::Finder;

use super::names::shown;
use crate::balance::key_of;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Principal;
use crate::rpc::{Members, Message};

/// Tasks that are remembered, of everybody; beyond this the oldest are forgotten.
const MOST: usize = 65_536;

static TASK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""taskId""#));

/// The owners of tasks.
#[derive(Debug, Default)]
pub(super) struct Owners(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Hashes only: ids and subjects can be long, and only equality matters.
    by_task: HashMap<u64, u64>,
    order: VecDeque<u64>,
}

impl Owners {
    /// Takes note of the task that was made for `principal`, if `answer` says so. The first one named so stays.
    pub(super) fn note(&self, principal: &Principal, answer: &Message) {
        // Hardly any answer has one: a search is cheaper than reading every object.
        let told = answer.result_bytes().is_some_and(|result| TASK.find(result).is_some());
        let Some(task) = told.then(|| answer.result()).flatten().and_then(task_of) else { return };
        let key = key(principal, &task);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.by_task.contains_key(&key) {
            return;
        }
        if table.order.len() >= MOST
            && let Some(oldest) = table.order.pop_front()
        {
            table.by_task.remove(&oldest);
        }
        table.order.push_back(key);
        table.by_task.insert(key, key_of(&principal.subject));
    }

    /// [`ErrorKind::InvalidParams`], as for a task that never was, if `message` names a task of somebody else.
    pub(super) fn check(&self, principal: &Principal, message: &Message) -> Result<()> {
        let params = message.params().and_then(|params| Members::parse(params).ok());
        let Some(task) = params.and_then(|params| params.text("taskId").map(String::from)) else {
            return Ok(());
        };
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match table.by_task.get(&key(principal, &task)) {
            Some(owner) if *owner != key_of(&principal.subject) => {
                Err(Error::new(ErrorKind::InvalidParams, format!("Unknown task: {}", shown(&task))))
            }
            _ => Ok(()),
        }
    }
}

/// The id of the task that a result tells of.
fn task_of(result: &str) -> Option<String> {
    let members = Members::parse(result).ok()?;
    let inner = members.get("task").filter(|task| task.starts_with('{'));
    let text = |members: &Members<'_>| members.text("taskId").map(String::from);
    inner.and_then(|task| Members::parse(task).ok()).and_then(|task| text(&task)).or_else(|| text(&members))
}

/// Tenants have nothing in common, so neither have their tasks.
fn key(principal: &Principal, task: &str) -> u64 {
    key_of(&format!("{}\n{task}", principal.tenant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Role, TenantId};

    fn who(subject: &str) -> Principal {
        Principal::new(TenantId::default_tenant(), subject, Role::Analyst)
    }

    fn message(json: &str) -> Message {
        Message::parse(bytes::Bytes::copy_from_slice(json.as_bytes())).unwrap()
    }

    /// T-03: a task is unknown to whoever it was not made for, in either form in which servers tell of it.
    #[test]
    fn a_task_of_somebody_else_is_unknown() {
        let owners = Owners::default();
        let made = [
            r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"t1","status":"working"}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","taskId":"t2"}}"#,
        ];
        for (n, answer) in made.iter().enumerate() {
            owners.note(&who("a"), &message(answer));
            // Whoever is told of it later does not become its owner.
            owners.note(&who("b"), &message(answer));
            for method in ["tasks/get", "tasks/cancel", "tasks/update", "tasks/result"] {
                let params = format!(r#"{{"taskId":"t{}"}}"#, n + 1);
                let asked = Message::parse(Message::request(Some(1), method, Some(&params))).unwrap();
                assert!(owners.check(&who("a"), &asked).is_ok());
                assert_eq!(owners.check(&who("b"), &asked).unwrap_err().kind(), ErrorKind::InvalidParams);
                let other = Principal { tenant: "other".parse().unwrap(), ..who("a") };
                assert!(
                    owners.check(&other, &asked).is_ok(),
                    "another tenant has tasks and servers of its own"
                );
            }
        }
    }
}
