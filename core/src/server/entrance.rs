//! The entrance of every request: the checks before the caller is known, its authentication, and the audit of refused requests.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};

use super::connection::body;
use super::connection::limits::{ClientSlot, Connections};
use super::forwarding::{self, Sender};
use super::serve::Accepted;
use super::{ActingAs, Exposed, Peer, Service, ServiceState, answer, edge, strip};
use crate::auth::{Authorization, Credentials};
use crate::config;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Attempt;
use crate::model::Principal;

impl Service {
    /// The surface as one connection uses it, whose other end is `peer`: requests need no [`Peer`] of their own.
    #[must_use]
    pub fn for_peer(&self, peer: SocketAddr) -> Self {
        Self::with(ServiceState { peer: Some(peer), ..self.place.clone_parts() })
    }

    /// The same for a connection that [`serve`](super::serve()) took.
    #[must_use]
    pub fn for_connection(&self, accepted: &Accepted) -> Self {
        let slot = Some(accepted.slot.clone());
        Self::with(ServiceState { peer: Some(accepted.peer), slot, ..self.place.clone_parts() })
    }

    fn with(place: ServiceState) -> Self {
        Self { place: Arc::new(place) }
    }

    /// The surface with MCP and these parts, and no other: see [`Service::exposing`].
    pub(super) fn with_exposed(&self, exposed: Exposed) -> Self {
        Self::with(ServiceState { exposed, ..self.place.clone_parts() })
    }

    /// The connections that may be open to this surface, by `limits.max_connections` and its neighbours.
    pub fn connections(&self) -> Connections {
        self.place.shared.connections.clone()
    }

    /// Takes up `allowed_hosts`, `allowed_origins` and `trusted_proxies` of other settings, for requests from now on.
    pub fn reload(&self, settings: &config::Server) {
        self.place.shared.edge.store(Arc::new(edge::Edge::new(settings)));
    }

    /// Has a refusal written to the audit trail.
    pub(super) fn note_refusal(
        &self,
        action: &str,
        credentials: Option<&Credentials>,
        correlation_id: &str,
        response: &Response<Body>,
    ) {
        let Some(error) = answer::failure(response) else { return };
        let principal = response.extensions().get::<Principal>();
        self.place.shared.gateway.refused(&Attempt { principal, credentials, action, correlation_id }, error);
    }

    /// Notes a client's choice of credentials for a server, which other gateways allow and this one does not.
    pub(super) async fn note_override(&self, credentials: &Credentials, correlation_id: &Arc<str>) {
        self.place.shared.gateway.note_override(credentials, correlation_id, strip::OVERRIDE).await;
    }

    /// Lets an MCP request in. Where credentials are demanded they are judged before anything of the request is read, and the
    /// pipeline gets the principal that they stand for.
    pub(super) async fn enter(
        &self,
        shown: &Credentials,
        correlation_id: &Arc<str>,
    ) -> Result<Option<Principal>> {
        let gateway = &self.place.shared.gateway;
        if !gateway.demands_credentials() {
            // Judged with the call. A process of this machine needs none.
            if let (Credentials::Network { peer, forwarded: None, .. }, Some(slot)) =
                (shown, &self.place.slot)
                && peer.to_canonical().is_loopback()
            {
                slot.show_known();
            }
            return Ok(None);
        }
        let principal = gateway.authenticate(shown, correlation_id).await?.principal;
        self.show_known(&principal);
        Ok(Some(principal))
    }

    /// Refuses a request before anything of it was looked at.
    pub(super) async fn turn_back<B>(&self, request: Request<B>, error: Error) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let shared = &self.place.shared;
        let correlation_id = edge::correlation_id(request.headers(), shared.random.mine());
        let is_mcp = super::mcp::McpRoute::of(request.uri().path()).is_some();
        let form = if is_mcp { answer::ErrorFormat::Mcp } else { answer::ErrorFormat::Rest };
        body::discard(request.into_body()).await;
        answer::finish(answer::refuse(error), form, &correlation_id, &*shared.clock)
    }

    /// Refuses an MCP request before anything of it was taken up.
    pub(super) async fn turn_away<B>(
        &self,
        request: Request<B>,
        shown: Option<&Credentials>,
        error: Error,
        correlation_id: &str,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let action = format!("{} {}", request.method(), request.uri().path());
        body::discard(request.into_body()).await;
        let response = answer::refuse(error);
        self.note_refusal(&action, shown, correlation_id, &response);
        response
    }

    /// All checks before the caller is known.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<Credentials> {
        self.place.shared.edge.load().check(request)?;
        body::check_length(request.headers(), self.place.shared.settings.max_body_bytes)?;
        let extensions = request.extensions();
        if let Some(ActingAs(principal)) = extensions.get() {
            return Ok(Credentials::Embedded(principal.clone()));
        }
        let unknown = "whoever drives this service has to say where the request comes from: insert a `Peer`";
        let peer = self.peer(request).ok_or_else(|| Error::new(ErrorKind::Unauthenticated, unknown))?;
        let sender = extensions.get::<Sender>();
        let peer = sender.and_then(|sender| sender.client).unwrap_or(peer.ip());
        let forwarded = sender.map(|sender| sender.forwarded.clone());
        Ok(Credentials::Network { peer, forwarded, authorization: Authorization::of(request.headers()) })
    }

    /// The other end of the request's connection.
    fn peer<B>(&self, request: &Request<B>) -> Option<SocketAddr> {
        let extensions = request.extensions();
        self.place
            .peer
            .or_else(|| extensions.get::<Peer>().map(|peer| peer.0))
            .or_else(|| extensions.get::<axum::extract::ConnectInfo<SocketAddr>>().map(|info| info.0))
    }

    /// Settles who sent the request, and which path it asks for. What it returns holds the sender's place among the clients of
    /// proxies until the answer was written.
    ///
    /// [`ErrorKind::RateLimited`] if a client of a proxy has as many requests under way as it may.
    pub(super) fn settle<B>(&self, request: &mut Request<B>) -> Result<Option<ClientSlot>> {
        let (shared, peer) = (&self.place.shared, self.peer(request).map(|peer| peer.ip()));
        forwarding::settle(request, peer, &shared.edge.load(), &shared.base_path);
        let client = request.extensions().get::<Sender>().and_then(|sender| sender.client);
        client.map(|client| shared.connections.enter_client(client)).transpose()
    }

    /// The caller of this connection is known.
    pub(super) fn show_known(&self, principal: &Principal) {
        if let Some(slot) = self.place.slot.as_ref().filter(|_| !principal.is_anonymous()) {
            slot.show_known();
        }
    }
}
