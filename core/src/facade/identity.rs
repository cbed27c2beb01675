//! The principal behind a credential, and its rights: for hosts that guard things of their own with the gateway's keys and roles.

use serde::{Deserialize, Serialize};

use super::OpenGateway;
use crate::auth::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::Caller;
use crate::model::Role;

/// A credential, as the header `Authorization` has it; without one, the program itself.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
pub(super) struct Shown {
    authorization: Option<String>,
}

/// A credential and the operation to be done with it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentityRequest {
    #[serde(default)]
    authorization: Option<String>,
    /// A name of the matrix, such as `tools.call`.
    operation: String,
}

/// The principal that a credential stands for.
#[derive(Serialize)]
pub(super) struct Identity {
    tenant: String,
    subject: String,
    role: Role,
    /// `null`: all that the role may.
    scopes: Option<Vec<String>>,
    /// When the credential ends; `null` if it is not known to.
    expires_at: Option<jiff::Timestamp>,
}

pub(super) async fn authenticate(house: &OpenGateway, shown: &Shown) -> Result<Identity> {
    caller(house, shown.authorization.as_deref()).await.map(|caller| Identity::of(&caller))
}

/// As [`authenticate`]; [`ErrorKind::PermissionDenied`] if the principal may not perform the operation, or its credential is for
/// one server or service of the gateway alone.
pub(super) async fn authorize(house: &OpenGateway, asked: &IdentityRequest) -> Result<Identity> {
    let operation = Operation::ALL.iter().find(|operation| operation.as_str() == asked.operation);
    let operation = operation.ok_or_else(|| {
        let shown: String = asked.operation.chars().take(64).collect();
        Error::new(ErrorKind::InvalidParams, "no such operation; `permissions` lists them")
            .with("operation", shown)
    })?;
    let caller = caller(house, asked.authorization.as_deref()).await?;
    // It is about something of the host's.
    caller.principal.may_beyond_servers(*operation)?;
    Ok(Identity::of(&caller))
}

async fn caller(house: &OpenGateway, authorization: Option<&str>) -> Result<Caller> {
    let credentials = house.credentials(authorization)?;
    let correlation_id = uuid::Uuid::new_v4().to_string().into();
    house.gateway.authenticate(&credentials, &correlation_id).await
}

impl Identity {
    fn of(caller: &Caller) -> Self {
        let principal = &caller.principal;
        Self {
            tenant: principal.tenant.to_string(),
            subject: principal.subject.to_string(),
            role: principal.role,
            scopes: principal.scopes().map(|scopes| scopes.iter().map(ToString::to_string).collect()),
            expires_at: principal.grant.as_ref().and_then(|grant| grant.expires_at),
        }
    }
}
