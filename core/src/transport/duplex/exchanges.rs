//! Delivers messages: to requests under way by id, and those that belong to no exchange.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mailbox::Mailbox;
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::{Members, Message, Method, Shape, meta};

/// How far a message is on its way to the server.
#[derive(Debug, Default)]
pub(in crate::transport) struct Slip(AtomicU8);

const QUEUED: u8 = 0;
const STARTED: u8 = 1;
const ABANDONED: u8 = 2;

impl Slip {
    /// The message is about to be written. False if nobody wants that any more.
    pub(in crate::transport) fn start(&self) -> bool {
        self.0.compare_exchange(QUEUED, STARTED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The message is not to be written. False if that comes too late.
    pub(in crate::transport) fn abandon(&self) -> bool {
        self.0.compare_exchange(QUEUED, ABANDONED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether any of it can have been written.
    pub(in crate::transport) fn is_started(&self) -> bool {
        self.0.load(Ordering::Acquire) == STARTED
    }
}

/// Why a link carries nothing any more, as reported to its requests.
#[derive(Clone, Debug)]
pub(in crate::transport) struct Ending {
    pub(in crate::transport) message: Cow<'static, str>,
    pub(in crate::transport) status: Option<String>,
    pub(in crate::transport) last_words: Option<String>,
}

impl Ending {
    /// The error of a request: a request that was not begun can go elsewhere.
    fn error(&self, started: bool) -> Error {
        let kind = if started { ErrorKind::BadUpstream } else { ErrorKind::Unavailable };
        let mut error = Error::new(kind, self.message.clone());
        if let Some(status) = &self.status {
            error = error.with("status", status);
        }
        if let Some(line) = &self.last_words {
            error = error.with_private("last_stderr", line);
        }
        if started { error } else { error.not_sent() }
    }
}

struct PendingExchange {
    order: u64,
    slip: Arc<Slip>,
    mailbox: Arc<Mailbox>,
    /// It only listens: a message that does not name it does not belong to it.
    listens: bool,
}

#[derive(Default)]
struct Open {
    asked: HashMap<u64, PendingExchange>,
    count: u64,
    ending: Option<Ending>,
}

/// The exchanges of one link.
pub(in crate::transport) struct Exchanges {
    /// One client's link: a message of no exchange may go to any of them.
    own: bool,
    open: Mutex<Open>,
    /// Messages that belong to no exchange, for [`Link::listen`](crate::transport::Link::listen).
    pub(in crate::transport) unasked: Mailbox,
}

/// The outcome of a message from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transport) enum Receipt {
    /// It is in a mailbox.
    Kept,
    /// It is in the mailbox for messages of no exchange, from which this many old ones were dropped.
    Displaced(usize),
    /// It is the answer to, or the progress of, no request that is under way.
    Late,
    /// The reader of this exchange is too slow: the exchange was ended.
    Overrun(u64),
}

impl Exchanges {
    pub(in crate::transport) fn new(own: bool) -> Self {
        Self { own, open: Mutex::default(), unasked: Mailbox::default() }
    }

    /// Opens the exchange `id`; `listens` if it only listens to messages that name it. Fails, `NotSent`, when the link has ended
    /// or the id is in use.
    pub(in crate::transport) fn begin(
        &self,
        id: u64,
        slip: Arc<Slip>,
        listens: bool,
    ) -> Result<Arc<Mailbox>> {
        let mut open = self.lock();
        if let Some(ending) = &open.ending {
            return Err(ending.error(false));
        }
        if open.asked.contains_key(&id) {
            return Err(Error::new(
                ErrorKind::Internal,
                "a request with this id is in progress on the connection",
            )
            .with("id", id)
            .not_sent());
        }
        open.count += 1;
        let mailbox = Arc::new(Mailbox::default());
        let asked = PendingExchange { order: open.count, slip, mailbox: mailbox.clone(), listens };
        open.asked.insert(id, asked);
        Ok(mailbox)
    }

    /// Closes the exchange `id`: a message that still comes for it is late. Returns whether it was open.
    pub(in crate::transport) fn forget(&self, id: u64) -> bool {
        self.lock().asked.remove(&id).is_some()
    }

    /// Delivers a message from the server.
    pub(in crate::transport) fn receive(&self, message: Message) -> Receipt {
        match message.method() {
            None => self.answer(message),
            Some(Method::Progress) => match progress_token(&message) {
                Some(id) => self.deliver(id, message),
                None => Receipt::Late,
            },
            Some(
                Method::ToolsChanged
                | Method::ResourcesChanged
                | Method::PromptsChanged
                | Method::ResourceUpdated
                | Method::Acknowledged,
            ) if let Some(id) = subscription(&message) => self.deliver(id, message),
            Some(Method::ToolsChanged | Method::ResourcesChanged | Method::PromptsChanged) => {
                self.keep_unasked(message)
            }
            Some(_) => match self.newest() {
                Some(id) => self.deliver(id, message),
                None => self.keep_unasked(message),
            },
        }
    }

    /// Fails the request `id`, whose answer cannot be read. Returns whether it was under way.
    pub(in crate::transport) fn fail(&self, id: u64, error: Error) -> bool {
        let Some(asked) = self.lock().asked.remove(&id) else { return false };
        asked.mailbox.close(Some(error));
        true
    }

    /// Fails all requests under way. The first ending counts.
    pub(in crate::transport) fn end(&self, ending: Ending) {
        let mut open = self.lock();
        if open.ending.is_some() {
            return;
        }
        for asked in open.asked.drain().map(|(_, asked)| asked) {
            // An abandoned slip lets the writer pass the message over, so `NotSent` stays true.
            let started = !asked.slip.abandon() && asked.slip.is_started();
            asked.mailbox.close(Some(ending.error(started)));
        }
        open.ending = Some(ending);
        drop(open);
        self.unasked.close(None);
    }

    /// The error that a request gets now; `None` while the link is open.
    pub(in crate::transport) fn ended(&self) -> Option<Error> {
        self.lock().ending.as_ref().map(|ending| ending.error(false))
    }

    fn answer(&self, message: Message) -> Receipt {
        debug_assert_eq!(message.shape(), Shape::Response, "only a response has no method");
        let Some(asked) = message.id_number().and_then(|id| self.lock().asked.remove(&id)) else {
            return Receipt::Late;
        };
        asked.mailbox.finish(message);
        Receipt::Kept
    }

    fn deliver(&self, id: u64, message: Message) -> Receipt {
        let mut open = self.lock();
        let Some(asked) = open.asked.get(&id) else { return Receipt::Late };
        if asked.mailbox.offer(message) {
            return Receipt::Kept;
        }
        let error = Error::new(
            ErrorKind::TooLarge,
            "more than 1024 messages or 32 MiB of this call wait for the client; the client must read faster",
        );
        asked.mailbox.close(Some(error));
        open.asked.remove(&id);
        Receipt::Overrun(id)
    }

    fn keep_unasked(&self, message: Message) -> Receipt {
        match self.unasked.push(message) {
            0 => Receipt::Kept,
            dropped => Receipt::Displaced(dropped),
        }
    }

    /// On a client's own link the request that began last: it is the likeliest to have made the server speak.
    fn newest(&self) -> Option<u64> {
        let open = self.own.then(|| self.lock())?;
        let calls = open.asked.iter().filter(|(_, asked)| !asked.listens);
        calls.max_by_key(|(_, asked)| asked.order).map(|(id, _)| *id)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn progress_token(message: &Message) -> Option<u64> {
    message.params_members().ok()?.get("progressToken")?.parse().ok()
}

/// The `subscriptions/listen` that a modern notification belongs to.
fn subscription(message: &Message) -> Option<u64> {
    let params = message.params_members().ok()?;
    Members::parse(params.get("_meta")?).ok()?.get(meta::SUBSCRIPTION_ID)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> Message {
        Message::parse(bytes::Bytes::copy_from_slice(json.as_bytes())).unwrap()
    }

    fn response(id: &str) -> Message {
        message(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#))
    }

    fn notification(method: &str, params: &str) -> Message {
        message(&format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#))
    }

    fn begin(exchanges: &Exchanges, id: u64) -> Arc<Mailbox> {
        exchanges.begin(id, Arc::default(), false).unwrap()
    }

    async fn next_method(mailbox: &Mailbox) -> Option<String> {
        Some(mailbox.next().await?.unwrap().method()?.as_str().to_owned())
    }

    /// T-07: a message that belongs to one client reaches that client alone.
    #[tokio::test]
    async fn an_answer_goes_to_its_question_and_an_unknown_one_nowhere() {
        let exchanges = Exchanges::new(false);
        let (one, two) = (begin(&exchanges, 1), begin(&exchanges, 2));
        assert_eq!(exchanges.receive(response("2")), Receipt::Kept);
        for unknown in ["2", "3", "\"x\"", "\"+1\"", "-1"] {
            assert_eq!(exchanges.receive(response(unknown)), Receipt::Late, "{unknown}");
        }
        assert_eq!(
            exchanges.receive(response("\"1\"")),
            Receipt::Kept,
            "some servers send numbers back as text"
        );
        assert_eq!(one.next().await.unwrap().unwrap().id_number(), Some(1));
        assert_eq!(two.next().await.unwrap().unwrap().id(), Some("2"));
        assert!(two.next().await.is_none());
    }

    #[tokio::test]
    async fn progress_goes_to_the_exchange_of_its_token() {
        let exchanges = Exchanges::new(true);
        let (one, _two) = (begin(&exchanges, 1), begin(&exchanges, 2));
        let progress =
            |token| notification("notifications/progress", &format!(r#"{{"progressToken":{token}}}"#));
        assert_eq!(exchanges.receive(progress("1")), Receipt::Kept);
        assert_eq!(exchanges.receive(progress("9")), Receipt::Late);
        assert_eq!(exchanges.receive(progress("\"x\"")), Receipt::Late);
        assert_eq!(next_method(&one).await.unwrap(), "notifications/progress");
    }

    #[tokio::test]
    async fn on_an_own_link_other_messages_go_to_the_newest_exchange_and_changes_of_lists_do_not() {
        let exchanges = Exchanges::new(true);
        let (_nine, one) = (begin(&exchanges, 9), begin(&exchanges, 1));
        exchanges.receive(notification("notifications/message", "{}"));
        exchanges.receive(notification("notifications/tools/list_changed", "{}"));
        assert_eq!(next_method(&one).await.unwrap(), "notifications/message");
        assert_eq!(next_method(&exchanges.unasked).await.unwrap(), "notifications/tools/list_changed");
        exchanges.forget(1);
        exchanges.forget(9);
        exchanges.receive(notification("notifications/message", "{}"));
        assert_eq!(next_method(&exchanges.unasked).await.unwrap(), "notifications/message");
    }

    #[tokio::test]
    async fn what_names_a_subscription_goes_to_it_and_what_names_none_does_not() {
        let exchanges = Exchanges::new(true);
        let call = begin(&exchanges, 1);
        let listen = exchanges.begin(2, Arc::default(), true).unwrap();
        let named = |method| {
            notification(method, r#"{"_meta":{"io.modelcontextprotocol/subscriptionId":2},"uri":"a"}"#)
        };
        let methods = ["notifications/subscriptions/acknowledged", "notifications/resources/updated"];
        for method in methods {
            assert_eq!(exchanges.receive(named(method)), Receipt::Kept);
            assert_eq!(next_method(&listen).await.unwrap(), method);
        }
        exchanges.receive(notification("notifications/message", "{}"));
        assert_eq!(next_method(&call).await.unwrap(), "notifications/message");
        assert!(exchanges.forget(2));
        assert_eq!(exchanges.receive(named("notifications/tools/list_changed")), Receipt::Late);
    }

    #[tokio::test]
    async fn on_a_shared_link_no_exchange_sees_what_is_not_its_own() {
        let exchanges = Exchanges::new(false);
        let _one = begin(&exchanges, 1);
        exchanges.receive(message(r#"{"jsonrpc":"2.0","id":5,"method":"sampling/createMessage"}"#));
        assert_eq!(next_method(&exchanges.unasked).await.unwrap(), "sampling/createMessage");
    }

    #[tokio::test]
    async fn the_end_tells_what_can_have_been_seen() {
        let exchanges = Exchanges::new(false);
        let (written, waiting) = (Arc::<Slip>::default(), Arc::<Slip>::default());
        let one = exchanges.begin(1, written.clone(), false).unwrap();
        let two = exchanges.begin(2, waiting.clone(), false).unwrap();
        assert!(written.start());
        let status = Some("exit status: 3".to_owned());
        exchanges.end(Ending { message: "ended".into(), status, last_words: None });
        let (one, two) = (one.next().await.unwrap().unwrap_err(), two.next().await.unwrap().unwrap_err());
        assert_eq!((one.kind(), one.delivery()), (ErrorKind::BadUpstream, crate::error::Delivery::Unknown));
        assert_eq!((two.kind(), two.delivery()), (ErrorKind::Unavailable, crate::error::Delivery::NotSent));
        assert!(one.to_string().contains("exit status: 3"));
        assert!(!waiting.start(), "the writer passes it over");
        assert!(exchanges.begin(3, Arc::default(), false).is_err());
    }

    #[tokio::test]
    async fn an_exchange_that_nobody_reads_is_ended_and_not_the_others() {
        let exchanges = Exchanges::new(false);
        let (slow, _other) = (begin(&exchanges, 1), begin(&exchanges, 2));
        let progress = notification("notifications/progress", r#"{"progressToken":1}"#);
        for _ in 0..crate::transport::duplex::mailbox::MAX_MESSAGES {
            assert_eq!(exchanges.receive(progress.clone()), Receipt::Kept);
        }
        assert_eq!(exchanges.receive(progress.clone()), Receipt::Overrun(1));
        assert_eq!(exchanges.receive(progress), Receipt::Late);
        assert!(slow.next().await.unwrap().is_ok());
        assert!(exchanges.forget(2));
    }
}
