//! A modern client at a modern server: the same message with another id, and with its name and its headers rewritten
//! together. The gateway keeps nothing.

use std::sync::Arc;

use http::HeaderMap;

use crate::error::Result;
use crate::gateway::Core;
use crate::gateway::routing::service::Replica;
use crate::rpc::{Members, Message, headers};
use crate::transport::Session;

/// The headers that are passed on: those that repeat arguments. The server must get them, known or not; the other headers of a
/// request are made from its body, and everything else is between the client and the gateway.
pub(crate) fn params(from: &HeaderMap) -> Option<Box<HeaderMap>> {
    let mut all = None;
    for (name, value) in from.iter().filter(|(name, _)| name.as_str().starts_with(headers::PARAM_PREFIX)) {
        all.get_or_insert_with(Box::<HeaderMap>::default).append(name.clone(), value.clone());
    }
    all
}

/// Whether the request answers requests of a server: such a request is never sent a second time.
pub(crate) fn resumes(message: &Message) -> bool {
    let params = message.params().and_then(|params| Members::parse(params).ok());
    params
        .is_some_and(|params| ["inputResponses", "requestState"].iter().any(|key| params.get(key).is_some()))
}

impl Core {
    /// The session in which modern requests reach this server; `None` if the server only speaks legacy.
    pub(crate) async fn session_across(self: &Arc<Self>, replica: &Replica) -> Result<Option<Arc<Session>>> {
        replica.upstream.for_all()?;
        let (this, id) = (Arc::clone(self), replica.server.id);
        replica.upstream.modern(move |session| this.watch(id, session)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B-18: name, header and route are rewritten together.
    #[test]
    fn headers_that_repeat_arguments_go_along_and_no_others() {
        let given =
            [("mcp-param-x", "1"), ("Mcp-Param-Y", "2"), ("authorization", "secret"), ("mcp-name", "n")];
        let given: HeaderMap = given
            .iter()
            .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let sent = params(&given).unwrap();
        assert_eq!(
            (sent.len(), &sent["mcp-param-x"], &sent["mcp-param-y"]),
            (2, &"1".parse().unwrap(), &"2".parse().unwrap())
        );
        assert!(params(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_request_that_answers_is_known_by_either_member() {
        let call = |params: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
            resumes(&Message::parse(text.into()).unwrap())
        };
        assert!(call(r#"{"name":"a","requestState":"s"}"#) && call(r#"{"inputResponses":{}}"#));
        assert!(!call(r#"{"name":"a","arguments":{"requestState":"s"}}"#));
    }
}
