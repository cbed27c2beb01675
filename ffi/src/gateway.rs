//! The gateway.

use std::sync::Arc;

use bytes::Bytes;
use mcp_registry_gateway::facade::Facade;

use crate::{GatewayError, Lease, Listener, Watching};

/// A gateway with threads of its own. Two gateways of one process share nothing.
#[derive(Debug, uniffi::Object)]
pub struct Gateway(Facade);

impl Gateway {
    async fn perform(&self, verb: &str, document: String) -> Result<String, GatewayError> {
        let answer = self.0.fly(self.0.perform(verb, Bytes::from(document))).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// A method of the gateway's for each verb: a document in, a document out.
macro_rules! verbs {
    ($($(#[$doc:meta])+ $verb:ident;)+) => {
        #[uniffi::export]
        impl Gateway {
            $(
                $(#[$doc])+
                pub async fn $verb(&self, document: String) -> Result<String, GatewayError> {
                    self.perform(stringify!($verb), document).await
                }
            )+
        }
    };
}

verbs! {
    /// Registers a server: the body of `POST /api/v1/servers`.
    register;
    /// Changes a server: `{server, changes, revision?}`, the server by its name or id.
    update;
    /// Removes a server: `{server, revision?}`.
    remove;
    /// Takes up definitions of a server that wait for approval: `{server}`.
    approve;
    /// Shows a server: `{server}`.
    get;
    /// Lists servers: the query of `GET /api/v1/servers`.
    list;
    /// The servers that offer all of `{tools}`, `{resources}` or `{prompts}`.
    find;
    /// Searches: `{query, limit?}`.
    search;
    /// What a server offers, as far as it is known: `{server}`.
    capabilities;
    /// Asks a server now what it offers: `{server}`.
    discover;
    /// Probes a server now: `{server}`.
    health;
    /// Examines a server step by step, and says what to do: `{server}`.
    diagnose;
    /// What probes of a server found, newest first: `{server, limit?}`.
    health_history;
    /// Creates an API key: the body of `POST /api/v1/api-keys`; the answer alone has the plain key.
    create_key;
    /// The record of an API key: `{key}`, its id.
    get_key;
    /// Lists API keys: `{page?, limit?}`.
    list_keys;
    /// Replaces an API key: `{key}`; the old one holds for another 24 hours.
    rotate_key;
    /// Revokes an API key: `{key}`.
    revoke_key;
    /// Makes a tenant: `{id, display_name?}`.
    create_tenant;
    /// One tenant: `{tenant}`, its id.
    get_tenant;
    /// The tenants: `{}`.
    list_tenants;
    /// Changes a tenant: `{tenant, changes}`, of `display_name` and `enabled`.
    update_tenant;
    /// Deletes a tenant with its servers: `{tenant}`; its audit trail stays.
    delete_tenant;
    /// Sets a credential that the gateway sends to a server: `{server, credential: {header, value, subject?}}`; the value is kept sealed.
    set_credential;
    /// What a server is shown, without the values: `{server}`.
    list_credentials;
    /// Shows a server nothing in a header any more: `{server, header, subject?}`.
    remove_credential;
    /// Begins an OAuth login of the gateway at a server: `{server, redirect_uri, scopes?, …}`; says where a person goes.
    begin_login;
    /// Ends a login with what the browser brought to `redirect_uri`: `{state, code, iss?}`.
    finish_login;
    /// A page of the audit trail, newest first: the query of `GET /api/v1/audit`.
    audit;
    /// Follows the chain of the audit trail: `{}`.
    verify_audit;
    /// Counts servers, sessions and calls: `{}`.
    stats;
    /// What routing knows of each server: `{}`.
    metrics;
    /// The calls under way: `{}`.
    active_requests;
    /// Cancels a call under way: `{request_id}`.
    cancel_request;
    /// Whom a credential stands for: `{authorization?}`.
    authenticate;
    /// The same, if it may: `{operation, authorization?}`.
    authorize;
    /// Calls a tool: `{name, arguments?, service?, timeout_seconds?, …}`; gives the result as its server sent it.
    call_tool;
    /// Reads a resource: `{uri, service?, …}`.
    read_resource;
    /// Gets a prompt: `{name, arguments?, service?, …}`.
    get_prompt;
    /// Completes an argument: `{ref, argument, context?, service?, …}`.
    complete;
    /// Lists tools: `{service?, cursor?}`.
    list_tools;
    /// Lists resources: `{service?, cursor?}`.
    list_resources;
    /// Lists resource templates: `{service?, cursor?}`.
    list_resource_templates;
    /// Lists prompts: `{service?, cursor?}`.
    list_prompts;
    /// Sends any MCP request: `{method, params?, service?, …}`.
    request;
}

#[uniffi::export]
impl Gateway {
    /// Opens a gateway: `{config?, url?, data_dir?, servers?, accept_data_loss?}`; with `{}` it is all in memory.
    #[uniffi::constructor]
    #[expect(clippy::needless_pass_by_value, reason = "as it crosses")]
    pub fn open(document: String) -> Result<Arc<Self>, GatewayError> {
        Ok(Arc::new(Self(Facade::open(document.as_bytes())?)))
    }

    /// Picks a server of a service for a caller that talks to it itself, without waiting.
    #[expect(clippy::needless_pass_by_value, reason = "as it crosses")]
    pub fn pick(&self, service: String, key: Option<String>) -> Result<Arc<Lease>, GatewayError> {
        Ok(Arc::new(Lease::new(self.0.pick(&service, key.as_deref())?)))
    }

    /// Tells `listener` of changes of servers until what this gives is dropped or the gateway is closed.
    pub fn watch(&self, listener: Arc<dyn Listener>) -> Result<Arc<Watching>, GatewayError> {
        Ok(Arc::new(Watching::new(&self.0, self.0.watch()?, listener)))
    }

    /// Takes no new calls, lets those under way end, then ends everything. `close` is what Kotlin calls to free an object.
    pub async fn shutdown(&self) -> Result<(), GatewayError> {
        Ok(self.0.close().await?)
    }
}
