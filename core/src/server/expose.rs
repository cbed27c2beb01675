//! The parts of the HTTP surface beside MCP, and which of them a [`Service`] serves.
//!
//! The program `mcp-gateway` serves all of them. A program that mounts the gateway in an application of its own wants MCP there; it
//! asks for the rest by name. Which route belongs to which part is decided here alone: a route that belongs to none is not served.

use std::str::FromStr;

use super::rest::logins;
use super::{Service, challenge, mcp, sse};
use crate::error::{Error, ErrorKind, Result};

/// A part of the HTTP surface that is served where it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `rest`: the administration below `/api/v1`, the registry's read API, `/mcp/tools`, `/mcp/resources` and the login page.
    Rest,
    /// `events`: `/api/v1/events`.
    Events,
    /// `metrics`: `/metrics`.
    Metrics,
    /// `docs`: `/docs`, with what the page loads, and `/openapi.json`.
    Docs,
    /// `health`: `/health`, `/ready` and `/startup`.
    Health,
    /// `builtin`: the gateway's own service, as `/mcp/gateway` and as `gateway__find_tools` on `/mcp`.
    Builtin,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 6] =
        [Self::Rest, Self::Events, Self::Metrics, Self::Docs, Self::Health, Self::Builtin];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Events => "events",
            Self::Metrics => "metrics",
            Self::Docs => "docs",
            Self::Health => "health",
            Self::Builtin => "builtin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl FromStr for Part {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|part| part.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.into_iter().map(Self::as_str).collect();
            let shown: String = text.chars().take(40).collect();
            let message = format!("`expose` has no part `{shown}`; the parts are {}", known.join(", "));
            Error::new(ErrorKind::InvalidParams, message).with("field", "expose")
        })
    }
}

/// The parts that are served beside MCP; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exposed(u8);

impl Exposed {
    /// MCP alone.
    pub const NOTHING: Self = Self(0);
    /// Everything, as the program `mcp-gateway` serves it.
    pub const EVERYTHING: Self = Self(u8::MAX);

    /// Whether this part is served.
    pub const fn has(self, part: Part) -> bool {
        self.0 & part.bit() != 0
    }

    /// Whether the route at `path`, which is no MCP endpoint, is served.
    pub(super) fn serves(self, path: &str) -> bool {
        match belongs(path) {
            Some(Belongs::Mcp) => true,
            Some(Belongs::Part(part)) => self.has(part),
            // The router says that there is no such route.
            None => self == Self::EVERYTHING,
        }
    }
}

impl FromIterator<Part> for Exposed {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Self {
        Self(parts.into_iter().fold(0, |bits, part| bits | part.bit()))
    }
}

/// The part that a route belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belongs {
    /// MCP, and its clients' path to a credential.
    Mcp,
    Part(Part),
}

fn belongs(path: &str) -> Option<Belongs> {
    let below =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    Some(Belongs::Part(match path {
        "/api/v1/events" => Part::Events,
        "/metrics" => Part::Metrics,
        "/docs" | "/openapi.json" => Part::Docs,
        _ if path.strip_prefix("/docs/").is_some_and(|asset| !asset.is_empty()) => Part::Docs,
        "/health" | "/ready" | "/startup" => Part::Health,
        "/mcp/tools" | "/mcp/resources" => Part::Rest,
        _ if logins::is_callback(path) => Part::Rest,
        _ if below("/api/v1") || below("/v0.1") => Part::Rest,
        _ if mcp::McpRoute::of(path).is_some() || below("/sse") || path == sse::MESSAGES => {
            return Some(Belongs::Mcp);
        }
        _ if below(challenge::WELL_KNOWN) => return Some(Belongs::Mcp),
        _ => return None,
    }))
}

impl Service {
    /// The surface with MCP and these parts, and no other.
    ///
    /// ```
    /// use mcp_registry_gateway::Gateway;
    /// use mcp_registry_gateway::server::Part;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mcp_registry_gateway::Result<()> {
    /// let gateway = Gateway::builder().open().await?;
    /// let service = gateway.service().exposing([Part::Health, Part::Metrics].into_iter().collect());
    /// # let _ = service;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn exposing(&self, exposed: Exposed) -> Self {
        self.with_exposed(exposed)
    }

    /// The parts that it serves beside MCP.
    pub fn exposed(&self) -> Exposed {
        self.place.exposed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_belongs_to_mcp_or_to_one_part() {
        let document = super::super::document();
        for path in document.paths.paths.keys() {
            let path = path.replace(['{', '}'], "");
            assert!(belongs(&path).is_some(), "{path}");
            assert!(Exposed::EVERYTHING.serves(&path), "{path}");
        }
        assert_eq!(belongs("/api/v1/servers"), Some(Belongs::Part(Part::Rest)));
        assert_eq!(belongs("/.well-known/oauth-protected-resource/mcp"), Some(Belongs::Mcp));
        for path in ["/", "/api/v2", "/api/v1x", "/metricsx", "/ssex", "/mcp/", "/docs/"] {
            assert_eq!(belongs(path), None, "{path}");
        }
    }

    #[test]
    fn a_part_that_does_not_exist_is_named_with_those_that_do() {
        let error = "admin".parse::<Part>().unwrap_err();
        assert!(error.message().contains("`admin`") && error.message().contains("rest, events"), "{error}");
        for part in Part::ALL {
            assert_eq!(part.as_str().parse::<Part>().unwrap(), part);
            assert!(!Exposed::NOTHING.has(part) && Exposed::EVERYTHING.has(part));
            let alone: Exposed = [part].into_iter().collect();
            assert!(Part::ALL.into_iter().all(|other| alone.has(other) == (other == part)));
        }
    }
}
