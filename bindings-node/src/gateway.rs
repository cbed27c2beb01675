//! The gateway.

use std::time::Duration;

use bytes::Bytes;
use mcp_registry_gateway::facade::{self, Facade, Request};
use napi::Env;
use napi::bindgen_prelude::{Buffer, Latin1String, Object};
use napi_derive::napi;

use crate::client::Client;
use crate::exchange::Exchange;
use crate::housed::Housed;
use crate::lease::Lease;
use crate::promise::{Work, aside, buffer, promise, reason};
use crate::watch::Watch;

/// As what the HTTP surface is mounted: what it serves beside MCP, and whose word for an address of this machine is taken.
#[napi]
pub struct Mount(facade::Mount);

#[napi]
impl Mount {
    /// A mount with these parts.
    #[napi(constructor)]
    pub fn new(expose: Vec<String>, trust: Option<String>, connected: bool) -> napi::Result<Self> {
        facade::Mount::new(expose, trust.as_deref(), connected).map(Self).map_err(|error| reason(&error))
    }
}

/// A gateway with a runtime of its own.
#[napi]
pub struct Gateway(pub(crate) Facade);

#[napi]
impl Gateway {
    /// Opens the gateway that the document describes.
    #[napi]
    pub fn open(env: &Env, document: Buffer) -> napi::Result<Object<'_>> {
        let document = Bytes::copy_from_slice(&document);
        aside(env, move || Facade::open(&document), Self)
    }

    /// Does what the verb says.
    #[napi]
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
    pub fn pick(&self, service: String, key: Option<String>) -> napi::Result<Lease> {
        self.0.pick(&service, key.as_deref()).map(Lease::new).map_err(|error| reason(&error))
    }

    /// Watches changes.
    #[napi]
    pub fn watch(&self) -> napi::Result<Watch> {
        let watch = self.0.watch().map_err(|error| reason(&error))?;
        Ok(Watch::new(self.0.clone(), watch))
    }

    /// Attaches a client, as the document says.
    #[napi]
    pub fn attach(&self, document: Buffer) -> napi::Result<Client> {
        let line = self.0.attach(&document);
        Ok(Client::new(self.0.clone(), line.map_err(|error| reason(&error))?))
    }

    /// Puts a server of this process in place.
    #[napi]
    pub fn house<'env>(&self, env: &'env Env, registration: Buffer) -> napi::Result<Object<'env>> {
        let facade = self.0.clone();
        let registration = Bytes::copy_from_slice(&registration);
        let work = self.0.register_in_process(registration);
        promise(env, &self.0, None, work, move |housed| Housed::new(facade, housed))
    }

    /// Sends a request to the HTTP surface; headers are names and values.
    #[napi]
    pub fn request(
        &self,
        mount: &Mount,
        method: String,
        target: String,
        headers: Vec<(Latin1String, Latin1String)>,
        peer: Option<String>,
    ) -> napi::Result<Exchange> {
        let bytes = |text: Latin1String| Bytes::copy_from_slice(&text);
        let headers = headers.into_iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
        let request = Request { method, target, headers, peer, mount: mount.0 };
        let exchange = self.0.request(&request).map_err(|error| reason(&error))?;
        Ok(Exchange::new(self.0.clone(), exchange))
    }

    /// Closes the gateway: calls in progress may go on for `grace` seconds, or as long as the configuration says.
    #[napi]
    pub fn close<'env>(&self, env: &'env Env, grace: Option<f64>) -> napi::Result<Object<'env>> {
        let facade = self.0.clone();
        let grace = grace.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        aside(env, move || facade.end(grace), |()| ())
    }

    /// Ends the gateway at once, and waits for that.
    #[napi]
    pub fn end(&self) -> napi::Result<()> {
        self.0.end(Some(Duration::ZERO)).map_err(|error| reason(&error))
    }

    /// Whether it was ended.
    #[napi(getter)]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
