//! The gateway.

use bytes::Bytes;
use mcp_registry_gateway::facade::{Facade, Request};
use napi::Env;
use napi::bindgen_prelude::{Buffer, Object};
use napi_derive::napi;

use crate::client::Client;
use crate::exchange::Exchange;
use crate::housed::Housed;
use crate::lease::Lease;
use crate::promise::{Work, buffer, promise, reason};
use crate::watch::Watch;

/// A gateway with a runtime of its own.
#[napi]
pub struct Gateway(Facade);

#[napi]
impl Gateway {
    /// Opens the gateway that the document describes.
    #[napi(factory)]
    #[expect(clippy::needless_pass_by_value, reason = "as the macro wants it")]
    pub fn open(document: Buffer) -> napi::Result<Self> {
        Facade::open(&document).map(Self).map_err(|error| reason(&error))
    }

    /// Does what the verb says.
    #[napi]
    #[expect(clippy::needless_pass_by_value, reason = "as the macro wants it")]
    pub fn perform<'env>(
        &self,
        env: &'env Env,
        verb: String,
        document: Buffer,
        work: Option<&Work>,
    ) -> napi::Result<Object<'env>> {
        let document = Bytes::copy_from_slice(&document);
        promise(env, &self.0, work, self.0.perform(&verb, document), buffer)
    }

    /// Picks a server.
    #[napi]
    #[expect(clippy::needless_pass_by_value, reason = "as the macro wants it")]
    pub fn pick(&self, service: String, key: Option<String>) -> napi::Result<Lease> {
        self.0.pick(&service, key.as_deref()).map(Lease::new).map_err(|error| reason(&error))
    }

    /// Watches changes.
    #[napi]
    pub fn watch(&self) -> napi::Result<Watch> {
        let watch = self.0.watch().map_err(|error| reason(&error))?;
        Ok(Watch::new(self.0.clone(), watch))
    }

    /// Attaches a client.
    #[napi]
    #[expect(clippy::needless_pass_by_value, reason = "as the macro wants it")]
    pub fn attach(&self, service: Option<String>, authorization: Option<String>) -> napi::Result<Client> {
        let line = self.0.attach(service.as_deref(), authorization.as_deref());
        Ok(Client::new(self.0.clone(), line.map_err(|error| reason(&error))?))
    }

    /// Puts a server of this process in place.
    #[napi]
    #[expect(clippy::needless_pass_by_value, reason = "as the macro wants it")]
    pub fn house<'env>(&self, env: &'env Env, registration: Buffer) -> napi::Result<Object<'env>> {
        let facade = self.0.clone();
        let registration = Bytes::copy_from_slice(&registration);
        let work = self.0.house_server(registration);
        promise(env, &self.0, None, work, move |housed| Housed::new(facade, housed))
    }

    /// Sends a request to the HTTP surface.
    #[napi]
    pub fn request(
        &self,
        method: String,
        target: String,
        headers: Vec<Vec<String>>,
        peer: Option<String>,
    ) -> napi::Result<Exchange> {
        let headers = headers.into_iter().filter_map(|pair| {
            let [name, value] = <[String; 2]>::try_from(pair).ok()?;
            Some((name.into(), value.into()))
        });
        let peer = peer.map(|peer| peer.parse()).transpose();
        let peer = peer.map_err(|_| napi::Error::from_reason("`peer` is no IP address"))?;
        let request = Request { method, target, headers: headers.collect(), peer };
        let exchange = self.0.request(&request).map_err(|error| reason(&error))?;
        Ok(Exchange::new(self.0.clone(), exchange))
    }

    /// Ends the gateway.
    #[napi]
    pub fn close<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let (deferred, promise) = env.create_deferred()?;
        let facade = self.0.clone();
        // On a thread of its own: those of the gateway end with it.
        std::thread::spawn(move || match facade.end(None) {
            Ok(()) => deferred.resolve(|_: Env| Ok(())),
            Err(error) => deferred.reject(reason(&error)),
        });
        Ok(promise)
    }
}
