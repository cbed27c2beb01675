//! Errors as they cross into another language.

use serde_json::{Map, Value, json};

use crate::error::{Delivery, Error, ErrorKind};

/// `{kind, message, retryable, context}`: the source of a binding's exception. The context has the error's facts about the place,
/// and with it `outcome` where a server may have seen the call, and `retry_after_seconds` where that is known.
pub(crate) fn document(error: &Error) -> Value {
    let row = error.kind().row();
    let mut context = Map::new();
    for (key, value) in error.context() {
        context.insert((*key).to_owned(), value.as_str().into());
    }
    if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::BadUpstream) {
        let outcome = if error.delivery() == Delivery::NotSent { "not_sent" } else { "unknown" };
        context.entry("outcome").or_insert_with(|| outcome.into());
    }
    if let Some(delay) = error.retry_delay() {
        context.insert("retry_after_seconds".into(), delay.as_secs_f64().into());
    }
    json!({ "kind": row.name, "message": error.message(), "retryable": row.retryable, "context": context })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_error_says_what_to_do_and_where_and_never_its_source() {
        let error = Error::new(ErrorKind::Unavailable, "none is there")
            .with("service", "calc")
            .retry_after(Duration::from_millis(1500))
            .caused_by("secret");
        assert_eq!(
            document(&error),
            json!({ "kind": "unavailable", "message": "none is there", "retryable": true,
                "context": { "service": "calc", "retry_after_seconds": 1.5 } })
        );
        let cut = document(&Error::new(ErrorKind::BadUpstream, "cut"));
        assert_eq!(cut["context"]["outcome"], "unknown");
    }
}
