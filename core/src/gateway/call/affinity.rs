//! The key by which consistent hashing keeps related calls together.

use std::borrow::Cow;

use super::context::CallContext;
use crate::balance::key_of;
use crate::model::{Affinity, Algorithm, Server};
use crate::rpc::{Members, Message, object};

/// The key of a call to a service whose first replica is `first`; `None` where the algorithm needs none.
pub(crate) fn key(first: &Server, context: &CallContext, message: &Message) -> Option<u64> {
    if first.configuration.algorithm != Algorithm::ConsistentHash {
        return None;
    }
    let text: Option<Cow<'_, str>> = match &first.configuration.affinity {
        Affinity::Session => None,
        Affinity::Principal => Some(Cow::Borrowed(&context.principal.subject)),
        Affinity::Header(name) => {
            context.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
        }
        Affinity::Argument(pointer) => argument(message, pointer),
    };
    let session = || context.client.as_ref().map_or(&*context.principal.subject, |client| &client.id);
    Some(key_of(text.as_deref().unwrap_or_else(session)))
}

/// The value at the JSON pointer (RFC 6901) in the arguments: a string's text, any other value as it is written.
fn argument<'a>(message: &'a Message, pointer: &str) -> Option<Cow<'a, str>> {
    let mut value = Members::parse(message.params()?).ok()?.get("arguments")?;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        value = if value.starts_with('[') {
            let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(value).ok()?;
            items.get(part.parse::<usize>().ok()?)?.get()
        } else {
            Members::parse(value).ok()?.get(&part)?
        };
    }
    Some(object::text(value).unwrap_or(Cow::Borrowed(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_pointer_reaches_into_objects_and_arrays() {
        let json = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a/b":[{"c":"x"},7]}}}"#;
        let message = Message::parse(Bytes::from_static(json)).unwrap();
        assert_eq!(argument(&message, "/a~1b/0/c").as_deref(), Some("x"));
        assert_eq!(argument(&message, "/a~1b/1").as_deref(), Some("7"));
        assert_eq!(argument(&message, "/none"), None);
    }
}
