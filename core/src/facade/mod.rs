//! The gateway for programs in other languages: documents in, documents out.
//!
//! A binding turns its language's call into one call here, and the answer back; everything that two bindings would both need is
//! decided here or above. [`Facade::perform`] takes a verb with a JSON document and returns a JSON document; an operation that is
//! not one question with one answer has a type of its own: [`Watch`], [`ClientHandle`], [`RegisteredServer`], [`Exchange`],
//! [`Admitted`] and the [`Picked`] server.
//!
//! | verb | document | answer |
//! |---|---|---|
//! | `register` | a registration | the server |
//! | `update` | `server`, `changes`, `revision?` | the server |
//! | `remove` | `server`, `revision?` | `null` |
//! | `approve`, `get` | `server` | the server |
//! | `list` | `page?`, `limit?`, `status?`, `health_status?`, `tags?`, `search?`, `include_tools?`, `include_resources?` | a page |
//! | `find` | `tools`, `resources` or `prompts`: names | the servers that offer all of them |
//! | `search` | `query`, `limit?` | results, best first |
//! | `offered` | `kind`: `tools` or `resources` | the items that the caller may use |
//! | `capabilities`, `discover` | `server` | its listing: as it is known, or asked for now |
//! | `health`, `health_history` | `server` (`limit?`) | the outcome of a probe now, or of earlier ones |
//! | `create_key` | `name`, `role?`, `scopes?`, `server_id?`, `expires_in_days?` | the key, once |
//! | `get_key`, `rotate_key`, `revoke_key` | `key`: its id | the key's record, the new key, `null` |
//! | `list_keys` | `page?`, `limit?` | a page |
//! | `create_tenant` | `id`, `display_name?` | the tenant |
//! | `get_tenant`, `delete_tenant` | `tenant`: its id | the tenant, `null` |
//! | `update_tenant` | `tenant`, `changes`: `display_name?`, `enabled?` | the tenant |
//! | `list_tenants` | | the tenants |
//! | `set_credential` | `server`, `credential`: `header`, `value`, `subject?` | its description, never the value |
//! | `list_credentials` | `server` | the description of each |
//! | `remove_credential` | `server`, `header`, `subject?` | `null` |
//! | `begin_login` | `server`, `redirect_uri`, `subject?`, `client_id?`, `client_secret?`, `client_metadata_url?`, `scopes?` | where a person goes, and the `redirect_uri` below the page that they come back to |
//! | `finish_login` | `state`, `code`, `iss?`, as the browser brought them, and the `redirect_uri` that it came back to | its description |
//! | `audit` | `from?`, `to?`, `actor?`, `action?`, `target?`, `outcome?`, `before?`, `limit?` | a page, newest first |
//! | `verify_audit` | | the outcome of following the chain of the trail |
//! | `stats`, `metrics`, `active_requests` | | counts; routing's records of each server; the calls under way |
//! | `cancel_request` | `request_id` | `null` |
//! | `authenticate` | `authorization?` | the principal that it stands for |
//! | `authorize` | `operation`, `authorization?` | the same, if it may |
//! | `call_tool`, `get_prompt` | `name`, `arguments?`, `_meta?` and route | the result's own bytes |
//! | `read_resource` | `uri`, `_meta?` and route | the result's own bytes |
//! | `complete` | `ref`, `argument`, `context?`, `_meta?` and route | the result's own bytes |
//! | `list_tools`, `list_resources`, `list_resource_templates`, `list_prompts` | `cursor?`, `_meta?` and route | the result's own bytes |
//! | `request` | `method`, `params?` and route | the result's own bytes |
//!
//! A `server` is named by its id or its name. The route of an MCP call is any of `service`, `required_tools`,
//! `required_resources`, `preferred_servers`, `timeout_seconds` and `authorization`. Without a `service`, names are those of
//! `/mcp`, such as `service__tool`.
//!
//! A facade owns the tokio runtime that its gateway runs on, so that the host needs none, and shares nothing with another facade.
//! It installs no signal handler and no subscriber. A child of `fork()` has a copy of the memory and none of the threads: every
//! call there is an error that says so (`process.rs`).

mod admitted;
mod requests;
#[cfg(feature = "bench")]
mod bench;
mod governing;
mod identity;
mod client;
mod mcp;
mod opening;
mod process;
mod in_process;
#[cfg(feature = "server")]
mod surface;
mod verbs;
mod watch;
mod work;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::runtime::{Handle, Runtime};

pub use self::admitted::Admitted;
pub use self::client::ClientHandle;
pub use self::in_process::{Hosted, RegisteredServer};
use self::process::Process;
#[cfg(feature = "server")]
pub use self::surface::{Exchange, Head, Mount, Request};
pub use self::watch::Watch;
use self::work::Where;
pub use self::work::{Work, WorkHandle};
use crate::auth::{Authorization, Credentials};
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{Caller, Gateway, Picked, Picker};
use crate::tasks::Tasks;
use crate::views::fault;

/// A gateway with the runtime that it runs on. Clones share it; the last that is dropped ends it, without waiting for calls under
/// way. [`Facade::close`] waits.
#[derive(Clone, Debug)]
pub struct Facade(Arc<Shared>);

struct Shared {
    /// Taken when the gateway ends, so that a closed facade keeps nothing until a garbage collector comes by.
    house: ArcSwapOption<OpenGateway>,
    /// Not in `house`: to go there and back would cost a pick a tenth of its time.
    picker: Picker,
    process: Process,
    closed: AtomicBool,
    /// Work that callers wait for.
    works: Tasks,
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
}

/// The state that is only touched by the process that opened it.
struct OpenGateway {
    gateway: Gateway,
    caller: Caller,
    #[cfg(feature = "server")]
    surface: crate::server::Service,
    /// Keeps others out of the database.
    _presence: Option<crate::store::presence::Presence>,
}

impl Facade {
    /// Opens the gateway that `document` describes, an object with any of
    /// - `config`: the path of a configuration file, or the configuration itself under the same keys;
    /// - `url`: the store, `sqlite:PATH` or `memory:`; without it, the one that the configuration names, else memory;
    /// - `data_dir`: where relative paths lead; without it, the folder of the configuration file, or else the working directory;
    /// - `servers`: a list of registrations, or an object with `mcpServers`, of which an entry that cannot be used is logged and costs
    ///   itself alone. Placeholders such as `${VAR}` stay as they are.
    ///
    /// Neither the environment nor a file that is not named is read. Blocks until the gateway is open.
    ///
    /// Errors: [`ErrorKind::InvalidParams`] with everything that is wrong with the document, [`ErrorKind::Conflict`] where another
    /// gateway has the database, [`ErrorKind::Storage`].
    pub fn open(document: &[u8]) -> Result<Self> {
        let opening = opening::Opening::read(document)?;
        let runtime = opening.runtime()?;
        // On a thread of its own: the caller's may belong to another runtime.
        let outcome = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(opening.open())).join());
        let ended =
            |_| Err(Error::new(ErrorKind::Internal, "opening the gateway failed; its log has the place"));
        let outcome = outcome.unwrap_or_else(ended);
        match outcome {
            Ok(house) => Ok(Self(Arc::new(Shared {
                picker: house.gateway.picker(house.caller.clone()),
                house: ArcSwapOption::from_pointee(house),
                process: Process::this(),
                closed: AtomicBool::new(false),
                works: Tasks::default(),
                handle: runtime.handle().clone(),
                runtime: Mutex::new(Some(runtime)),
            }))),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Performs `verb` with the document `input`, an object; empty bytes are an empty one.
    ///
    /// Errors: [`ErrorKind::MethodNotFound`] for an unknown verb, [`ErrorKind::InvalidParams`] with the `field` for a document
    /// that the verb does not take, and those of the operation.
    pub fn perform(&self, verb: &str, input: Bytes) -> impl Future<Output = Result<Bytes>> + Send + 'static {
        let (house, verb) = (self.house(), verbs::Verb::named(verb));
        async move {
            let (verb, house) = (verb?, house?);
            verb.perform(&house, &input).await
        }
    }

    /// Picks a server of `service` for a caller that talks to it itself; see [`Gateway::pick`]. It waits for nothing, so that it
    /// believes a host that says that it is [`told of forks`](Facade::is_told_of_forks).
    #[inline]
    pub fn pick(&self, service: &str, key: Option<&str>) -> Result<Picked> {
        if self.0.process.is_left_by_word() {
            return Err(forked());
        }
        if self.is_closed() {
            return Err(work::closed());
        }
        self.0.picker.pick(service, key)
    }

    /// The host says that it calls [`Facade::left_by_fork`] in each child that it forks, so that [`Facade::pick`] need not ask the
    /// system each time which process this is.
    pub fn is_told_of_forks(&self) {
        self.0.process.is_told();
    }

    /// This is the child of a fork: from now on every call is an error that says so.
    pub fn left_by_fork(&self) {
        self.0.process.leave();
    }

    /// Watches the changes of servers from now on.
    pub fn watch(&self) -> Result<Watch> {
        let house = self.house()?;
        let events = house.gateway.watch(&house.caller)?;
        Ok(Watch::new(events, Arc::clone(house.gateway.clock())))
    }

    /// Attaches an MCP client of this process, of either era. `document` has the scope: `service`, or everything without one, and
    /// with the gateway's own service if `builtin` is true. It has the caller as in [`Facade::admit`]: `authorization` and
    /// `peer`; without both it is the program itself.
    pub fn attach(&self, document: &[u8]) -> Result<ClientHandle> {
        let house = self.house()?;
        ClientHandle::open(&house, document)
    }

    /// Connects an MCP server of this process and registers it: `registration` is a registration without an endpoint. One that
    /// is registered under this name already is changed.
    ///
    /// [`ErrorKind::Conflict`] if it is connected already.
    pub fn register_in_process(
        &self,
        registration: Bytes,
    ) -> impl Future<Output = Result<RegisteredServer>> + Send + 'static {
        let house = self.house();
        async move {
            let house = house?;
            RegisteredServer::open(&house.gateway, &house.caller, &registration).await
        }
    }

    /// Leave for the host to answer a call itself, such as one of a tool of its own: `document` has the MCP `method`, the
    /// `service` name that rules and the audit trail use for the host's offering, and, where there are, the `name` of the tool or
    /// prompt or the URI of the resource, and the caller: `authorization`, as the header of that name has it, and `peer`, the
    /// address of a caller over the network (empty if it has none). Without both it is the program itself.
    ///
    /// Errors are those of [`Gateway::admit_call`]; their context has the `code` for a JSON-RPC client.
    pub fn admit(&self, document: Bytes) -> impl Future<Output = Result<Admitted>> + Send + 'static {
        let house = self.house();
        async move { Admitted::ask(&*house?, &document).await }
    }

    /// Sends an HTTP request to the gateway's HTTP surface, without a socket.
    #[cfg(feature = "server")]
    pub fn request(&self, request: &Request) -> Result<Exchange> {
        let house = self.house()?;
        Exchange::open(&house.surface, request)
    }

    /// Takes no new work, lets calls under way end for as long as the configuration's `server.grace_seconds`, then ends everything,
    /// the runtime included. Closing again does nothing.
    pub fn close(&self) -> WorkHandle<()> {
        self.close_within(None)
    }

    /// As [`Facade::close`], for a thread that waits; calls under way may go on for as long as `grace`, if that is said.
    pub fn end(&self, grace: Option<Duration>) -> Result<()> {
        self.close_within(grace).wait()
    }

    fn close_within(&self, grace: Option<Duration>) -> WorkHandle<()> {
        let shared = Arc::clone(&self.0);
        let house = match self.house() {
            Ok(house) if !shared.closed.swap(true, Ordering::SeqCst) => house,
            Err(error) if shared.process.is_left() => return WorkHandle::done(Err(error)),
            Ok(_) | Err(_) => return WorkHandle::done(Ok(())),
        };
        let (flight, landing) = WorkHandle::new();
        let ending = Tasks::default();
        ending.clone().spawn_on(&self.0.handle, async move {
            let configured = house.gateway.settings().server.grace;
            house.gateway.shutdown(grace.unwrap_or(configured)).await;
            shared.works.stop().await;
            drop(shared.house.swap(None));
            drop(house);
            if let Some(runtime) = shared.take_runtime() {
                runtime.shutdown_background();
            }
            landing.land(Ok(()));
        });
        flight
    }

    /// Whether [`Facade::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    /// Runs `work`: on this thread as far as it goes at once, then on this gateway's runtime. Its outcome is passed to `done`,
    /// before this returns if it came to an end at once; so is an error if the gateway is closed before. Both may run in the
    /// middle of another call to this gateway, on the thread of that call's maker, so that neither may call functions of the
    /// host's: [`Facade::run_apart`] does that.
    pub fn run<T, F>(&self, work: F, done: impl FnOnce(Result<T>) + Send + 'static) -> Work
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.run_at(Where::Here, work, done)
    }

    /// As [`Facade::run`], on threads of this gateway's runtime alone: for `work` that calls functions of the host's.
    pub fn run_apart<T, F>(&self, work: F, done: impl FnOnce(Result<T>) + Send + 'static) -> Work
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.run_at(Where::Apart, work, done)
    }

    fn run_at<T, F>(&self, place: Where, work: F, done: impl FnOnce(Result<T>) + Send + 'static) -> Work
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        if self.0.process.is_left() {
            done(Err(forked()));
            return Work::ended();
        }
        work::run(place, &self.0.works, &self.0.handle, work, done)
    }

    /// Runs `work` as [`Facade::run_apart`] does, for a waiter on any executor: the wakers are the host's. Dropped, the work is
    /// cancelled.
    pub fn fly<T, F>(&self, work: F) -> WorkHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (mut flight, landing) = WorkHandle::new();
        flight.hold(self.run_apart(work, move |outcome| landing.land(outcome)));
        flight
    }

    fn house(&self) -> Result<Arc<OpenGateway>> {
        if self.0.process.is_left() {
            return Err(forked());
        }
        match self.0.house.load_full() {
            Some(house) if !self.is_closed() => Ok(house),
            _ => Err(work::closed()),
        }
    }
}

impl OpenGateway {
    /// The credentials of a call: the program's own word, or a credential.
    fn credentials(&self, authorization: Option<&str>) -> Result<Credentials> {
        self.credentials_of(authorization, None)
    }

    /// The credentials of a call from `peer`, if it came over the network: the program's own word is not taken from there.
    fn credentials_of(&self, authorization: Option<&str>, peer: Option<&str>) -> Result<Credentials> {
        let peer = peer.map(address).transpose()?;
        let text = match (authorization, peer) {
            (Some(text), _) => text,
            (None, Some(peer)) => {
                let authorization = Authorization::Absent;
                return Ok(Credentials::Network { peer, forwarded: None, authorization });
            }
            (None, None) => return Ok(Credentials::Embedded(self.caller.principal.clone())),
        };
        if !self.gateway.demands_credentials() {
            // Without this, a token that was never checked would have the rights of the program itself.
            let message = "no authentication is configured, so that no credential holds; configure `auth`, such as `auth.api_keys`";
            return Err(Error::new(ErrorKind::Unauthenticated, message));
        }
        let unusable = |_| Error::new(ErrorKind::Unauthenticated, "`authorization` is no text for a header");
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::AUTHORIZATION, http::HeaderValue::from_str(text).map_err(unusable)?);
        let peer = peer.unwrap_or(Ipv4Addr::LOCALHOST.into());
        Ok(Credentials::Network { peer, forwarded: None, authorization: Authorization::of(&headers) })
    }
}

/// A caller without an address is unidentified.
fn address(peer: &str) -> Result<IpAddr> {
    if peer.is_empty() {
        return Ok(Ipv4Addr::UNSPECIFIED.into());
    }
    let unknown = |_| Error::new(ErrorKind::InvalidParams, "`peer` is no IP address").with("field", "peer");
    peer.parse().map_err(unknown)
}

impl Shared {
    fn take_runtime(&self) -> Option<Runtime> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let (house, runtime) = (self.house.swap(None), self.take_runtime());
        if self.process.is_left() {
            // The threads that all of this waits for, and the owners of the files that it would close, are in the other process.
            std::mem::forget((house, runtime));
            return;
        }
        // Work that waits is nowhere on the runtime that would end it.
        self.works.token().cancel();
        drop(house);
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facade").field("closed", &self.closed).finish_non_exhaustive()
    }
}

fn forked() -> Error {
    let message = "this gateway was opened by another process, before fork(); open one in this process";
    Error::new(ErrorKind::Unavailable, message).with("reason", "forked").not_sent()
}

/// An error as it crosses into another language: `{kind, message, retryable, context}`.
pub fn error_document(error: &Error) -> Bytes {
    fault::document(error).to_string().into()
}
