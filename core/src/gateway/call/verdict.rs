//! Judges the end of an attempt: for the server's breaker, for a second attempt, for the client.

use super::context::ForwardPlan;
use crate::error::{Error, ErrorKind};
use crate::gateway::routing::service::Replica;
use crate::model::CapabilityKind;
use crate::rpc::{Members, Method};

/// Whether the call may be sent again although the server may have seen it.
pub(crate) fn is_repeatable(forward: &ForwardPlan, replica: &Replica) -> bool {
    // The answers to a server's requests are sent once.
    let params = forward.message.params().and_then(|params| Members::parse(params).ok());
    let answers = |key| params.as_ref().is_some_and(|params| params.get(key).is_some());
    if answers("inputResponses") || answers("requestState") {
        return false;
    }
    if forward.method().is_repeatable() {
        return true;
    }
    let Some((CapabilityKind::Tool, name)) = &forward.what else { return false };
    if *forward.method() != Method::ToolsCall || !replica.server.configuration.trusted {
        return false;
    }
    let hinted = |definition: &str| {
        let tool = Members::parse(definition).ok()?;
        let annotations = Members::parse(tool.get("annotations")?).ok()?;
        let says = |hint| annotations.get(hint) == Some("true");
        Some(says("readOnlyHint") || says("idempotentHint"))
    };
    // Replicas may differ: the definition of this one counts.
    let definition = replica.listing.of(CapabilityKind::Tool).find(|item| item.name == *name);
    definition.and_then(|item| hinted(item.definition.get())).unwrap_or(false)
}

/// The error as a client gets it. A session that a server lost, a version that it does not speak, an answer that is too large:
/// these are failures of the server, and the client's request is valid.
pub(crate) fn settle(error: Error) -> Error {
    let message = match error.kind() {
        ErrorKind::Cancelled
        | ErrorKind::Internal
        | ErrorKind::BadUpstream
        | ErrorKind::RateLimited
        | ErrorKind::Unavailable
        | ErrorKind::Storage
        | ErrorKind::Timeout => return error,
        ErrorKind::SessionNotFound => "the server forgets the sessions that it opens".to_owned(),
        _ => error.message().to_owned(),
    };
    error.recast(ErrorKind::BadUpstream, message)
}

/// The error of a call whose session its client ended meanwhile.
pub(crate) fn session_ended(error: Error) -> Error {
    error.recast(ErrorKind::SessionNotFound, "the session was ended")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Cause, Delivery};

    #[test]
    fn what_a_server_gets_wrong_is_never_told_as_the_clients_mistake() {
        for kind in ErrorKind::ALL {
            let told = settle(Error::new(kind, "m").with("server", "s").not_sent());
            assert!(told.kind().row().status >= 429, "{kind:?} is told as {:?}", told.kind());
            assert_eq!(told.delivery(), Delivery::NotSent, "{kind:?}");
            assert_eq!(told.context(), [("server", "s".to_owned())], "{kind:?}");
        }
        let lost = Error::new(ErrorKind::SessionNotFound, "m").status(404).because(Cause::Refused);
        let told = settle(lost);
        assert_eq!((told.upstream_status(), told.cause()), (Some(404), &Cause::Refused), "facts stay known");
        let told = settle(Error::new(ErrorKind::UnsupportedVersion, "the server speaks 1999"));
        assert_eq!((told.kind(), told.message()), (ErrorKind::BadUpstream, "the server speaks 1999"));
        assert!(std::error::Error::source(&told).is_some(), "the cause is kept for the log");
    }

    #[test]
    fn a_session_that_the_client_ended_is_not_found_and_what_was_delivered_stays_known() {
        let told = session_ended(Error::new(ErrorKind::Cancelled, "m").not_sent());
        assert_eq!((told.kind(), told.delivery()), (ErrorKind::SessionNotFound, Delivery::NotSent));
        let told = session_ended(Error::new(ErrorKind::Cancelled, "m"));
        assert_eq!(told.delivery(), Delivery::Unknown);
    }
}
