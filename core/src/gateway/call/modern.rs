//! A modern request as it came in: its metadata besides the body.

use std::sync::OnceLock;

use crate::error::{Error, ErrorKind, Result};
use crate::gateway::routing::names;
use crate::gateway::routing::service::Replica;
use crate::gateway::session::pool::Borrowed;
use crate::model::{Action, Call, Endpoint};
use crate::rpc::meta::{self, LOG_LEVELS, Meta};
use crate::rpc::version::{Era, MODERN};
use crate::rpc::{Members, object};

/// The longest self-description of a client in one request, in bytes: it can be kept for a while.
const MAX_INTRODUCTION: usize = 8 * 1024;

/// The metadata of a modern request, besides its body.
#[derive(Debug)]
pub(crate) struct Modern {
    pub(crate) route: Endpoint,
    /// Raw object.
    pub(crate) capabilities: Box<str>,
    /// Raw object.
    pub(crate) client_info: Box<str>,
    /// The least severity of log messages that the client gets; `None`: it gets none.
    pub(crate) log_level: Option<usize>,
    pub(crate) state: Option<Box<str>>,
    /// Raw `inputResponses`.
    pub(crate) responses: Option<Box<str>>,
    /// The request is a retry that its server gets as if it were the first.
    pub(crate) again: bool,
    /// The sessions of the pool that it uses, once it does.
    pub(crate) pooled: OnceLock<Borrowed>,
}

impl Modern {
    /// The metadata of a call, if it is a modern one.
    ///
    /// [`ErrorKind::InvalidParams`] if something is missing or of the wrong form, [`ErrorKind::TooLarge`].
    pub(crate) fn of(call: &Call) -> Result<Option<Box<Self>>> {
        let (Era::Modern, Action::Send(message)) = (call.era, &call.action) else { return Ok(None) };
        let invalid = |what: String| Error::new(ErrorKind::InvalidParams, what);
        let said = Meta::of(message)?;
        let capabilities = match &said {
            Some(said) => said.required_capabilities()?,
            None => "{}",
        };
        if let Some(said) = said.as_ref().filter(|said| said.version != MODERN) {
            let message = "this protocol version is not supported without `initialize`";
            let shown = names::shown(&said.version).into_owned();
            return Err(Error::new(ErrorKind::UnsupportedVersion, message).with("requested", shown));
        }
        let info = said.as_ref().and_then(|said| said.client_info);
        let info = info.unwrap_or(r#"{"name":"unknown","version":"0"}"#);
        if Members::parse(capabilities).is_err() || Members::parse(info).is_err() {
            return Err(invalid("clientCapabilities and clientInfo in `_meta` must be objects".into()));
        }
        if capabilities.len() + info.len() > MAX_INTRODUCTION {
            let message = "clientCapabilities and clientInfo are larger than the limit, together";
            return Err(Error::new(ErrorKind::TooLarge, message).with("limit_bytes", MAX_INTRODUCTION));
        }
        let level = said.as_ref().and_then(|said| said.log_level);
        let log_level = level
            .map(|raw| {
                let known = object::text(raw).and_then(|level| meta::gravity(&level));
                known
                    .ok_or_else(|| invalid(format!("the log level must be one of {}", LOG_LEVELS.join(", "))))
            })
            .transpose()?;
        let params = message.params_members()?;
        let state = params.get("requestState").map(|raw| {
            let text = object::text(raw).map(|text| Box::from(&*text));
            text.ok_or_else(|| invalid("`requestState` must be a string".into()))
        });
        Ok(Some(Box::new(Self {
            route: call.route.clone(),
            capabilities: capabilities.into(),
            client_info: info.into(),
            log_level,
            state: state.transpose()?,
            responses: params.get("inputResponses").map(Into::into),
            again: false,
            pooled: OnceLock::new(),
        })))
    }
}

impl Modern {
    /// Whether the request can share its session with others. Where all messages come over one connection, a log message does
    /// not name the request that it belongs to: so a request that wants log messages has the session for itself.
    pub(crate) fn may_share(&self, replica: &Replica) -> bool {
        self.log_level.is_none() || !replica.upstream.is_duplex()
    }
}
