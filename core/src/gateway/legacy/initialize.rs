//! `initialize` of a client: the session that it opens with the gateway.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Core;
use crate::gateway::call::context::CallContext;
use crate::model::{Endpoint, Reply};
use crate::rpc::answer::result_response;
use crate::rpc::{Members, Message, version};
use crate::transport::Hello;

/// The longest self-description of a client, in bytes: it is kept as long as its session.
const MAX_INTRODUCTION: usize = 8 * 1024;

impl Core {
    /// Opens a session for the client that sent this `initialize`.
    pub(crate) async fn open_session(
        self: &Arc<Self>,
        route: &Endpoint,
        message: &Message,
        context: &CallContext,
    ) -> Result<Reply> {
        let params = message.params_members()?;
        let invalid = |what| Error::new(ErrorKind::InvalidParams, what);
        let requested = params
            .text("protocolVersion")
            .ok_or_else(|| invalid("`params.protocolVersion` must be a string"))?;
        let capabilities = params.get("capabilities").unwrap_or("{}");
        Members::parse(capabilities).map_err(|_| invalid("`params.capabilities` must be an object"))?;
        let negotiated = version::negotiate(&requested);
        let client_info = params.get("clientInfo").unwrap_or(r#"{"name":"unknown","version":"0"}"#);
        if capabilities.len() + client_info.len() > MAX_INTRODUCTION {
            let message = "`capabilities` and `clientInfo` are larger than the limit, together";
            return Err(Error::new(ErrorKind::TooLarge, message).with("limit_bytes", MAX_INTRODUCTION));
        }
        self.meet_as_legacy(route, &context.principal).await;
        let result = self.introduction(route, negotiated, &context.principal).await?;
        let hello = Hello {
            version: negotiated.into(),
            capabilities: capabilities.into(),
            client_info: client_info.into(),
        };
        let client = self.sessions.open(
            &self.settings.sessions,
            &context.principal,
            route,
            hello,
            self.clock.now(),
        )?;
        if let Err(error) = self.cluster.sessions.claim(&client.id).get().await {
            self.sessions.remove(&client);
            return Err(error);
        }
        let body = result_response(message.id().unwrap_or("null"), &result);
        Ok(Reply::Message { body, session: Some(Arc::clone(&client.id)), server: None })
    }
}
