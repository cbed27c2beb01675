//! An MCP client of this process.

use bytes::Bytes;
use mcp_registry_gateway::facade::{ClientHandle, Facade};
use napi::Env;
use napi::bindgen_prelude::{Buffer, Object};
use napi_derive::napi;

use crate::promise::{buffer, promise};
use crate::pump::{Told, pump};

/// A client that is attached to the gateway.
#[napi]
pub struct Client {
    facade: Facade,
    line: ClientHandle,
}

#[napi]
impl Client {
    pub(crate) fn new(facade: Facade, line: ClientHandle) -> Self {
        Self { facade, line }
    }

    /// Takes a message of the client's.
    #[napi]
    pub fn send<'env>(&self, env: &'env Env, message: Buffer) -> napi::Result<Object<'env>> {
        promise(env, &self.facade, None, self.line.send(Bytes::copy_from_slice(&message)), |()| ())
    }

    /// Tells `heard` each message for the client, and null at the end.
    #[napi]
    pub fn listen(&self, heard: Told<Buffer, false>) {
        let line = self.line.clone();
        pump(&self.facade, heard, move || line.receive(), buffer);
    }

    /// Ends the client's session.
    #[napi]
    pub fn end<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        promise(env, &self.facade, None, self.line.end(), |()| ())
    }
}
