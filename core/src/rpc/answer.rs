//! Responses that the gateway itself makes.

use bytes::Bytes;
use serde_json::json;

use super::version::Era;
use crate::error::{Cause, Delivery, Error, ErrorKind};

/// The JSON-RPC code of a kind of error. The legacy revisions have one of their own for a resource that is not there,
/// which a modern client must never see.
pub const fn code_of(kind: ErrorKind, era: Era) -> i32 {
    match (kind, era) {
        (ErrorKind::ResourceNotFound, Era::Legacy) => -32002,
        _ => kind.row().rpc,
    }
}

/// An error response to a client of `era`. `data` says that the gateway speaks (`source`), the kind of the error, whether the
/// same call can succeed later, and, where a server may have seen the call, that its outcome is unknown.
///
/// Without an `id` that could be read the member is left out.
pub fn error_response(id: Option<&str>, error: &Error, era: Era) -> Bytes {
    let row = error.kind().row();
    let mut data = json!({ "source": "gateway", "kind": row.name, "retryable": row.retryable });
    for (key, value) in error.client_context() {
        data[key] = value.into();
    }
    // The one fact that the specification wants as an object.
    if let Cause::MissingCapabilities(required) = error.cause() {
        data["requiredCapabilities"] = serde_json::from_str(required).unwrap_or_default();
    }
    if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::BadUpstream) {
        let outcome = if error.delivery() == Delivery::NotSent { "not_sent" } else { "unknown" };
        data["outcome"] = outcome.into();
    }
    if error.kind() == ErrorKind::UnsupportedVersion {
        data["supported"] = super::version::supported().into();
    }
    if let Some(delay) = error.retry_delay() {
        data["retry_after_ms"] = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).into();
    }
    let body = json!({ "code": code_of(error.kind(), era), "message": error.message(), "data": data });
    match id {
        Some(id) => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{body}}}"#),
        None => format!(r#"{{"jsonrpc":"2.0","error":{body}}}"#),
    }
    .into()
}

/// A successful response with a raw result.
pub fn result_response(id: &str, result: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_legacy_client_hears_the_code_that_modern_ones_must_never_see() {
        for kind in ErrorKind::ALL {
            assert_ne!(code_of(kind, Era::Modern), -32002, "{kind:?}");
            let legacy = if kind == ErrorKind::ResourceNotFound { -32002 } else { kind.row().rpc };
            assert_eq!(code_of(kind, Era::Legacy), legacy, "{kind:?}");
        }
    }

    fn data(error: &Error) -> serde_json::Value {
        let response = error_response(Some("1"), error, Era::Modern);
        serde_json::from_slice::<serde_json::Value>(&response).unwrap()["error"]["data"].take()
    }

    #[test]
    fn a_client_is_told_the_context_without_what_is_for_operators_alone() {
        let told =
            data(&Error::new(ErrorKind::BadUpstream, "m").with_private("seen_at", "10.0.0.1").status(503));
        assert_eq!(
            told,
            json!({ "source": "gateway", "kind": "bad_upstream", "retryable": false, "status": "503",
                "outcome": "unknown" })
        );
    }

    #[test]
    fn the_capabilities_that_a_client_lacks_are_an_object_whatever_the_context_calls_them() {
        let error = Error::new(ErrorKind::MissingCapability, "m").with("lacks", "sampling");
        let told = data(&error.because(Cause::MissingCapabilities(r#"{"sampling":{}}"#.into())));
        assert_eq!(told["requiredCapabilities"], json!({ "sampling": {} }));
        assert_eq!(told["lacks"], "sampling");
    }
}
