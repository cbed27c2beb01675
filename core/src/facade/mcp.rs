//! Verbs that are MCP requests: made of the document's own bytes, sent through the pipeline like any other call, and answered with
//! the bytes of the result.

use std::time::Duration;

use bytes::Bytes;

use super::OpenGateway;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::McpRequest;
use crate::model::{Endpoint, RoutingHints, ServiceName};
use crate::rpc::envelope::quote;
use crate::rpc::{Members, Message};

/// A method and the members of its parameters; those that it must have are marked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verb(&'static MethodRow);

impl PartialEq for Verb {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Verb {}

#[derive(Debug)]
struct MethodRow {
    name: &'static str,
    /// `None` where the document says it.
    method: Option<&'static str>,
    params: &'static [(&'static str, bool)],
}

const fn row(name: &'static str, method: &'static str, params: &'static [(&'static str, bool)]) -> MethodRow {
    MethodRow { name, method: Some(method), params }
}

const NEEDED: bool = true;
const MAY: bool = false;

const ROWS: &[MethodRow] = &[
    row("call_tool", "tools/call", &[("name", NEEDED), ("arguments", MAY), ("_meta", MAY)]),
    row("read_resource", "resources/read", &[("uri", NEEDED), ("_meta", MAY)]),
    row("get_prompt", "prompts/get", &[("name", NEEDED), ("arguments", MAY), ("_meta", MAY)]),
    row(
        "complete",
        "completion/complete",
        &[("ref", NEEDED), ("argument", NEEDED), ("context", MAY), ("_meta", MAY)],
    ),
    row("list_tools", "tools/list", &[("cursor", MAY), ("_meta", MAY)]),
    row("list_resources", "resources/list", &[("cursor", MAY), ("_meta", MAY)]),
    row("list_resource_templates", "resources/templates/list", &[("cursor", MAY), ("_meta", MAY)]),
    row("list_prompts", "prompts/list", &[("cursor", MAY), ("_meta", MAY)]),
    MethodRow { name: "request", method: None, params: &[] },
];

/// The routing members that a document may have besides the parameters of the call.
const WISHES: [&str; 6] = [
    "service",
    "required_tools",
    "required_resources",
    "preferred_servers",
    "timeout_seconds",
    "authorization",
];

impl Verb {
    pub(super) fn named(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name == name).map(Self)
    }

    pub(super) async fn perform(self, house: &OpenGateway, input: &[u8]) -> Result<Bytes> {
        let text = std::str::from_utf8(input)
            .map_err(|_| Error::new(ErrorKind::Parse, "the document is not valid UTF-8"))?;
        let document = Members::parse(text)?;
        let message = self.message(&document)?;
        let (route, hints) = (route(&document)?, hints(&document)?);
        let authorization = wish::<String>(&document, "authorization", "a text")?;
        drop(document);
        let credentials = house.credentials(authorization.as_deref())?;
        house.gateway.ask(&credentials, McpRequest::of(message, route, hints)).await
    }

    /// The request that the document describes.
    fn message(self, document: &Members<'_>) -> Result<Message> {
        let row = self.0;
        let missing = |member: &str| {
            Error::new(ErrorKind::InvalidParams, format!("missing field `{member}`")).with("field", member)
        };
        let own: &[(&str, bool)] =
            if row.method.is_some() { row.params } else { &[("method", NEEDED), ("params", MAY)] };
        for (member, _) in document.iter() {
            if !own.iter().any(|(known, _)| *known == member) && !WISHES.contains(&member) {
                let shown: String = member.chars().take(64).collect();
                let known: Vec<_> = own.iter().map(|(known, _)| *known).chain(WISHES).collect();
                let message = format!("unknown field `{shown}`, expected one of {}", known.join(", "));
                return Err(Error::new(ErrorKind::InvalidParams, message).with("field", shown));
            }
        }
        for (member, _) in own.iter().filter(|(_, needed)| *needed) {
            given(document, member).ok_or_else(|| missing(member))?;
        }
        let (method, params) = if let Some(method) = row.method {
            let members = row.params.iter().filter_map(|(member, _)| {
                let raw = given(document, member)?;
                Some(format!("{}:{raw}", quote(member)))
            });
            let members: Vec<_> = members.collect();
            (method.into(), format!("{{{}}}", members.join(",")))
        } else {
            let no_text =
                || Error::new(ErrorKind::InvalidParams, "`method` must be a string").with("field", "method");
            (
                document.text("method").ok_or_else(no_text)?,
                given(document, "params").unwrap_or("{}").to_owned(),
            )
        };
        Message::parse(Message::request(Some(1), &method, Some(&params)))
    }
}

fn route(document: &Members<'_>) -> Result<Endpoint> {
    let Some(service) = wish::<String>(document, "service", "a text")? else { return Ok(Endpoint::all()) };
    let unknown = |_| {
        let shown: String = service.chars().take(64).collect();
        Error::new(ErrorKind::NotFound, "no such service").with("service", shown)
    };
    ServiceName::asked(&service).map(Endpoint::of).map_err(unknown)
}

fn hints(document: &Members<'_>) -> Result<RoutingHints> {
    let list = "a list of texts";
    let timeout: Option<f64> = wish(document, "timeout_seconds", "a number of seconds")?;
    if timeout.is_some_and(|seconds| !(0.001..=86_400.0).contains(&seconds)) {
        return Err(Error::new(ErrorKind::InvalidParams, "`timeout_seconds` must be from 0.001 to 86400")
            .with("field", "timeout_seconds"));
    }
    Ok(RoutingHints {
        required_tools: wish(document, "required_tools", list)?.unwrap_or_default(),
        required_resources: wish(document, "required_resources", list)?.unwrap_or_default(),
        preferred_servers: wish(document, "preferred_servers", list)?.unwrap_or_default(),
        timeout: timeout.map(Duration::from_secs_f64),
    })
}

/// A member of the document; `null` is as good as none.
fn given<'a>(document: &Members<'a>, member: &str) -> Option<&'a str> {
    document.get(member).filter(|raw| *raw != "null")
}

/// A member that says how the call is made.
fn wish<T: serde::de::DeserializeOwned>(
    document: &Members<'_>,
    member: &'static str,
    form: &'static str,
) -> Result<Option<T>> {
    let Some(raw) = given(document, member) else { return Ok(None) };
    serde_json::from_str(raw).map(Some).map_err(|_| {
        Error::new(ErrorKind::InvalidParams, format!("`{member}` must be {form}")).with("field", member)
    })
}
