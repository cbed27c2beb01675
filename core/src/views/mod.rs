//! The gateway's records as JSON, for every entry point: the REST API and the bindings show the same documents.
//!
//! Secrets are left out or hidden here, once. Nothing here knows of HTTP.

pub(crate) mod audit;
pub(crate) mod condition;
pub(crate) mod credential;
pub(crate) mod diagnosis;
pub(crate) mod event;
pub(crate) mod fault;
pub(crate) mod found;
pub(crate) mod health;
pub(crate) mod key;
pub(crate) mod server;
pub(crate) mod tenant;
pub(crate) mod traffic;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::model::redact;

/// The number that was asked for, or the usual one; [`ErrorKind::InvalidParams`] beyond `max`, and for 0.
pub(crate) fn between(name: &'static str, value: Option<u32>, default: u32, max: u32) -> Result<u32> {
    match value {
        None => Ok(default),
        Some(value) if (1..=max).contains(&value) => Ok(value),
        Some(value) => {
            Err(Error::new(ErrorKind::InvalidParams, format!("expected a number from 1 to {max}"))
                .with("parameter", name)
                .with("found", value))
        }
    }
}

/// Reads `bytes`, which people know as `what`.
///
/// [`ErrorKind::Parse`] if they are not JSON, [`ErrorKind::InvalidParams`] with the `field` if they are not as expected.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    let broken =
        |error: serde_json::Error| Error::new(ErrorKind::Parse, format!("{what} is not valid JSON: {error}"));
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            let message = sentence(what, &redact::without_value(&inner.to_string()));
            Error::new(ErrorKind::InvalidParams, message).with("field", field)
        } else {
            broken(inner)
        }
    })?;
    deserializer.end().map_err(broken)?;
    Ok(value)
}

/// The words of the parser as a sentence about the document: the member and what is wrong with it, without the place in a text that
/// its reader may never have seen.
pub(crate) fn sentence(what: &str, said: &str) -> String {
    let said = said.rsplit_once(" at line ").map_or(said, |(said, _)| said);
    let member = said.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    match member {
        Some(member) => format!("`{member}` is missing in {what}"),
        None => format!("{what} cannot be used: {said}"),
    }
}

/// Writes `document` as JSON.
pub(crate) fn write(document: &impl Serialize) -> Result<String> {
    serde_json::to_string(document).map_err(|error| {
        Error::new(ErrorKind::Internal, "the answer cannot be written as JSON").caused_by(error)
    })
}
