//! The MCP doors.

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};

use super::{Shared, answer};
use crate::error::{Error, ErrorKind};
use crate::gateway::Caller;

/// An MCP endpoint, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// `/mcp`: everything that the caller may see.
    All,
    /// `/mcp/{service}`: one service.
    One(Box<str>),
    /// `/mcp/proxy`: one call with routing wishes.
    Proxy,
}

impl Door {
    /// The door of this path; `None` if it is not an MCP endpoint.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path.strip_prefix("/mcp")? {
            "" => Some(Self::All),
            "/proxy" => Some(Self::Proxy),
            "/" | "/tools" | "/resources" => None,
            rest => {
                let service = rest.strip_prefix('/')?;
                (!service.contains('/')).then(|| Self::One(service.into()))
            }
        }
    }
}

pub(super) async fn answer<B>(
    shared: &Shared,
    door: Door,
    caller: Caller,
    request: Request<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let _ = (&shared.gateway, door, caller, request);
    answer::refuse(Error::new(ErrorKind::Unavailable, "MCP is not served by this build"))
}
