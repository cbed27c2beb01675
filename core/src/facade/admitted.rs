//! A call that the host answers itself, held to the gateway's rules: for hosts that offer tools of their own.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::OpenGateway;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{self, AdmissionRequest};
use crate::model::CapabilityKind;
use crate::rpc::Method;
use crate::views;

/// A call, as the host was asked for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdmissionInput {
    /// The MCP method.
    method: String,
    /// The service name that rules and the audit trail use for the host's offering.
    service: String,
    /// The tool, the resource or the prompt.
    #[serde(default)]
    name: Option<String>,
    /// The caller's credential, as the header of that name has it.
    #[serde(default)]
    authorization: Option<String>,
    /// The address of a caller over the network; empty for one without an address, as over a Unix socket, who is unidentified.
    #[serde(default)]
    peer: Option<String>,
}

/// Leave to answer a call. Clones share it; the call has ended when something is said of how that went, or, as cancelled, when the
/// last of them is dropped.
#[derive(Clone, Debug)]
pub struct Admitted(Arc<Mutex<Option<gateway::Admitted>>>);

impl Admitted {
    pub(super) async fn ask(house: &OpenGateway, input: &[u8]) -> Result<Self> {
        let asked: AdmissionInput = views::read(input, "the document")?;
        let credentials = house.credentials_of(asked.authorization.as_deref(), asked.peer.as_deref())?;
        let ask =
            AdmissionRequest { method: Method::of(&asked.method), service: asked.service, name: asked.name };
        let admitted = house.gateway.admit_call(ask, &credentials).await.map_err(spoken)?;
        Ok(Self(Arc::new(Mutex::new(Some(admitted)))))
    }

    /// Whether the caller may know of an item that the host offers under this name; `kind` is `tool`, `resource`,
    /// `resource_template` or `prompt`.
    ///
    /// [`ErrorKind::InvalidParams`] for another kind, [`ErrorKind::Conflict`] once the call has ended.
    pub fn sees(&self, kind: &str, name: &str) -> Result<bool> {
        let kind = CapabilityKind::ALL.into_iter().find(|one| one.as_str() == kind).ok_or_else(|| {
            let message = "`kind` is `tool`, `resource`, `resource_template` or `prompt`";
            Error::new(ErrorKind::InvalidParams, message).with("field", "kind")
        })?;
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = || Error::new(ErrorKind::Conflict, "this call has ended");
        held.as_ref().map(|admitted| admitted.sees(kind, name)).ok_or_else(ended)
    }

    /// Ends the call, which was answered.
    pub fn succeeded(&self) {
        if let Some(mut admitted) = self.take() {
            admitted.succeeded();
        }
    }

    /// Ends the call, which the host failed to answer.
    pub fn failed(&self) {
        if let Some(mut admitted) = self.take() {
            admitted.failed();
        }
    }

    /// Ends the call, which was cancelled.
    pub fn cancelled(&self) {
        drop(self.take());
    }

    fn take(&self) -> Option<gateway::Admitted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The host answers a client of its own: with the error that the gateway would say, which has a code.
fn spoken(error: Error) -> Error {
    let code = error.kind().row().rpc;
    error.with("source", "gateway").with("code", code)
}
