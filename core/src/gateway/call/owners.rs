//! The owner of each task, and the server that made it: a task that a server made for a principal is unknown to every other.
//!
//! Servers that many callers share cannot tell them apart, so the gateway remembers the owners of the newest tasks. The servers
//! choose the ids, and two servers may use the same one.

use std::collections::{HashMap, VecDeque};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use memchr::memmem::Finder;
use serde_json::value::RawValue;

use super::answering::Answering;
use super::context::CallContext;
use super::lists;
use crate::balance::key_of;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::routing::names::shown;
use crate::gateway::routing::service::Replica;
use crate::model::{Endpoint, Principal, ServerId};
use crate::rpc::{Edit, Members, Message, Splice};

static TASK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""taskId""#));

/// Tasks that are remembered, of all principals together; beyond this the oldest are forgotten.
const MOST: usize = 65_536;

/// The owners of tasks.
#[derive(Debug, Default)]
pub(crate) struct Owners(Mutex<OwnerTable>);

#[derive(Debug, Default)]
struct OwnerTable {
    /// By tenant and id, as a hash only: ids and subjects can be long, and only equality matters.
    by_task: HashMap<u64, Vec<Made>>,
    order: VecDeque<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Made {
    server: ServerId,
    /// The hash of the subject.
    owner: u64,
}

impl Owners {
    /// Records the task that `server` made for `principal`, if `answer` names one. The first owner of an id stays.
    pub(crate) fn note(&self, principal: &Principal, answer: &Message, server: ServerId) {
        // Hardly any answer has one: a search is cheaper than reading every object.
        if answer.result_bytes().is_none_or(|result| TASK.find(result).is_none()) {
            return;
        }
        let Some(task) = answer.result().and_then(task_of) else { return };
        let key = key(principal, &task);
        let mut table = self.table();
        let table = &mut *table;
        let made = table.by_task.entry(key).or_default();
        if made.iter().any(|made| made.server == server) {
            return;
        }
        made.push(Made { server, owner: key_of(&principal.subject) });
        table.order.push_back(key);
        if table.order.len() > MOST
            && let Some(oldest) = table.order.pop_front()
            && let Some(made) = table.by_task.get_mut(&oldest)
        {
            made.remove(0);
            if made.is_empty() {
                table.by_task.remove(&oldest);
            }
        }
    }

    /// The server that made the task to which `message` refers, if that is known, among the servers that `counts` accepts.
    ///
    /// [`ErrorKind::InvalidParams`], as for a task that never was, if it is somebody else's; also if several made one of this id.
    fn maker(
        &self,
        principal: &Principal,
        message: &Message,
        counts: impl Fn(ServerId) -> bool,
    ) -> Result<Option<ServerId>> {
        let params = message.params().and_then(|params| Members::parse(params).ok());
        let Some(task) = params.and_then(|params| params.text("taskId").map(String::from)) else {
            return Ok(None);
        };
        let made: Vec<Made> = {
            let table = self.table();
            let all = table.by_task.get(&key(principal, &task));
            all.into_iter().flatten().copied().filter(|made| counts(made.server)).collect()
        };
        let me = key_of(&principal.subject);
        let mut own = made.iter().filter(|made| made.owner == me);
        match (own.next(), own.next()) {
            (Some(_), Some(_)) => {
                let text =
                    "several servers made a task of this id for you; ask for it on the route of its service";
                Err(Error::new(ErrorKind::InvalidParams, text))
            }
            (Some(made), None) => Ok(Some(made.server)),
            (None, _) if made.is_empty() => Ok(None),
            (None, _) => Err(Error::new(ErrorKind::InvalidParams, format!("Unknown task: {}", shown(&task)))),
        }
    }

    /// Whether a task of this server is the principal's own; `None` if its owner is not known.
    fn is_own(&self, principal: &Principal, task: &str, server: ServerId) -> Option<bool> {
        let table = self.table();
        let made = table.by_task.get(&key(principal, task))?.iter().find(|made| made.server == server)?;
        Some(made.owner == key_of(&principal.subject))
    }

    fn table(&self) -> MutexGuard<'_, OwnerTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// The replica that made the task to which `message` refers, if it is known and on this route. Errors as of
    /// [`Owners::maker`].
    pub(crate) fn maker(
        &self,
        principal: &Principal,
        route: &Endpoint,
        message: &Message,
    ) -> Result<Option<Replica>> {
        let is_here = |id| {
            route.is_aggregated()
                || self.replica(id).is_some_and(|replica| route.covers(&replica.server.service))
        };
        let maker = self.owners.maker(principal, message, is_here)?;
        Ok(maker.and_then(|id| self.replica(id)))
    }

    /// The answer as its caller gets it: a list of items is repaired, the URIs that it gives are remembered, and ownership is
    /// applied. A new task is recorded, and a list shows only the caller's tasks. In a session that many
    /// callers share, those are the tasks known to be the caller's; in the client's own session, also tasks of unknown owner.
    pub(crate) fn of_tasks(&self, context: &CallContext, answering: &Answering, answer: Message) -> Message {
        let (principal, server) = (&context.principal, answering.server);
        if !answering.lists_tasks {
            self.owners.note(principal, &answer, server);
            let answer = lists::mended(&answering.method, &answer).unwrap_or(answer);
            self.note_given(context, &answer, server);
            return answer;
        }
        let unknown_too = answering.relay.session.is_own();
        let shows = |task: &str| self.owners.is_own(principal, task, server).unwrap_or(unknown_too);
        narrowed(&answer, shows).unwrap_or(answer)
    }
}

/// A list of tasks without those that are not shown; `None` if it needs no change.
fn narrowed(answer: &Message, shows: impl Fn(&str) -> bool) -> Option<Message> {
    let result = answer.result()?;
    let mut edit = Edit::of(result).ok()?;
    let all: Vec<&RawValue> = serde_json::from_str(edit.members().get("tasks")?).ok()?;
    let shown = |task: &&&RawValue| {
        let id = Members::parse(task.get()).ok().and_then(|task| task.text("taskId").map(String::from));
        id.is_some_and(|id| shows(&id))
    };
    let kept: Vec<_> = all.iter().filter(shown).map(|task| task.get()).collect();
    if kept.len() == all.len() {
        return None;
    }
    edit.set("tasks", format!("[{}]", kept.join(",")));
    let mut splice = Splice::new();
    edit.write(&mut splice, answer.range_of(result).start);
    Message::parse(splice.apply(answer.bytes())).ok()
}

/// The id of the task in a result.
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

    fn asks(method: &str, task: &str) -> Message {
        let params = format!(r#"{{"taskId":"{task}"}}"#);
        Message::parse(Message::request(Some(1), method, Some(&params))).unwrap()
    }

    /// T-03: a task is unknown to every principal but its owner, in both forms in which servers report it.
    #[test]
    fn a_task_of_somebody_else_is_unknown() {
        let (owners, server) = (Owners::default(), ServerId::random());
        let made = [
            r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"t1","status":"working"}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","taskId":"t2"}}"#,
        ];
        for (n, answer) in made.iter().enumerate() {
            owners.note(&who("a"), &message(answer), server);
            // A principal that receives the task later does not become its owner.
            owners.note(&who("b"), &message(answer), server);
            for method in ["tasks/get", "tasks/cancel", "tasks/update", "tasks/result"] {
                let asked = asks(method, &format!("t{}", n + 1));
                let maker = |who: &Principal| owners.maker(who, &asked, |_| true);
                assert_eq!(maker(&who("a")).unwrap(), Some(server));
                assert_eq!(maker(&who("b")).unwrap_err().kind(), ErrorKind::InvalidParams);
                let other = Principal { tenant: "other".parse().unwrap(), ..who("a") };
                assert_eq!(maker(&other).unwrap(), None, "another tenant has tasks and servers of its own");
            }
        }
    }

    #[test]
    fn servers_that_give_the_same_id_are_told_apart_where_the_route_says_which() {
        let (owners, one, two) = (Owners::default(), ServerId::random(), ServerId::random());
        let made = message(r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","taskId":"1"}}"#);
        owners.note(&who("a"), &made, one);
        owners.note(&who("b"), &made, two);
        let asked = asks("tasks/get", "1");
        assert_eq!(owners.maker(&who("a"), &asked, |_| true).unwrap(), Some(one));
        assert_eq!(owners.maker(&who("b"), &asked, |_| true).unwrap(), Some(two));
        assert!(owners.maker(&who("b"), &asked, |id| id == one).is_err());
        owners.note(&who("a"), &message(r#"{"jsonrpc":"2.0","id":1,"result":{"taskId":"2"}}"#), one);
        owners.note(&who("a"), &message(r#"{"jsonrpc":"2.0","id":1,"result":{"taskId":"2"}}"#), two);
        let asked = asks("tasks/get", "2");
        assert_eq!(owners.maker(&who("a"), &asked, |_| true).unwrap_err().kind(), ErrorKind::InvalidParams);
        assert_eq!(owners.maker(&who("a"), &asked, |id| id == two).unwrap(), Some(two));
    }

    #[test]
    fn the_oldest_of_too_many_tasks_are_forgotten() {
        let (owners, server) = (Owners::default(), ServerId::random());
        for n in 0..=MOST {
            let made = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"taskId":"t{n}"}}}}"#);
            owners.note(&who("a"), &message(&made), server);
        }
        assert_eq!(owners.maker(&who("b"), &asks("tasks/get", "t0"), |_| true).unwrap(), None);
        assert!(owners.maker(&who("b"), &asks("tasks/get", "t1"), |_| true).is_err());
        assert_eq!(owners.table().by_task.len(), MOST);
    }

    #[test]
    fn a_list_of_tasks_shows_what_is_shown_byte_for_byte() {
        let text = r#"{"jsonrpc":"2.0","id":7,"result":{"x":1.0,"tasks":[{"taskId":"a", "y":1e3},{"taskId":"b"},{}],"nextCursor":"n"}}"#;
        let own = narrowed(&message(text), |task| task == "a").unwrap();
        assert_eq!(
            own.text(),
            r#"{"jsonrpc":"2.0","id":7,"result":{"x":1.0,"tasks":[{"taskId":"a", "y":1e3}],"nextCursor":"n"}}"#
        );
        assert!(narrowed(&message(r#"{"jsonrpc":"2.0","id":7,"result":{"tasks":[]}}"#), |_| false).is_none());
    }
}
