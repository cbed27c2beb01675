//! MCP requests of the program that embeds the gateway: each stands alone, without a session, and takes the path of every other
//! call.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::auth::Credentials;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::gateway::{Caller, Gateway};
use crate::model::{Action, Call, Endpoint, Reply, RoutingHints, ServiceName};
use crate::rpc::version::Era;
use crate::rpc::{Members, Message, object};

/// An MCP request, and the hints for its routing.
///
/// ```
/// use std::time::Duration;
/// use mcp_registry_gateway::McpRequest;
/// use serde_json::json;
///
/// # fn main() -> mcp_registry_gateway::Result<()> {
/// let request = McpRequest::new("resources/read", &json!({ "uri": "file:///notes.txt" }))?
///     .to_service("notes")?
///     .preferring(["notes-eu"])
///     .timeout(Duration::from_secs(5));
/// # let _ = request;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct McpRequest {
    message: Message,
    route: Endpoint,
    hints: RoutingHints,
}

impl McpRequest {
    /// A request to `/mcp`, where names are those of [`Endpoint::all`].
    ///
    /// [`ErrorKind::InvalidParams`] if `params` cannot be written as a JSON object.
    pub fn new(method: &str, params: &impl Serialize) -> Result<Self> {
        let unusable = |error| {
            Error::new(ErrorKind::InvalidParams, "the parameters are not valid JSON").caused_by(error)
        };
        let params = serde_json::to_string(params).map_err(unusable)?;
        let message = Message::parse(Message::request(Some(1), method, Some(&params)))?;
        Ok(Self::of(message, Endpoint::all(), RoutingHints::default()))
    }

    pub(crate) fn of(message: Message, route: Endpoint, hints: RoutingHints) -> Self {
        Self { message, route, hints }
    }

    /// Sends it to one service, with its own names. [`ErrorKind::InvalidParams`] for a text that is no name of a service.
    pub fn to_service(mut self, name: &str) -> Result<Self> {
        self.route = Endpoint::of(ServiceName::asked(name)?);
        Ok(self)
    }

    /// Prefers these servers, best first, by their names or ids.
    #[must_use]
    pub fn preferring<I: Into<String>>(mut self, servers: impl IntoIterator<Item = I>) -> Self {
        self.hints.preferred_servers = servers.into_iter().map(Into::into).collect();
        self
    }

    /// Takes a server only if it offers all these tools.
    #[must_use]
    pub fn requiring_tools<I: Into<String>>(mut self, tools: impl IntoIterator<Item = I>) -> Self {
        self.hints.required_tools = tools.into_iter().map(Into::into).collect();
        self
    }

    /// Waits no longer than this for the answer.
    #[must_use]
    pub fn timeout(mut self, longest: Duration) -> Self {
        self.hints.timeout = Some(longest);
        self
    }
}

/// The result of an MCP request, as the server wrote it.
///
/// ```
/// # use mcp_registry_gateway::{Answer, Caller, Gateway, Registration, Result};
/// # use serde_json::{Value, json};
/// # async fn calls(gateway: Gateway) -> Result<()> {
/// let answer: Answer = gateway.call_tool(&Caller::local(), "numbers__double", &json!({ "n": 21 })).await?;
/// println!("{}", answer.text()?);                  // what a model would read
/// let all: Value = answer.read()?;                 // everything, as a type of yours
/// # let _ = all;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(Bytes);

impl Answer {
    /// Its bytes: a JSON object.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Reads it as a type of the caller's. [`ErrorKind::BadUpstream`] if it is not one.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.0).map_err(|error| {
            Error::new(ErrorKind::BadUpstream, "the server's answer does not have the expected shape")
                .caused_by(error)
        })
    }

    /// The texts of a tool's result or of a resource, one after the other; empty if there are none.
    pub fn text(&self) -> Result<String> {
        let all: Value = self.read()?;
        let parts = ["content", "contents"].iter().filter_map(|member| all[*member].as_array()).flatten();
        Ok(parts.filter_map(|part| part["text"].as_str()).collect())
    }

    /// Whether a tool says that it failed.
    pub fn is_error(&self) -> Result<bool> {
        Ok(self.read::<Value>()?["isError"] == true)
    }
}

impl Gateway {
    /// Makes an MCP request for the caller.
    ///
    /// Errors: a server's own error has `source` `server` and its `code` in the context; others are the gateway's.
    pub async fn request(&self, caller: &Caller, request: McpRequest) -> Result<Answer> {
        self.ask(&Credentials::Embedded(caller.principal.clone()), request).await.map(Answer)
    }

    /// Calls a tool for the caller, by its name on `/mcp`, such as `docs__search`. [`Gateway::request`] takes routing hints as
    /// well.
    pub async fn call_tool(&self, caller: &Caller, name: &str, arguments: &impl Serialize) -> Result<Answer> {
        let request = McpRequest::new("tools/call", &json!({ "name": name, "arguments": arguments }))?;
        self.request(caller, request).await
    }

    /// The bytes of the result of a request that stands alone.
    pub(crate) async fn ask(&self, credentials: &Credentials, request: McpRequest) -> Result<Bytes> {
        let McpRequest { message, route, hints } = request;
        let call = Call {
            route,
            action: Action::Send(message),
            era: Era::Legacy,
            session: None,
            headers: http::HeaderMap::new(),
            correlation_id: uuid::Uuid::new_v4().to_string().into(),
            streams: false,
            resumes: false,
            hints: Some(hints),
            builtin: true,
            over_network: false,
        };
        match self.handle(call, credentials).await? {
            Reply::Message { body, .. } | Reply::Refused { body, .. } => result_of(body),
            Reply::Stream { .. } | Reply::Accepted => {
                let message = "a call without a session was answered as if it had one";
                Err(Error::new(ErrorKind::Internal, message))
            }
        }
    }
}

/// The bytes of the result, or the server's error.
fn result_of(body: Bytes) -> Result<Bytes> {
    let message = Message::parse(body)?;
    if let Some(result) = message.result() {
        return Ok(message.bytes().slice(message.range_of(result)));
    }
    Err(refusal(message.error().unwrap_or("{}")))
}

/// A server's own error. Its code and its data are in the context, as they came.
fn refusal(error: &str) -> Error {
    let members = Members::parse(error).ok();
    let get = |member| members.as_ref().and_then(|members| members.get(member));
    let code: i64 = get("code").and_then(|raw| raw.parse().ok()).unwrap_or_default();
    let kind = match code {
        -32601 => ErrorKind::MethodNotFound,
        -32602 => ErrorKind::InvalidParams,
        -32600 => ErrorKind::InvalidRequest,
        -32002 => ErrorKind::ResourceNotFound,
        _ => ErrorKind::BadUpstream,
    };
    let message = get("message")
        .and_then(object::text)
        .map_or("the server answered with an error".into(), Cow::into_owned);
    let refused =
        Error::new(kind, message).because(Cause::Refused).with("source", "server").with("code", code);
    match get("data") {
        Some(data) => refused.with("data", data),
        None => refused,
    }
}
