//! An MCP server of this process.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use mcp_registry_gateway::facade::{self, Facade};
use napi::Env;
use napi::bindgen_prelude::{Buffer, Object};
use napi_derive::napi;

use crate::promise::{buffer, promise};

/// A server of this process that is in place.
#[napi]
pub struct Housed {
    facade: Facade,
    housed: Mutex<Option<facade::Housed>>,
}

/// One link of the gateway to the server.
#[napi]
pub struct Hosted {
    facade: Facade,
    hosted: facade::Hosted,
}

#[napi]
impl Housed {
    pub(crate) fn new(facade: Facade, housed: facade::Housed) -> Self {
        Self { facade, housed: Mutex::new(Some(housed)) }
    }

    /// The next link that the gateway opens; null at the end.
    #[napi]
    pub fn receive<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let facade = self.facade.clone();
        let next = self.housed().as_ref().map(facade::Housed::receive);
        let next = async move {
            match next {
                Some(next) => next.await,
                None => Ok(None),
            }
        };
        let show = move |link: Option<facade::Hosted>| link.map(|hosted| Hosted { facade, hosted });
        promise(env, &self.facade, None, next, show)
    }

    /// The server is not there any more.
    #[napi]
    pub fn leave(&self) {
        self.housed().take();
    }

    fn housed(&self) -> std::sync::MutexGuard<'_, Option<facade::Housed>> {
        self.housed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[napi]
impl Hosted {
    /// The next message for the server; null at the end.
    #[napi]
    pub fn receive<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        promise(env, &self.facade, None, self.hosted.receive(), |message| message.map(buffer))
    }

    /// Takes a message of the server's.
    #[napi]
    #[expect(clippy::needless_pass_by_value, reason = "as the macro wants it")]
    pub fn send<'env>(&self, env: &'env Env, message: Buffer) -> napi::Result<Object<'env>> {
        promise(env, &self.facade, None, self.hosted.send(Bytes::copy_from_slice(&message)), |()| ())
    }
}
