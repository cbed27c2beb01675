//! A piece that came over a connection: its messages are delivered, and a piece that is none is reported to its call.

use bytes::Bytes;

use super::exchanges::{Exchanges, Receipt};
use crate::error::{Error, ErrorKind};
use crate::rpc::Message;
use crate::rpc::incoming::{Incoming, Meant, Unread};

/// A piece that no call under way was told of.
#[derive(Debug)]
pub(in crate::transport) struct Unreadable {
    /// Why it is no message.
    pub(in crate::transport) error: Error,
    /// It was meant as a notification or a request, so that nobody waits for it.
    pub(in crate::transport) is_aside: bool,
}

/// Delivers what the server sent, and hands each receipt to `told`. The call whose answer cannot be read fails at once, with the
/// reason.
pub(in crate::transport) fn deliver(
    exchanges: &Exchanges,
    piece: &Bytes,
    mut told: impl FnMut(Receipt),
) -> Result<(), Unreadable> {
    let mut receive = |message: Message| told(exchanges.receive(message));
    match Incoming::read(piece) {
        Ok(Incoming::One(message)) => receive(message),
        Ok(Incoming::Many(messages)) => messages.into_iter().for_each(receive),
        Err(Unread { error, meant }) => {
            let answered = match meant {
                Meant::Answer(id) => exchanges.fail(id, unreadable(&error)),
                Meant::Message | Meant::Unknown => false,
            };
            if !answered {
                return Err(Unreadable { error, is_aside: meant != Meant::Unknown });
            }
        }
    }
    Ok(())
}

/// The error of a call whose answer is no message.
fn unreadable(error: &Error) -> Error {
    let message = format!("the server's answer is not an MCP message: {}", error.message());
    Error::new(ErrorKind::BadUpstream, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn deliver_all(exchanges: &Exchanges, piece: &str) -> Option<Unreadable> {
        deliver(exchanges, &Bytes::copy_from_slice(piece.as_bytes()), |_| {}).err()
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_read_fails_its_call_at_once_and_no_other() {
        let exchanges = Exchanges::new(false);
        let one = exchanges.begin(1, Arc::default(), false).unwrap();
        let two = exchanges.begin(2, Arc::default(), false).unwrap();
        assert!(deliver_all(&exchanges, r#"{"jsonrpc":"2.0","id":1,"result":{"x":NaN}}"#).is_none());
        let error = one.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadUpstream);
        assert!(error.message().contains("is not an MCP message"), "{error}");
        assert!(deliver_all(&exchanges, r#"[{"jsonrpc":"2.0","id":2,"result":{}}]"#).is_none());
        assert!(two.next().await.unwrap().is_ok());
        assert!(!deliver_all(&exchanges, "INFO starting").unwrap().is_aside);
        assert!(deliver_all(&exchanges, r#"{"jsonrpc":"2.0","method":"x","params":NaN}"#).unwrap().is_aside);
    }
}
