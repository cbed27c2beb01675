//! The replicas that keep state for a client: its subscriptions, by URI, and its tasks, by id.
//!
//! A service's replicas share nothing, so a message about a subscription or a task goes to the replica that has it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::balance::key_of;
use crate::model::ServerId;
use crate::rpc::{Members, Message, Method};

/// Entries that are kept for one client; beyond this the oldest are forgotten.
const MOST: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StickyKind {
    Subscription,
    Task,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    kind: StickyKind,
    /// The hash of the URI or id: they can be long, and only equality matters.
    key: u64,
    server: ServerId,
}

/// The state that replicas keep for one client, oldest first.
#[derive(Debug, Default)]
pub(crate) struct StickyRoutes(Mutex<VecDeque<Kept>>);

impl StickyRoutes {
    /// The server to which `message` must go, if it is about a subscription or a task that one server has.
    pub(crate) fn server(&self, message: &Message) -> Option<ServerId> {
        let (kind, member) = match message.method()? {
            Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => (StickyKind::Subscription, "uri"),
            Method::TasksGet | Method::TasksResult | Method::TasksUpdate | Method::TasksCancel => {
                (StickyKind::Task, "taskId")
            }
            Method::TasksList => return self.latest(StickyKind::Task),
            _ => return None,
        };
        let key = key_in(message.params()?, member)?;
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().find(|kept| kept.kind == kind && kept.key == key).map(|kept| kept.server)
    }

    /// Records the subscription that `server` keeps once it has received `request`.
    pub(crate) fn asked(&self, request: &Message, server: ServerId) {
        if request.method() == Some(&Method::ResourcesSubscribe)
            && let Some(key) = request.params().and_then(|params| key_in(params, "uri"))
        {
            self.keep(Kept { kind: StickyKind::Subscription, key, server });
        }
    }

    /// Records the task that `server` made of a request, if `answer` says so.
    pub(crate) fn answered(&self, answer: &Message, server: ServerId) {
        let task = || {
            let result = answer.result()?;
            // Hardly any answer has one: a search is cheaper than reading every object.
            memchr::memmem::find(result.as_bytes(), br#""task""#)?;
            Members::parse(result).ok()?.get("task")
        };
        if let Some(key) = task().filter(|task| task.starts_with('{')).and_then(|task| key_in(task, "taskId"))
        {
            self.keep(Kept { kind: StickyKind::Task, key, server });
        }
    }

    fn latest(&self, kind: StickyKind) -> Option<ServerId> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().find(|kept| kept.kind == kind).map(|kept| kept.server)
    }

    fn keep(&self, new: Kept) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|old| (old.kind, old.key) != (new.kind, new.key));
        if kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back(new);
    }
}

fn key_in(object: &str, member: &str) -> Option<u64> {
    Members::parse(object).ok()?.text(member).map(|text| key_of(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> Message {
        Message::parse(bytes::Bytes::copy_from_slice(json.as_bytes())).unwrap()
    }

    fn request(method: &str, params: &str) -> Message {
        Message::parse(Message::request(Some(1), method, Some(params))).unwrap()
    }

    #[test]
    fn a_subscription_is_ended_where_it_was_begun() {
        let (bound, server) = (StickyRoutes::default(), ServerId::random());
        bound.asked(&request("resources/subscribe", r#"{"uri":"test://a"}"#), server);
        let unsubscribe =
            |uri: &str| request("resources/unsubscribe", &format!(r#"{{"uri":"test:\/\/{uri}"}}"#));
        assert_eq!(bound.server(&unsubscribe("a")), Some(server));
        assert_eq!(bound.server(&unsubscribe("b")), None);
        assert_eq!(bound.server(&request("resources/read", r#"{"uri":"test://a"}"#)), None);
    }

    #[test]
    fn a_task_is_asked_for_where_it_was_made_and_the_list_comes_from_the_last_one() {
        let (bound, first, last) = (StickyRoutes::default(), ServerId::random(), ServerId::random());
        let made = |id: &str| {
            message(&format!(
                r#"{{"jsonrpc":"2.0","id":1,"result":{{"task":{{"taskId":"{id}","status":"working"}}}}}}"#
            ))
        };
        bound.answered(&made("t1"), first);
        bound.answered(&made("t2"), last);
        bound.answered(&message(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#), first);
        for method in ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update"] {
            assert_eq!(bound.server(&request(method, r#"{"taskId":"t1"}"#)), Some(first));
        }
        assert_eq!(bound.server(&request("tasks/list", "{}")), Some(last));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let (bound, server) = (StickyRoutes::default(), ServerId::random());
        for n in 0..=MOST {
            bound.asked(&request("resources/subscribe", &format!(r#"{{"uri":"test://{n}"}}"#)), server);
        }
        let asked = |n: usize| request("resources/unsubscribe", &format!(r#"{{"uri":"test://{n}"}}"#));
        assert_eq!(bound.server(&asked(0)), None);
        assert_eq!(bound.server(&asked(MOST)), Some(server));
    }
}
