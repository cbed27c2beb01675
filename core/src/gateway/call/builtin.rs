//! The gateway's own service, `gateway`: an agent uses it to query the gateway itself, on `/mcp/gateway` by plain names and on
//! `/mcp` by full ones, like any other service. Nobody can register a service of this name.
//!
//! A [`BuiltinService`] defines its items; this module places it among the other services. A caller that may not use an item
//! does not see it, and cannot tell it from one that does not exist. The lists differ by caller, so they are not kept with the
//! view that callers share; they come after the servers' items, on the last page.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;

use super::context::{CallContext, unknown_name};
use super::proxy;
use crate::auth::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::routing::catalog::under_name;
use crate::gateway::routing::names;
use crate::gateway::routing::snapshot::View;
use crate::gateway::{Caller, Core, Gateway};
use crate::model::{Action, CapabilityKind, Endpoint, Principal, Reply, ServiceName};
use crate::rpc::answer::result_response;
use crate::rpc::twice::unambiguous;
use crate::rpc::version::Era;
use crate::rpc::{Edit, Message, Method, meta};

/// An item that the gateway's own service offers.
#[derive(Clone, Copy, Debug)]
pub struct BuiltinItem {
    /// The tool's name, or the resource's URI.
    pub name: &'static str,
    /// The definition, as MCP's lists have it; under its own name.
    pub definition: &'static str,
    /// The operations that its use requires, all of them. A caller that lacks one of them does not see the item.
    pub needs: &'static [Operation],
}

/// The items of the gateway's own service, and its handlers.
#[async_trait]
pub trait BuiltinService: Send + Sync + fmt::Debug {
    /// Its tools or resources, in the order in which they are listed. The same at all times.
    fn items(&self, kind: CapabilityKind) -> &[BuiltinItem];

    /// The `result` of a call of one of its tools, in the form of the legacy era, as JSON. The caller may use the tool.
    async fn call(&self, own: BuiltinCall, tool: &str, arguments: &str) -> Result<String>;

    /// The `result` of reading one of its resources, likewise.
    async fn read(&self, own: BuiltinCall, uri: &str) -> Result<String>;
}

/// A call of the gateway's own service under way.
pub struct BuiltinCall {
    gateway: Gateway,
    caller: Caller,
    context: CallContext,
}

impl BuiltinCall {
    /// The gateway that handles the call.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The caller.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Sends a request to a server as `/mcp/proxy` does, with `body` of its form; returns the method and the response. It takes
    /// over the slot of this call among those under way, and is cancelled with it.
    ///
    /// [`ErrorKind::PermissionDenied`] if the caller may not do what the request asks for; else as of [`Gateway::handle`].
    pub async fn proxy(self, body: Bytes) -> Result<(Method, Message)> {
        let (message, hints) = proxy::read(&body)?;
        let method = message.method().cloned().unwrap_or(Method::Ping);
        let action = Action::Send(message);
        self.caller.may(Operation::of(&action))?;
        let record = Arc::clone(&self.context.record);
        let context = CallContext {
            client: None,
            headers: HeaderMap::new(),
            streams: false,
            resumes: false,
            hints: Some(hints),
            modern: None,
            landing: None,
            ..self.context
        };
        match self.gateway.0.run_within(action, context, &record).await? {
            Reply::Message { body, .. } | Reply::Refused { body, .. } => Ok((method, Message::parse(body)?)),
            Reply::Stream { .. } | Reply::Accepted => {
                let message = "a call without a session was answered as if it had one";
                Err(Error::new(ErrorKind::Internal, message))
            }
        }
    }
}

impl fmt::Debug for BuiltinCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCall").field("caller", &self.caller).finish_non_exhaustive()
    }
}

/// Its one resource: how the gateway is set up.
pub const CONFIG: &str = "config://server";

/// A request to the gateway's own service.
#[derive(Debug)]
pub(crate) struct BuiltinRequest {
    pub(crate) message: Message,
    /// The tool's own name, or the URI.
    pub(crate) name: String,
}

/// Its one tool on the aggregated route: agents that see everything are not handed the tools that change the gateway.
const ON_AGGREGATE: &str = "find_tools";

/// The own name of the target if a request to `route` that names `name` is for the gateway's own service: the tool's name, the
/// URI, or an empty text.
///
/// [`ErrorKind::InvalidParams`] for a tool that is not on the aggregated route.
pub(crate) fn asked(
    view: &View,
    principal: &Principal,
    route: &Endpoint,
    kind: CapabilityKind,
    name: Option<&str>,
) -> Result<Option<String>> {
    if !view.has_builtin(principal) {
        return Ok(None);
    }
    let own = match (route.service(), name) {
        (Some(service), name) => service.is_gateway().then(|| name.unwrap_or_default()),
        (None, Some(uri)) if kind == CapabilityKind::Resource => (uri == CONFIG).then_some(uri),
        (None, Some(name)) if kind == CapabilityKind::Tool => {
            let split = names::split(name).filter(|(service, _)| *service == ServiceName::GATEWAY);
            if split.is_some_and(|(_, own)| own != ON_AGGREGATE) {
                let text = format!(
                    "Unknown tool: {}. The tools of the gateway itself are served on `/mcp/gateway`",
                    names::shown(name)
                );
                return Err(Error::new(ErrorKind::InvalidParams, text));
            }
            split.map(|(_, own)| own)
        }
        (None, _) => None,
    };
    Ok(own.map(str::to_owned))
}

impl View {
    /// Whether it has the gateway's own service, at the entry point by which `principal` came.
    pub(crate) fn has_builtin(&self, principal: &Principal) -> bool {
        self.has_builtin && principal.builtin
    }

    /// Whether `route` is the gateway's own service, for `principal`, who sees it.
    pub(crate) fn is_own(&self, route: &Endpoint, principal: &Principal) -> bool {
        self.has_builtin(principal) && route.service().is_some_and(ServiceName::is_gateway)
    }
}

/// The service's introduction in the legacy era.
pub(crate) fn introduction(negotiated: &str) -> String {
    json!({
        "protocolVersion": negotiated,
        "capabilities": { "tools": {}, "resources": {} },
        "serverInfo": { "name": "mcp-gateway", "version": env!("CARGO_PKG_VERSION") },
        "instructions": "Tools about the gateway itself: its servers, how they are, and what they offer.",
    })
    .to_string()
}

impl Core {
    /// The items of the gateway's own service that `principal` may use, as the list of this kind on `route` has them, divided
    /// by commas.
    pub(crate) fn builtin_items(
        &self,
        route: &Endpoint,
        principal: &Principal,
        kind: CapabilityKind,
    ) -> String {
        let Some(service) = &self.settings.own else { return String::new() };
        if !self.router.view_for(principal).has_builtin(principal) {
            return String::new();
        }
        let prefixed = kind == CapabilityKind::Tool && route.prefixes_names();
        let listed =
            |item: &&BuiltinItem| may_use(principal, item) && (!prefixed || item.name == ON_AGGREGATE);
        let shown = service.items(kind).iter().filter(listed).map(|item| {
            if prefixed {
                under_name(item.definition, &names::join(ServiceName::GATEWAY, item.name))
            } else {
                item.definition.to_owned()
            }
        });
        shown.collect::<Vec<_>>().join(",")
    }

    /// The response to a request to the gateway's own service.
    pub(crate) async fn answer_builtin(
        self: &Arc<Self>,
        ask: BuiltinRequest,
        context: CallContext,
    ) -> Result<Bytes> {
        let BuiltinRequest { message, name } = ask;
        let kind = match message.method() {
            Some(Method::ToolsCall) => CapabilityKind::Tool,
            Some(Method::ResourcesRead) => CapabilityKind::Resource,
            method => {
                let method = names::shown(method.map_or("", Method::as_str));
                return Err(Error::new(ErrorKind::MethodNotFound, format!("Method not found: {method}")));
            }
        };
        let (principal, era) = (context.principal.clone(), context.era());
        let known = self.settings.own.as_ref().and_then(|service| {
            let item = service.items(kind).iter().find(|item| item.name == name)?;
            may_use(&principal, item).then_some(service)
        });
        let service = known.ok_or_else(|| unknown_name(kind, &name, &message))?;
        let caller = Caller::sent(principal, Arc::clone(&context.correlation_id));
        let own = BuiltinCall { gateway: Gateway(Arc::clone(self)), caller, context };
        let params = message.params_members()?;
        let result = match kind {
            CapabilityKind::Tool => {
                let arguments = params.get("arguments").unwrap_or("{}");
                unambiguous(arguments, "arguments")?;
                service.call(own, &name, arguments).await?
            }
            _ => service.read(own, &name).await?,
        };
        let id = message.id().unwrap_or("null");
        if era == Era::Legacy {
            return Ok(result_response(id, &result));
        }
        let mut edit = Edit::of(&result)?;
        meta::complete(&mut edit, kind == CapabilityKind::Resource);
        Ok(result_response(id, &edit.apply()))
    }
}

fn may_use(principal: &Principal, item: &BuiltinItem) -> bool {
    item.needs.iter().all(|operation| principal.may(*operation).is_ok())
}
