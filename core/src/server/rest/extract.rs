//! The inputs of handlers: a JSON body, a query string, an id; each with an error that names the place.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path};
use bytes::Bytes;
use http::Request;
use http::request::Parts;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::error::{Error, ErrorKind};
use crate::gateway::Caller;
use crate::model::ServerId;
use crate::server::AppState;
use crate::server::answer::Failure;
use crate::server::connection::body;
use crate::views;

/// A body of JSON: 415 if it does not say so, 413 over the limit, 400 with the field's path if it does not fit.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request<Body>, door: &AppState) -> Result<Self, Failure> {
        Ok(Self(parse(&json_body(request, door).await?)?))
    }
}

/// The bytes of a body that says it is JSON.
pub(crate) async fn json_body(request: Request<Body>, door: &AppState) -> Result<Bytes, Error> {
    body::check_json(request.headers())?;
    body::read(request.into_body(), door.settings.max_body_bytes).await
}

pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    views::read(bytes, "the body")
}

/// The query string: unknown and doubled parameters are errors, except that lists may be given in pieces.
pub(crate) struct Query<T>(pub(crate) T);

/// Parameters whose values are lists: `tags=a,b` and `tags=a&tags=b` mean the same.
const LISTS: [&str; 4] = ["tags", "tools", "resources", "prompts"];

impl<T: DeserializeOwned> FromRequestParts<AppState> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Failure> {
        Ok(Self(query(parts.uri.query().unwrap_or(""))?))
    }
}

fn query<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in form_urlencoded::parse(text.as_bytes()) {
        match values.get_mut(&*key) {
            None => {
                values.insert(key.into_owned(), value.into_owned());
            }
            Some(list) if LISTS.contains(&&*key) => {
                list.push(',');
                list.push_str(&value);
            }
            Some(_) => {
                return Err(Error::new(ErrorKind::InvalidParams, "this parameter is given twice")
                    .with("parameter", key));
            }
        }
    }
    let joined = form_urlencoded::Serializer::new(String::new()).extend_pairs(values).finish();
    let deserializer = serde_urlencoded::Deserializer::new(form_urlencoded::parse(joined.as_bytes()));
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let parameter = error.path().to_string();
        let error = Error::new(ErrorKind::InvalidParams, error.into_inner().to_string());
        if parameter == "." { error } else { error.with("parameter", parameter) }
    })
}

/// The items of a list parameter; empty ones are passed over.
pub(crate) fn items(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// The items of a list of URIs. A URI may contain commas, so that only one before a scheme divides.
pub(crate) fn uris(list: &str) -> Vec<String> {
    let mut uris: Vec<String> = Vec::new();
    for part in list.split(',') {
        match uris.last_mut() {
            Some(last) if !begins_with_scheme(part.trim_start()) => {
                last.push(',');
                last.push_str(part);
            }
            _ => uris.push(part.trim_start().to_owned()),
        }
    }
    uris.retain(|uri| !uri.is_empty());
    uris
}

fn begins_with_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'.' | b'-'))
    })
}

/// The `{id}` of a server in the path; 404 if it cannot be one.
pub(crate) struct Id(pub(crate) ServerId);

impl FromRequestParts<AppState> for Id {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, door: &AppState) -> Result<Self, Failure> {
        let Text(text) = Text::from_request_parts(parts, door).await?;
        Ok(Self(text.parse::<ServerId>()?))
    }
}

/// The only variable part of the path as text; 404 if it is not UTF-8.
pub(crate) struct Text(pub(crate) String);

impl FromRequestParts<AppState> for Text {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, door: &AppState) -> Result<Self, Failure> {
        match Path::<String>::from_request_parts(parts, door).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(_) => {
                Err(Error::new(ErrorKind::NotFound, "no tool, prompt or resource has this name").into())
            }
        }
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Failure> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            Error::new(ErrorKind::Unauthenticated, "the request did not pass the server's first checks")
                .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Registration;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        limit: Option<u32>,
        tags: Option<String>,
    }

    #[test]
    fn a_query_error_names_the_parameter() {
        let asked: Asked = query("limit=7&tags=a&tags=b%2Cc").unwrap();
        assert_eq!(
            (asked.limit, items(&asked.tags.unwrap())),
            (Some(7), vec!["a".into(), "b".into(), "c".into()])
        );
        for (text, expected) in
            [("limit=x", "limit"), ("limit=1&limit=2", "limit"), ("limt=1", "limt"), ("limit=-1", "limit")]
        {
            let error = query::<Asked>(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidParams);
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_body_error_names_the_field() {
        let error =
            parse::<Registration>(br#"{"name":"a","health_check":{"timeout_seconds":"soon"}}"#).unwrap_err();
        assert_eq!(error.context()[0], ("field", "health_check.timeout_seconds".into()));
        let error = parse::<Registration>(br#"{"name":"a","wieght":1}"#).unwrap_err();
        assert!(error.message().contains("wieght"), "{error}");
        assert_eq!(parse::<Registration>(b"{").unwrap_err().kind(), ErrorKind::Parse);
        assert_eq!(parse::<Registration>(br#"{"name":"a"} x"#).unwrap_err().kind(), ErrorKind::Parse);
        let declared = parse::<Registration>(br#"{"name":"a","capabilities":{"tools":[1.0]}}"#).unwrap();
        assert_eq!(declared.capabilities.unwrap().get(), r#"{"tools":[1.0]}"#);
    }

    #[test]
    fn a_comma_within_a_uri_does_not_divide_it() {
        assert_eq!(uris("file:///a,b, test://c"), ["file:///a,b", "test://c"]);
        assert_eq!(uris(""), Vec::<String>::new());
    }
}
