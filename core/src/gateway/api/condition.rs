//! The condition of servers, for people and programs.

use crate::auth::Operation;
use crate::error::Result;
use crate::gateway::{Caller, Gateway};
use crate::model::{Capability, Condition, Server, ServerId};

impl Gateway {
    /// How a server is: its state, its problems, its last start. A caller below a manager gets the kinds and times of problems,
    /// without the texts of the server and its program.
    ///
    /// ```
    /// use mcp_registry_gateway::model::ServerState;
    /// use mcp_registry_gateway::{Caller, Gateway, Registration};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> mcp_registry_gateway::Result<()> {
    /// let (gateway, us) = (Gateway::builder().open().await?, Caller::local());
    /// let docs = gateway.register(&us, Registration::at("docs", "http://127.0.0.1:9/mcp")).await?;
    /// assert_ne!(gateway.condition(&us, docs.id)?.state, ServerState::Ready);
    /// # gateway.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn condition(&self, caller: &Caller, id: ServerId) -> Result<Condition> {
        caller.may(Operation::ServersRead)?;
        let server = self.get(caller, id)?;
        Ok(self.condition_of(caller, &server, &self.capabilities(caller, id)?))
    }

    /// The condition of a server that the caller may see, and of which it sees these items.
    pub(crate) fn condition_of(&self, caller: &Caller, server: &Server, items: &[Capability]) -> Condition {
        let condition = self.0.condition(server, items);
        if caller.may(Operation::ServersDiagnose).is_ok() { condition } else { condition.without_texts() }
    }
}
