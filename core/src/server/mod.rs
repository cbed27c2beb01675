//! The HTTP surface as one tower [`Service`]: MCP, the REST API, operation, documentation; and, beside it, the entry point for
//! one client on standard input and output ([`stdio`]).
//!
//! It decides nothing about servers, routes or rights: it turns requests into calls of the [`Gateway`] and answers into HTTP. Its
//! own decisions stand in front of every route, once: which requests may reach it at all (`edge`), how large a body may be, and
//! which id ties the lines of a request together. MCP requests branch off before the router, so that the hot path pays for no
//! routing table.

mod connection;
mod rest;
pub mod serve;
pub mod stdio;

mod answer;
mod challenge;
mod cors;
mod edge;
mod entrance;
mod expose;
mod forwarding;
mod gate;
mod mcp;
mod modern;
mod proxy;
mod sse;
mod strip;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{HeaderValue, ORIGIN, STRICT_TRANSPORT_SECURITY};
use http::{Method, Request, Response};
use tower::ServiceExt;
use tracing::Instrument;

use crate::auth::Credentials;
use crate::clock::Clock;
use crate::config;
use crate::error::Result;
use crate::gateway::{Caller, Gateway};
use crate::model::Principal;
use crate::per_thread::PerThread;
use crate::random::Random;
use crate::server::connection::limits::ConnectionSlot;
use crate::server::connection::timeouts::Answering;

pub use connection::limits::Connections;
pub use connection::{caller_tls, tls};
pub use expose::{Exposed, Part};
pub use rest::keys::record as key_record;
pub use rest::metrics::{METRICS, Metric};
pub use rest::openapi::document;
pub use serve::{Accepted, Serving, serve};

/// The address of the connection's other end, as an extension of the request.
///
/// The program that drives the [`Service`] vouches for it. It is never a constant: while no authentication is configured a loopback
/// address is the administrator's, so that a made-up one lets strangers in. A program that calls for itself says so by [`ActingAs`]. Where all requests of a connection are one peer's, [`Service::for_peer`] says it once. A request of which neither is known is
/// nobody's, and is refused.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The principal for whom the program that drives the [`Service`] in its own process acts, as an extension of the request: it
/// needs no other credential. No request that comes over the network has it.
#[derive(Clone, Debug)]
pub struct ActingAs(pub Principal);

/// The state that every route needs.
struct Shared {
    gateway: Gateway,
    settings: config::Server,
    clock: Arc<dyn Clock>,
    edge: ArcSwap<edge::Edge>,
    /// The path of `auth.url`.
    base_path: String,
    connections: Connections,
    /// The source of correlation ids; they name requests and protect nothing.
    random: PerThread<Random>,
}

/// The sender of an MCP request; the gateway judges its credentials.
struct McpCaller {
    credentials: Credentials,
    correlation_id: Arc<str>,
    /// Whether it is offered the gateway's own service here.
    builtin: bool,
}

type AppState = Arc<Shared>;

/// The HTTP surface of one gateway. Clones share it.
///
/// ```
/// use std::net::SocketAddr;
/// use axum::{Router, routing::get};
/// use mcp_registry_gateway::Gateway;
///
/// # #[tokio::main]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let gateway = Gateway::builder().open().await?;
/// let app = Router::new()
///     .route("/hello", get(async || "own routes beside it"))
///     .fallback_service(gateway.service());
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let app = app.into_make_service_with_connect_info::<SocketAddr>();     // who asks must be known
/// let stop = async move {
///     # tokio::time::sleep(std::time::Duration::from_millis(1)).await;
///     # #[cfg(any())]
///     let _ = tokio::signal::ctrl_c().await;
///     gateway.close().await;                       // calls under way may end, then streams do
/// };
/// axum::serve(listener, app).with_graceful_shutdown(stop).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Service {
    place: Arc<ServiceState>,
}

/// The state of a [`Service`]: each connection has its own, since threads that count the holders of one object wait for each
/// other.
struct ServiceState {
    shared: AppState,
    router: Router,
    peer: Option<SocketAddr>,
    /// The connection's place, if the gateway itself serves it.
    slot: Option<ConnectionSlot>,
    exposed: Exposed,
}

impl ServiceState {
    fn clone_parts(&self) -> Self {
        let (shared, router) = (Arc::clone(&self.shared), self.router.clone());
        Self { shared, router, peer: self.peer, slot: self.slot.clone(), exposed: self.exposed }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("settings", &self.place.shared.settings).finish_non_exhaustive()
    }
}

impl Gateway {
    /// The MCP endpoints, as a service that stands within an application; [`Service::exposing`] adds the REST API and other parts.
    ///
    /// It answers for `/mcp` and the paths below it: as the fallback of an axum router, or nested, which takes a prefix away. The
    /// peer must be known: serve the router by `into_make_service_with_connect_info`.
    pub fn service(&self) -> Service {
        let all = service(self.clone(), self.settings().server.clone(), Arc::clone(self.clock()));
        all.exposing(Exposed::NOTHING)
    }
}

/// The whole HTTP surface of `gateway`.
pub fn service(gateway: Gateway, settings: config::Server, clock: Arc<dyn Clock>) -> Service {
    let edge = ArcSwap::from_pointee(edge::Edge::new(&settings));
    let connections = Connections::new(&gateway.settings().limits, &settings.proxies());
    let base_path = gateway.settings().auth.base_path();
    let random = PerThread::new(Random::from_entropy);
    let shared = Arc::new(Shared { gateway, settings, clock, edge, base_path, connections, random });
    let router = routes(&shared).route_layer(axum::middleware::from_fn(gate::check));
    Service {
        place: Arc::new(ServiceState {
            shared,
            router,
            peer: None,
            slot: None,
            exposed: Exposed::EVERYTHING,
        }),
    }
}

/// The routes behind the edge, without the gate.
fn routes(shared: &AppState) -> Router {
    let (router, _) = rest::openapi::routes().split_for_parts();
    router
        .fallback(answer::no_route)
        .method_not_allowed_fallback(answer::no_method)
        .with_state(shared.clone())
        .merge(sse::routes(shared))
}

impl Service {
    // A request is hundreds of bytes, and each future that takes it would hold it twice: it goes from hand to hand in a box.
    async fn answer<B>(&self, mut request: Box<Request<B>>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        match self.settle(&mut request) {
            Ok(None) => self.answer_settled(request).await,
            Ok(Some(slot)) => {
                let response = self.answer_settled(request).await;
                response.map(|body| Body::new(Answering { body, _kept: slot }))
            }
            Err(error) => Box::pin(self.turn_back(*request, error)).await,
        }
    }

    async fn answer_settled<B>(&self, request: Box<Request<B>>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        // Hardly any but a browser sends it. The registry's routes say of themselves who may read them.
        match request.headers().get(ORIGIN).cloned() {
            Some(origin) if !request.uri().path().starts_with("/v0.1/") => {
                Box::pin(self.answer_page(request, origin)).await
            }
            _ => self.answer_any(request).await,
        }
    }

    /// Answers a page in a browser, which may read the answer only if it is told so.
    async fn answer_page<B>(&self, request: Box<Request<B>>, origin: HeaderValue) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let admitted = self.place.shared.edge.load().check(&request).is_ok();
        let mut response = if admitted && cors::is_preflight(&request) {
            let correlation_id = edge::correlation_id(request.headers(), self.place.shared.random.mine());
            let granted = cors::preflight(request.headers());
            answer::finish(granted, answer::ErrorFormat::Rest, &correlation_id, &*self.place.shared.clock)
        } else {
            self.answer_any(request).await
        };
        if admitted {
            cors::share(&mut response, origin);
        }
        response
    }

    async fn answer_any<B>(&self, mut request: Box<Request<B>>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let chose = strip::internal(request.headers_mut());
        let correlation_id = edge::correlation_id(request.headers(), self.place.shared.random.mine());
        let asked = self
            .place
            .shared
            .gateway
            .demands_credentials()
            .then(|| challenge::ChallengeRequest::of(&request));
        let prefix = forwarding::prefix(&self.place.shared, request.headers());
        let mut response = self.answered(request, chose, &correlation_id).await;
        forwarding::relocate(&mut response, &prefix);
        if let Some(asked) = asked {
            challenge::complete(&mut response, &self.place.shared, &asked);
        }
        response
    }

    async fn answered<B>(
        &self,
        request: Box<Request<B>>,
        chose: bool,
        correlation_id: &Arc<str>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        if let Some(door) = mcp::McpRoute::of(request.uri().path()) {
            // The gateway writes the line of a call itself, so a span would only cost.
            let checked = self.check(&request);
            let entered = match &checked {
                Ok(shown) => self.enter(shown, correlation_id).await,
                Err(_) => Ok(None),
            };
            let response = match (checked, entered) {
                (Ok(shown), Ok(principal)) => {
                    let credentials = principal.map_or(shown, Credentials::Embedded);
                    if chose {
                        Box::pin(self.note_override(&credentials, correlation_id)).await;
                    }
                    let builtin = self.place.exposed.has(Part::Builtin);
                    let asker =
                        McpCaller { credentials, correlation_id: Arc::clone(correlation_id), builtin };
                    mcp::answer(&self.place.shared, door, asker, request).await
                }
                (Ok(shown), Err(error)) => {
                    Box::pin(self.turn_away(*request, Some(&shown), error, correlation_id)).await
                }
                (Err(error), _) => Box::pin(self.turn_away(*request, None, error, correlation_id)).await,
            };
            return answer::finish(
                response,
                answer::ErrorFormat::Mcp,
                correlation_id,
                &*self.place.shared.clock,
            );
        }
        // Boxed, so that the future of an MCP request does not carry the room for this.
        let response = Box::pin(self.administer(request, chose, correlation_id)).await;
        let mut response =
            answer::finish(response, answer::ErrorFormat::Rest, correlation_id, &*self.place.shared.clock);
        if self.place.shared.settings.tls.is_on() {
            response
                .headers_mut()
                .insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
        response
    }

    /// Everything but MCP.
    async fn administer<B>(
        &self,
        request: Box<Request<B>>,
        chose: bool,
        correlation_id: &Arc<str>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let span = tracing::info_span!(
            "request",
            correlation_id = &**correlation_id,
            method = %request.method(),
            path = request.uri().path(),
        );
        let action = format!("{} {}", request.method(), request.uri().path());
        let answer = async {
            let checked = self.check(&request);
            let credentials = checked.as_ref().ok().cloned();
            let response = match checked {
                Ok(_) if !self.place.exposed.serves(request.uri().path()) => {
                    connection::body::discard(request.into_body()).await;
                    answer::refuse(answer::unexposed())
                }
                Ok(credentials) => {
                    if chose {
                        self.note_override(&credentials, correlation_id).await;
                    }
                    self.admit(&credentials, correlation_id, *request).await
                }
                Err(error) => {
                    connection::body::discard(request.into_body()).await;
                    answer::refuse(error)
                }
            };
            self.note_refusal(&action, credentials.as_ref(), correlation_id, &response);
            response
        };
        answer.instrument(span).await
    }

    async fn admit<B>(
        &self,
        credentials: &Credentials,
        correlation_id: &Arc<str>,
        mut request: Request<B>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let gateway = &self.place.shared.gateway;
        let mut admission = None;
        // A browser asks what it may send before it sends a credential.
        let asks_first = request.method() == Method::OPTIONS && request.uri().path().starts_with("/v0.1/");
        if !asks_first && !challenge::is_public(request.uri().path()) {
            let mut caller = match gateway.authenticate(credentials, correlation_id).await {
                Ok(caller) => caller,
                Err(error) => return answer::refuse(error),
            };
            // A message posted there is a call, which is admitted as such.
            if request.uri().path() != sse::MESSAGES {
                match gateway.admit(&caller).await {
                    Ok(admitted) => admission = Some(admitted),
                    Err(error) => {
                        let mut response = answer::refuse(error);
                        response.extensions_mut().insert(caller.principal);
                        return response;
                    }
                }
            }
            // Such as for a client of HTTP+SSE, whose calls it makes.
            self.show_known(&caller.principal);
            caller.principal = caller.principal.at_door(self.place.exposed.has(Part::Builtin));
            request.extensions_mut().insert(caller);
        }
        // For streams, which outlive the moment at which their credentials held.
        request.extensions_mut().insert(credentials.clone());
        let caller = request.extensions().get::<Caller>().cloned();
        let mut response = match self.place.router.clone().oneshot(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if let Some(caller) = caller {
            response = answer::counted(response, gateway, &caller).await;
            response.extensions_mut().insert(caller.principal);
        }
        if let Some(quota) = admission.and_then(|admission| admission.quota()) {
            answer::tell_quota(response.headers_mut(), quota);
        }
        response
    }
}

impl<B> tower::Service<Request<B>> for Service
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (this, request) = (self.clone(), Box::new(request));
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}

#[cfg(test)]
mod tests;
