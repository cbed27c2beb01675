//! Responses that the gateway itself makes.

use bytes::Bytes;
use serde_json::json;

use crate::error::{Delivery, Error, ErrorKind};

/// An error response. `data` says that the gateway speaks (`source`), of what kind the error is, whether the same call
/// can succeed later, and, where a server may have seen the call, that its outcome is unknown.
///
/// Without an `id` that could be read the member is left out.
pub fn error_response(id: Option<&str>, error: &Error) -> Bytes {
    let row = error.kind().row();
    let mut data = json!({ "source": "gateway", "kind": row.name, "retryable": row.retryable });
    // Where a server is and what it says to its operator is not its clients' business.
    let shown = |key: &str| !matches!(key, "address" | "location" | "last_stderr");
    for (key, value) in error.context().iter().filter(|(key, _)| shown(key)) {
        // The one fact that the specification wants as an object.
        data[*key] = match *key {
            "requiredCapabilities" => serde_json::from_str(value).unwrap_or_default(),
            _ => value.clone().into(),
        };
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
    let body = json!({ "code": row.rpc, "message": error.message(), "data": data });
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
