//! An MCP server of this process.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use mcp_registry_gateway::facade::{self, Facade, Work};
use napi::Env;
use napi::bindgen_prelude::{Buffer, Object};
use napi_derive::napi;

use crate::promise::{buffer, promise};
use crate::pump::{Told, pump};

/// A server of this process that is in place until it leaves.
#[napi]
pub struct Housed {
    facade: Facade,
    server: Mutex<Option<facade::RegisteredServer>>,
    listening: OnceLock<Work>,
}

/// One link of the gateway to the server, until either side hangs up.
#[napi]
pub struct Hosted {
    facade: Facade,
    link: Mutex<Option<facade::Hosted>>,
    listening: OnceLock<Work>,
}

#[napi]
impl Housed {
    pub(crate) fn new(facade: Facade, housed: facade::RegisteredServer) -> Self {
        Self { facade, server: Mutex::new(Some(housed)), listening: OnceLock::new() }
    }

    /// Tells `visited` each link that the gateway opens, and null at the end; once.
    #[napi]
    pub fn listen(&self, visited: Told<Hosted, true>) {
        let Some(housed) = lock(&self.server).take() else { return };
        let facade = self.facade.clone();
        let link = move |hosted| Hosted::new(facade.clone(), hosted);
        let listening = pump(&self.facade, visited, move || housed.receive(), link);
        let _ = self.listening.set(listening);
    }

    /// The server is not there any more.
    #[napi]
    pub fn leave(&self) {
        lock(&self.server).take();
        self.listening.get().into_iter().for_each(Work::cancel);
    }
}

#[napi]
impl Hosted {
    fn new(facade: Facade, hosted: facade::Hosted) -> Self {
        Self { facade, link: Mutex::new(Some(hosted)), listening: OnceLock::new() }
    }

    /// Tells `heard` each message for the server, and null at the end; once.
    #[napi]
    pub fn listen(&self, heard: Told<Buffer, true>) {
        let Some(hosted) = lock(&self.link).clone() else { return };
        let listening = pump(&self.facade, heard, move || hosted.receive(), buffer);
        let _ = self.listening.set(listening);
    }

    /// Takes a message of the server's; nothing once it has hung up.
    #[napi]
    pub fn send<'env>(&self, env: &'env Env, message: Buffer) -> napi::Result<Object<'env>> {
        let sent = lock(&self.link).as_ref().map(|hosted| hosted.send(Bytes::copy_from_slice(&message)));
        let sent = async move {
            match sent {
                Some(sent) => sent.await,
                None => Ok(()),
            }
        };
        promise(env, &self.facade, None, sent, |()| ())
    }

    /// Hangs up.
    #[napi]
    pub fn leave(&self) {
        lock(&self.link).take();
        self.listening.get().into_iter().for_each(Work::cancel);
    }
}

fn lock<T>(place: &Mutex<T>) -> MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}
