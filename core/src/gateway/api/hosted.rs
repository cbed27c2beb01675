//! MCP servers of the program that embeds the gateway.

use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Gateway};
use crate::model::{Registration, Server, TransportType};
use crate::transport::in_process::{InProcessServer, SCHEME, ServerConnection};

/// A server of this process that is in place and registered. Dropped, it stays in place for as long as the gateway is open.
///
/// ```
/// use mcp_registry_gateway::{Caller, Gateway, Registration, Result};
/// use serde_json::{Value, json};
///
/// async fn clock(method: String, _params: Value) -> Result<Value> {
///     Ok(match method.as_str() {
///         "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
///             "serverInfo": { "name": "clock", "version": "1" } }),
///         "tools/list" => json!({ "tools": [{ "name": "now", "inputSchema": { "type": "object" } }] }),
///         "tools/call" => json!({ "content": [{ "type": "text", "text": "noon" }] }),
///         _ => json!({}),
///     })
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<()> {
///     let (gateway, us) = (Gateway::builder().open().await?, Caller::local());
///     let hosted = gateway.host(&us, Registration::named("clock"), |visit| visit.answer(clock)).await?;
///     gateway.discover(&us, hosted.server().id).await?;
///     assert_eq!(gateway.call_tool(&us, "clock__now", &json!({})).await?.text()?, "noon");
///     hosted.leave();                              // registered still, and not there any more
///     gateway.close().await;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Hosted {
    server: Arc<Server>,
    leaving: CancellationToken,
}

impl Hosted {
    /// As it is registered.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Takes the server away: its links end, calls find it unavailable. It stays registered.
    pub fn leave(&self) {
        self.leaving.cancel();
    }
}

impl Gateway {
    /// Puts an MCP server of this process in place and registers it, or changes the registration of its name. The registration
    /// has neither URL nor command. Each link that the gateway opens to the server is a [`ServerConnection`], which `serve`
    /// gets; they run side by side.
    ///
    /// [`ErrorKind::Conflict`] if a server of this name is in place already.
    pub async fn host<F, Fut>(&self, caller: &Caller, registration: Registration, serve: F) -> Result<Hosted>
    where
        F: Fn(ServerConnection) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let name = registration.name.clone();
        let mut resident = self.settle(caller, registration).await?;
        let server = self.named(caller, &name)?;
        let hosted = Hosted { server, leaving: CancellationToken::new() };
        let (tasks, leaving) = (self.tasks().clone(), hosted.leaving.clone());
        self.tasks().spawn(async move {
            while let Some(Some(visit)) = leaving.run_until_cancelled(resident.receive()).await {
                let (serving, leaving) = (serve(visit), leaving.clone());
                tasks.spawn(async move {
                    leaving.run_until_cancelled(serving).await;
                });
            }
        });
        Ok(hosted)
    }

    /// Puts a server of this process in place, for the receiver of its connections, and registers it.
    pub(crate) async fn settle(
        &self,
        caller: &Caller,
        mut registration: Registration,
    ) -> Result<InProcessServer> {
        if registration.endpoint_url.is_some() || registration.command.is_some() {
            let message = "a server of this process has neither `endpoint_url` nor `command`";
            return Err(Error::new(ErrorKind::InvalidParams, message).with("field", "endpoint_url"));
        }
        registration.endpoint_url = Some(format!("{SCHEME}:{}", registration.name));
        registration.transport_type = Some(TransportType::Memory);
        // First, so that it is there when the gateway asks for its capabilities.
        let resident = self.residents().settle(&caller.principal.tenant, &registration.name)?;
        self.declare(caller, &[registration]).await?;
        Ok(resident)
    }
}
