//! The outcome of an attempt at a server, from which the server's breaker learns.

use crate::breaker::Outcome;
use crate::error::{Cause, Error, ErrorKind};
use crate::rpc::Message;

/// The outcome of a failed attempt: a refusal by HTTP 4xx is the server's right, and a limit or a full pool of the gateway is
/// not the server's fault; a child process that waits to be started again is. An untrusted certificate counts like any
/// connection that cannot be opened: until it is mended, on either side, calls go elsewhere.
pub(crate) fn outcome_of(error: &Error) -> Outcome {
    let refused = error.upstream_status().is_some_and(|status| (400..500).contains(&status));
    let limited = *error.cause() == Cause::LimitExceeded;
    match error.kind() {
        // A program that needs its time to start, such as one that is downloaded first, has done nothing wrong.
        _ if *error.cause() == Cause::Starting => Outcome::Ignored,
        ErrorKind::BadUpstream if refused || limited => Outcome::Ignored,
        ErrorKind::Unavailable if error.retry_delay().is_none() => Outcome::Ignored,
        ErrorKind::BadUpstream | ErrorKind::Timeout | ErrorKind::Unavailable => Outcome::Failure,
        _ => Outcome::Ignored,
    }
}

/// The outcome of an answer: one that is well-formed shows that the server lives, whatever it says. An internal error is one of a
/// tool, and the other tools of the server work.
pub(crate) fn outcome_of_answer(_message: &Message) -> Outcome {
    Outcome::Success
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
