//! The caller of an operation.

use std::sync::Arc;

use crate::auth::Operation;
use crate::error::Result;
use crate::model::{Principal, TenantId};

/// A principal at work, and the id that ties its log lines and audit rows together.
///
/// ```
/// use mcp_registry_gateway::{Caller, ErrorKind, Gateway, Principal, Registration, Result, Role, TenantId};
///
/// # #[tokio::main]
/// # async fn main() -> Result<()> {
/// let gateway = Gateway::builder().open().await?;
/// let us = Caller::local();                        // the program itself: administrator of the tenant `default`
/// gateway.register(&us, Registration::at("docs", "http://127.0.0.1:9000/mcp")).await?;
///
/// // One of its users, for whom it vouches.
/// let ada = Caller::new(Principal::new(TenantId::default_tenant(), "user:ada", Role::Viewer));
/// assert_eq!(gateway.named(&ada, "docs")?.name, "docs");
/// let refused = gateway.register(&ada, Registration::at("more", "http://127.0.0.1:9001/mcp")).await;
/// assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
/// # gateway.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Caller {
    /// The principal.
    pub principal: Principal,
    /// The id of the request.
    pub correlation_id: Arc<str>,
    /// Whether the request came from outside of the program, such as over the network.
    is_sent: bool,
}

impl Caller {
    /// The program itself, acting for `principal`.
    pub fn new(principal: Principal) -> Self {
        let correlation_id = uuid::Uuid::new_v4().to_string().into();
        Self { principal, correlation_id, is_sent: false }
    }

    /// A caller from outside of the program, such as over the network, as its credentials say who it is.
    pub fn sent(principal: Principal, correlation_id: Arc<str>) -> Self {
        Self { principal, correlation_id, is_sent: true }
    }

    /// The same under this id of a request.
    #[must_use]
    pub fn correlated(self, correlation_id: Arc<str>) -> Self {
        Self { correlation_id, ..self }
    }

    /// The program itself: it acts in the tenant `default`, as its administrator.
    pub fn local() -> Self {
        Self::new(Principal::local(TenantId::default_tenant()))
    }

    /// Whether this is the embedding program on its own account: it is trusted as the operator's configuration is, so that the
    /// servers that it names may be anywhere. A user for whom it vouches is not, and neither is a process of this machine.
    pub fn is_program(&self) -> bool {
        !self.is_sent
            && self.principal.is_local()
            && self.principal.grant.is_none()
            && self.principal.unproven.is_none()
    }

    /// Whether the principal may do `operation`; see [`Principal::may`]. Every public method that takes a caller begins
    /// with it.
    pub fn may(&self, operation: Operation) -> Result<()> {
        self.principal.may(operation)
    }
}
