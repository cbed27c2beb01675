//! The entrance of every request: the checks before the caller is known, its authentication, and the audit of refused requests.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};

use super::connection::body;
use super::{ActingAs, Peer, Service, answer, strip};
use crate::auth::{Authorization, Credentials, forwarded};
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Attempt;
use crate::model::Principal;

impl Service {
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
        if !self.place.shared.gateway.demands_credentials() {
            return Ok(None);
        }
        Ok(Some(self.place.shared.gateway.authenticate(shown, correlation_id).await?.principal))
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
        let peer = self
            .place
            .peer
            .or_else(|| extensions.get::<Peer>().map(|peer| peer.0))
            .or_else(|| extensions.get::<axum::extract::ConnectInfo<SocketAddr>>().map(|info| info.0));
        let unknown = "whoever drives this service has to say where the request comes from: insert a `Peer`";
        let peer = peer.ok_or_else(|| Error::new(ErrorKind::Unauthenticated, unknown))?;
        let (forwarded, authorization) = (forwarded(request.headers()), Authorization::of(request.headers()));
        Ok(Credentials::Network { peer: peer.ip(), forwarded, authorization })
    }
}
