//! The outcome of an attempt at a server, from which the server's breaker and the comparison of replicas learn.

use std::time::Duration;

use crate::breaker::Outcome;
use crate::clock::Tick;
use crate::error::{Cause, Error, ErrorKind};
use crate::rpc::{Members, Message};
use crate::select::Lease;

/// The outcome of a failed attempt: a refusal by HTTP 4xx is the server's right, and a limit or a full pool of the gateway is
/// not the server's fault; a child process that waits to be started again is. An untrusted certificate counts like any
/// connection that cannot be opened: until it is mended, on either side, calls go elsewhere.
pub(crate) fn outcome_of(error: &Error) -> Outcome {
    let refused = error.upstream_status().is_some_and(|status| (400..500).contains(&status));
    let ours = matches!(error.cause(), Cause::LimitExceeded | Cause::PoolExhausted);
    match error.kind() {
        // A program that needs its time to start, such as one that is downloaded first, has done nothing wrong.
        _ if *error.cause() == Cause::Starting => Outcome::Ignored,
        _ if ours => Outcome::Ignored,
        ErrorKind::BadUpstream if refused => Outcome::Ignored,
        ErrorKind::Unavailable if error.retry_delay().is_none() => Outcome::Ignored,
        ErrorKind::BadUpstream | ErrorKind::Timeout | ErrorKind::Unavailable => Outcome::Failure,
        _ => Outcome::Ignored,
    }
}

/// Records a failed attempt. A call that took too long counts against the server only if the server answered no other call
/// meanwhile.
pub(crate) fn record_error(lease: &mut Lease, error: &Error, took: Duration, now: Tick) {
    let began =
        Tick::from_nanos(now.as_nanos().saturating_sub(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)));
    let slow = error.kind() == ErrorKind::Timeout && lease.replica().answered_since(began);
    lease.record(if slow { Outcome::Ignored } else { outcome_of(error) }, took, now);
}

/// Records an answer: a well-formed one shows that the server lives, whatever its code.
pub(crate) fn record_answer(lease: &mut Lease, message: &Message, took: Duration, now: Tick) {
    lease.record_answer(is_internal_error(message), took, now);
}

/// Whether the answer says that the server could not do its part, which another replica perhaps can: an internal error, or one of
/// those that JSON-RPC leaves to servers. The codes that MCP took from these speak of the request.
fn is_internal_error(message: &Message) -> bool {
    let code = |error| Members::parse(error).ok()?.get("code")?.parse::<i32>().ok();
    match message.error().and_then(code) {
        Some(-32603) => true,
        None | Some(-32002 | -32042 | -32022..=-32020) => false,
        Some(code) => (-32099..=-32000).contains(&code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_limits_and_refusals_do_not_count_against_a_server() {
        let upstream = || Error::new(ErrorKind::BadUpstream, "m");
        assert_eq!(outcome_of(&upstream().status(404)), Outcome::Ignored);
        assert_eq!(outcome_of(&upstream().status(503)), Outcome::Failure);
        assert_eq!(outcome_of(&upstream().because(Cause::LimitExceeded)), Outcome::Ignored);
        for kind in
            [ErrorKind::TooLarge, ErrorKind::RateLimited, ErrorKind::Cancelled, ErrorKind::UnsupportedVersion]
        {
            assert_eq!(outcome_of(&Error::new(kind, "m")), Outcome::Ignored, "{kind:?}");
        }
        for kind in [ErrorKind::BadUpstream, ErrorKind::Timeout] {
            assert_eq!(outcome_of(&Error::new(kind, "m")), Outcome::Failure, "{kind:?}");
        }
    }

    #[test]
    fn a_full_pool_does_not_count_whatever_the_transport() {
        let full = Error::new(ErrorKind::Unavailable, "m").because(Cause::PoolExhausted);
        assert_eq!(outcome_of(&full.retry_after(Duration::from_secs(1))), Outcome::Ignored);
        let backoff = Error::new(ErrorKind::Unavailable, "m").retry_after(Duration::from_secs(1));
        assert_eq!(outcome_of(&backoff), Outcome::Failure);
    }

    #[test]
    fn errors_of_the_server_are_told_from_those_of_the_request() {
        let answer = |code: i32| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"m"}}}}"#);
            is_internal_error(&Message::parse(text.into()).unwrap())
        };
        assert!([-32603, -32000, -32001, -32050, -32099].into_iter().all(answer));
        assert!(
            ![-32602, -32601, -32600, -32002, -32020, -32021, -32022, -32042, -31000, 7]
                .into_iter()
                .any(answer)
        );
        let result = Message::parse(r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#.into()).unwrap();
        assert!(!is_internal_error(&result));
    }

    #[test]
    fn the_words_of_an_error_do_not_change_what_it_says_about_a_server() {
        let upstream = || Error::new(ErrorKind::BadUpstream, "m");
        for text in [upstream().with("status", 404), upstream().with("limit_bytes", 16)] {
            assert_eq!(outcome_of(&text), Outcome::Failure, "{text}");
        }
        for renamed in [
            upstream().with("answered", 503).status(404),
            upstream().with("most_bytes", 16).because(Cause::LimitExceeded),
        ] {
            assert_eq!(outcome_of(&renamed), Outcome::Ignored, "{renamed}");
        }
    }
}
