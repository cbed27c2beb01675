//! The JSON-RPC envelope, against a parser that builds a tree.

use bytes::Bytes;
use mcp_registry_gateway::ErrorKind;
use mcp_registry_gateway::rpc::{Members, Message, Shape};
use serde_json::Value;

pub(crate) fn envelope(input: &[u8]) {
    let message = match Message::parse(Bytes::copy_from_slice(input)) {
        Ok(message) => message,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Parse | ErrorKind::InvalidRequest), "{error}");
            return;
        }
    };
    assert_eq!(message.bytes(), input, "no byte is changed");
    let tree: Value = match serde_json::from_slice(input) {
        Ok(tree) => tree,
        // The tree's limits, not the message's.
        Err(error)
            if ["out of range", "recursion limit"].iter().any(|word| error.to_string().contains(word)) =>
        {
            return;
        }
        Err(error) => panic!("taken for JSON, which it is not: {error}"),
    };
    let of = |part: Option<&str>| part.map(|raw| serde_json::from_str::<Value>(raw).expect("a part is JSON"));
    for (key, part) in
        [("params", message.params()), ("result", message.result()), ("error", message.error())]
    {
        assert_eq!(of(part).as_ref(), tree.get(key), "{key}");
    }
    assert_eq!(message.method().map(|method| Value::from(method.as_str())).as_ref(), tree.get("method"));
    if message.id().is_some() || message.shape() == Shape::Request {
        assert_eq!(of(message.id()).as_ref(), tree.get("id"));
    }
    if let Ok(members) = message.params_members() {
        let mut keys: Vec<_> = members.iter().map(|(key, _)| key.to_owned()).collect();
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count, "no key stands twice");
        assert_eq!(count, tree.get("params").and_then(Value::as_object).map_or(0, serde_json::Map::len));
    }
    if let Some(id) = message.id() {
        let changed = Message::parse(message.with_id("7").apply(message.bytes())).expect("still a message");
        assert_eq!((changed.id(), changed.params()), (Some("7"), message.params()));
        let back = changed.with_id(id).apply(changed.bytes());
        assert_eq!(&back[..], input, "and back again");
    }
    assert!(Members::parse(message.text()).is_ok());
}
