//! Calls that stand alone and state their requirements of a server: `/mcp/proxy`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::gateway::routing::names;
use crate::gateway::routing::service::Service;
use crate::gateway::routing::snapshot::View;
use crate::model::{CapabilityKind, RoutingHints, ServerId};
use crate::rpc::envelope::quote;
use crate::rpc::{Members, Message, Shape};

/// The request and the hints of a body of `/mcp/proxy`: a JSON-RPC request with the members `required_tools`,
/// `required_resources`, `preferred_servers` and `timeout` (seconds) besides.
///
/// [`ErrorKind::Parse`] or [`ErrorKind::InvalidRequest`] for any other body.
pub(crate) fn read(content: &Bytes) -> Result<(Message, RoutingHints)> {
    let text = std::str::from_utf8(content)
        .map_err(|_| Error::new(ErrorKind::Parse, "the body is not valid UTF-8"))?;
    // Checks the envelope, its depth included, before anything else looks at it.
    let whole = Message::parse(content.clone())?;
    if whole.shape() != Shape::Request {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            "send one JSON-RPC request with `method` and `id`",
        ));
    }
    let members = Members::parse(text)?;
    let mut request = String::with_capacity(text.len());
    for (key, value) in
        members.iter().filter(|(key, _)| matches!(*key, "jsonrpc" | "id" | "method" | "params"))
    {
        let separator = if request.is_empty() { '{' } else { ',' };
        request.push(separator);
        request.push_str(&quote(key));
        request.push(':');
        request.push_str(value);
    }
    request.push('}');
    let timeout: Option<f64> = wish(&members, "timeout", "seconds")?;
    if timeout.is_some_and(|seconds| !(0.001..=86_400.0).contains(&seconds)) {
        return Err(Error::new(ErrorKind::InvalidRequest, "`timeout` must be seconds from 0.001 to 86400"));
    }
    let list = "a list of strings";
    let hints = RoutingHints {
        required_tools: wish(&members, "required_tools", list)?.unwrap_or_default(),
        required_resources: wish(&members, "required_resources", list)?.unwrap_or_default(),
        preferred_servers: wish(&members, "preferred_servers", list)?.unwrap_or_default(),
        timeout: timeout.map(Duration::from_secs_f64),
    };
    Ok((Message::parse(request.into())?, hints))
}

fn wish<T: DeserializeOwned>(
    members: &Members<'_>,
    key: &'static str,
    form: &'static str,
) -> Result<Option<T>> {
    let Some(raw) = members.get(key) else { return Ok(None) };
    serde_json::from_str(raw)
        .map_err(|_| Error::new(ErrorKind::InvalidRequest, format!("`{key}` must be {form}")))
}

/// The service that has the items of the hints and the call; `None` if the call uses a full name, or the hints require nothing.
/// Replicas are declared, never guessed: if several services fit, the caller must name one.
pub(crate) fn service_of(
    view: &View,
    hints: &RoutingHints,
    kind: CapabilityKind,
    name: Option<&str>,
) -> Result<Option<Arc<Service>>> {
    let asked = !hints.required_tools.is_empty() || !hints.required_resources.is_empty();
    let fits = |service: &&Arc<Service>| {
        offers_all(service, hints) && name.is_none_or(|name| service.definition(kind, name).is_some())
    };
    if !asked && name.is_some_and(|name| view.resolve(name).is_some()) {
        return Ok(None);
    }
    let mut fitting: Vec<_> = view.services.values().filter(fits).collect();
    if fitting.len() > 1 {
        let preferred = hints.preferred_servers.iter().find_map(|wish| {
            fitting.iter().position(|service| {
                service.name.as_str() == wish
                    || service
                        .replicas
                        .iter()
                        .any(|replica| is(replica.server.id, &replica.server.name, wish))
            })
        });
        if let Some(position) = preferred {
            fitting = vec![fitting[position]];
        }
    }
    match fitting[..] {
        [service] => Ok(Some(Arc::clone(service))),
        [] if asked => Err(offers_less()),
        [] if matches!(kind, CapabilityKind::Resource | CapabilityKind::ResourceTemplate) => {
            let uri = names::shown(name.unwrap_or_default());
            Err(Error::new(ErrorKind::ResourceNotFound, "no service offers this resource").with("uri", uri))
        }
        [] => {
            let name = names::shown(name.unwrap_or_default());
            Err(Error::new(ErrorKind::InvalidParams, format!("Unknown name: {name}. No server offers it")))
        }
        _ => {
            let services: Vec<_> = fitting.iter().map(|service| service.name.as_str()).collect();
            Err(Error::new(
                ErrorKind::InvalidParams,
                "several services offer this; name one in `preferred_servers` or use the name `service__tool`",
            )
            .with("services", services.join(", ")))
        }
    }
}

/// Refuses a call to a service, named by the caller, that has not all that the caller needs.
pub(crate) fn meets(service: &Service, hints: Option<&RoutingHints>) -> Result<()> {
    if hints.is_none_or(|hints| offers_all(service, hints)) { Ok(()) } else { Err(offers_less()) }
}

fn offers_all(service: &Service, hints: &RoutingHints) -> bool {
    let offers = |kind, name: &String| service.definition(kind, name).is_some();
    hints.required_tools.iter().all(|tool| offers(CapabilityKind::Tool, tool))
        && hints.required_resources.iter().all(|uri| offers(CapabilityKind::Resource, uri))
}

fn offers_less() -> Error {
    let message = "no server offers all that `required_tools` and `required_resources` name";
    Error::new(ErrorKind::Unavailable, message)
}

/// The servers of the service that the caller prefers, best first.
pub(crate) fn preferred(service: &Service, hints: &RoutingHints) -> Vec<ServerId> {
    let find = |wish: &String| {
        service
            .replicas
            .iter()
            .map(|replica| &replica.server)
            .find(|server| is(server.id, &server.name, wish))
    };
    hints.preferred_servers.iter().filter_map(find).map(|server| server.id).collect()
}

fn is(id: ServerId, name: &str, wish: &str) -> bool {
    name == wish || id.to_string() == wish
}
