//! An MCP client of this process.

use bytes::Bytes;
use mcp_registry_gateway::facade::{Facade, Line};
use napi::Env;
use napi::bindgen_prelude::{Buffer, Object};
use napi_derive::napi;

use crate::promise::{buffer, promise};

/// A client that is attached to the gateway.
#[napi]
pub struct Client {
    facade: Facade,
    line: Line,
}

#[napi]
impl Client {
    pub(crate) fn new(facade: Facade, line: Line) -> Self {
        Self { facade, line }
    }

    /// Takes a message of the client's.
    #[napi]
    #[expect(clippy::needless_pass_by_value, reason = "as the macro wants it")]
    pub fn send<'env>(&self, env: &'env Env, message: Buffer) -> napi::Result<Object<'env>> {
        promise(env, &self.facade, None, self.line.send(Bytes::copy_from_slice(&message)), |()| ())
    }

    /// The next message for the client; null at the end.
    #[napi]
    pub fn receive<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        promise(env, &self.facade, None, self.line.receive(), |message| message.map(buffer))
    }

    /// Ends the client's session.
    #[napi]
    pub fn end<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        promise(env, &self.facade, None, self.line.end(), |()| ())
    }
}
