//! The work of each tool of the gateway's own service.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::tool::Tool;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{BuiltinCall, Caller, Gateway};
use crate::model::{HealthStatus, Registration, Server, Status, TransportType};
use crate::registry::Filter;
use crate::rpc::envelope::quote;
use crate::rpc::{Edit, Method};
use crate::views;
use crate::views::found::SearchAnswer;
use crate::views::health::HealthHistory;
use crate::views::server::{ListAnswer, ServerView};

/// Observations of a server's health that are shown.
const OBSERVATIONS: u32 = 10;

/// Which servers are listed.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Listed {
    search: Option<String>,
    tags: Vec<String>,
    status: Option<Status>,
    health_status: Option<HealthStatus>,
    page: u32,
    limit: u32,
}

/// The search query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sought {
    query: String,
    limit: Option<u32>,
}

/// Which server is meant, by name or id.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Meant {
    server: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

pub(super) async fn outcome_of(tool: Tool, arguments: &str, own: BuiltinCall) -> Result<String> {
    let (gateway, caller) = (own.gateway(), own.caller());
    match tool {
        Tool::ListServers => {
            let Listed { search, tags, status, health_status, page, limit } = read(arguments)?;
            let filter = Filter { status, health_status, tags, search, page, limit };
            structured(&ListAnswer::of(gateway, caller, &filter, false, false)?)
        }
        Tool::FindTools => {
            let Sought { query, limit } = read(arguments)?;
            structured(&SearchAnswer::of(gateway, caller, query, limit)?)
        }
        Tool::ServerHealth => {
            let server = meant(gateway, caller, arguments)?;
            let history = gateway.health_history(caller, server.id, OBSERVATIONS).await?;
            let routing = gateway.metrics(caller).ok();
            let routing = routing.and_then(|all| all.into_iter().find(|(id, _)| *id == server.id));
            structured(&json!({
                "name": server.name,
                "status": server.status,
                "health_status": server.health_status,
                "last_health_check": server.last_health_check,
                "routing": routing.map(|(_, metrics)| metrics),
                "probes": HealthHistory::new(*server.id.as_uuid(), history),
            }))
        }
        Tool::RegisterServer => {
            let registration: Registration = read(arguments)?;
            check_command(gateway, &registration)?;
            let server = gateway.register(caller, registration).await?;
            structured(&ServerView::shown(gateway, caller, &server))
        }
        Tool::RemoveServer => {
            let server = meant(gateway, caller, arguments)?;
            gateway.remove(caller, server.id, None).await?;
            structured(&json!({ "removed": server.id, "name": server.name }))
        }
        Tool::Stats => {
            let Nothing {} = read(arguments)?;
            structured(&gateway.stats(caller)?)
        }
        Tool::ProxyRequest => proxied(arguments, own).await,
    }
}

/// Refuses a registration with a command: an agent that reads a hostile page can be talked into one, and the gateway would run it.
fn check_command(gateway: &Gateway, registration: &Registration) -> Result<()> {
    let stdio = registration.transport_type == Some(TransportType::Stdio) || registration.command.is_some();
    if !stdio || gateway.settings().server.builtin_commands {
        return Ok(());
    }
    let name: String = registration.name.chars().take(64).collect();
    let message = format!(
        "`{name}` has a command, which `register_server` does not register; register it in the configuration, by \
         `mcp-gateway register` or over REST, or set `server.builtin_commands = true`"
    );
    Err(Error::new(ErrorKind::PermissionDenied, message).with("setting", "server.builtin_commands"))
}

/// The result of a tool that a server has goes through as it is; another is put into one.
async fn proxied(arguments: &str, own: BuiltinCall) -> Result<String> {
    let mut request = Edit::of(arguments)?;
    request.set("jsonrpc", r#""2.0""#).set("id", "1");
    let (method, response) = own.proxy(Bytes::from(request.apply())).await?;
    match (response.result(), method) {
        (Some(result), Method::ToolsCall) => Ok(result.to_owned()),
        (Some(result), _) => Ok(content(result)),
        (None, _) => {
            let error = response.error().unwrap_or("no answer");
            Err(Error::new(ErrorKind::BadUpstream, format!("the server answered with an error: {error}")))
        }
    }
}

/// The server that the arguments mean.
fn meant(gateway: &Gateway, caller: &Caller, arguments: &str) -> Result<Arc<Server>> {
    gateway.named(caller, &read::<Meant>(arguments)?.server)
}

fn read<T: DeserializeOwned>(arguments: &str) -> Result<T> {
    views::read(arguments.as_bytes(), "the arguments")
}

/// The result of a tool: as text, and as it is.
fn structured(value: &impl Serialize) -> Result<String> {
    let json = views::write(value)?;
    Ok(content(&json))
}

fn content(json: &str) -> String {
    let text = quote(json);
    format!(r#"{{"content":[{{"type":"text","text":{text}}}],"structuredContent":{json}}}"#)
}
