//! A request to the HTTP surface.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use mcp_registry_gateway::facade::{self, Facade};
use napi::Env;
use napi::bindgen_prelude::{Buffer, Object};
use napi_derive::napi;

use crate::promise::{Work, buffer, promise};

/// A request under way; abandoned, its call is cancelled as when a connection breaks.
#[napi]
pub struct Exchange {
    facade: Facade,
    exchange: Mutex<Option<facade::Exchange>>,
}

/// The head of an answer.
#[napi(object)]
pub(crate) struct Head {
    /// The status.
    pub status: u16,
    /// Names and values, in order.
    pub headers: Vec<Vec<String>>,
}

#[napi]
impl Exchange {
    pub(crate) fn new(facade: Facade, exchange: facade::Exchange) -> Self {
        Self { facade, exchange: Mutex::new(Some(exchange)) }
    }

    /// Adds a piece to the request's body; false once nobody wants more.
    #[napi]
    pub fn push<'env>(&self, env: &'env Env, piece: Buffer) -> napi::Result<Object<'env>> {
        let exchange = self.exchange()?;
        promise(env, &self.facade, None, exchange.push(Bytes::copy_from_slice(&piece)), |wanted| wanted)
    }

    /// Ends the request's body.
    #[napi]
    pub fn finish(&self) -> napi::Result<()> {
        self.exchange()?.finish();
        Ok(())
    }

    /// The head of the answer.
    #[napi]
    pub fn head<'env>(&self, env: &'env Env, work: &Work) -> napi::Result<Object<'env>> {
        promise(env, &self.facade, Some(work), self.exchange()?.head(), |head| Head {
            status: head.status,
            headers: head.headers.into_iter().map(|(name, value)| vec![text(&name), text(&value)]).collect(),
        })
    }

    /// The next piece of the answer's body; null at its end.
    #[napi]
    pub fn piece<'env>(&self, env: &'env Env, work: &Work) -> napi::Result<Object<'env>> {
        promise(env, &self.facade, Some(work), self.exchange()?.piece(), |piece| piece.map(buffer))
    }

    /// Gives the request up.
    #[napi]
    pub fn abandon(&self) {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn exchange(&self) -> napi::Result<facade::Exchange> {
        let exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner).clone();
        exchange.ok_or_else(|| napi::Error::from_reason("this request was abandoned"))
    }
}

/// A header as the `Headers` of fetch have it: each byte is a character (RFC 9110, section 5.5).
fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
