//! Permissions: the operations that there are, and whether a principal may do one.
//!
//! The answers stand in `permissions.toml` and nowhere else. Every public method of the gateway that takes a caller asks
//! [`Principal::may`] before it does anything, and the pipeline asks it for every MCP call; so no entry point can forget to.

use super::matrix::MATRIX;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::model::{Action, Principal};
use crate::rpc::{Message, Method, Shape};

macro_rules! operations {
    ($($variant:ident $name:literal,)+) => {
        /// Something that one may do, or not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Operation {
            $(#[doc = concat!("`", $name, "` of the matrix.")] $variant,)+
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in the matrix.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

operations! {
    McpConnect "mcp.connect",
    McpList "mcp.list",
    ToolsCall "tools.call",
    ResourcesRead "resources.read",
    PromptsGet "prompts.get",
    ServersRead "servers.read",
    ServersRegister "servers.register",
    ServersUpdate "servers.update",
    ServersCommand "servers.command",
    ServersFile "servers.file",
    CredentialsRead "credentials.read",
    CredentialsWrite "credentials.write",
    CredentialsOwn "credentials.own",
    CredentialsOthers "credentials.others",
    ServersRemove "servers.remove",
    ServersRestrict "servers.restrict",
    ServersProbe "servers.probe",
    ServersDiagnose "servers.diagnose",
    TenantsRead "tenants.read",
    TenantsWrite "tenants.write",
    StatsRead "stats.read",
    MetricsRead "metrics.read",
    EventsRead "events.read",
    RequestsRead "requests.read",
    RequestsCancel "requests.cancel",
    AuditRead "audit.read",
    DocsRead "docs.read",
    KeysRead "keys.read",
    KeysWrite "keys.write",
}

/// Every scope that there is.
pub fn scopes() -> Vec<&'static str> {
    MATRIX.scopes().collect()
}

impl Operation {
    /// The operation of an MCP call. A method that this gateway does not know counts as a call of a tool, the most that a message
    /// can ask for.
    pub fn of(action: &Action) -> Self {
        match action {
            Action::Listen | Action::Resume(_) | Action::End => Self::McpConnect,
            Action::Send(message) => of_message(message),
        }
    }

    /// The operation of a request of this method.
    pub fn of_request(method: &Method) -> Self {
        match method {
            Method::ToolsCall
            | Method::TasksGet
            | Method::TasksResult
            | Method::TasksUpdate
            | Method::TasksCancel
            | Method::TasksList
            | Method::Other(_) => Self::ToolsCall,
            Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
                Self::ResourcesRead
            }
            Method::PromptsGet | Method::Complete => Self::PromptsGet,
            method if method.is_list() => Self::McpList,
            _ => Self::McpConnect,
        }
    }

    /// The scopes that a caller with scopes needs for this, all together.
    pub fn scopes(self) -> &'static [String] {
        MATRIX.row(self).map_or(&[], |row| &row.scopes)
    }

    /// Whether `granted` scopes cover all that this needs; a broader scope implies narrower ones.
    ///
    /// [`ErrorKind::PermissionDenied`] because of [`Cause::InsufficientScope`], which names all that are needed at once
    /// (RFC 6750, section 3.1: `insufficient_scope`).
    pub fn covered_by(self, granted: &[impl AsRef<str>]) -> Result<()> {
        let covered = |needed: &String| granted.iter().any(|one| MATRIX.implies(one.as_ref(), needed));
        if self.scopes().iter().all(covered) {
            return Ok(());
        }
        let text = "your token or key does not have the scopes for this; ask for one that has";
        let needed = self.scopes().join(" ");
        Err(Error::new(ErrorKind::PermissionDenied, text)
            .with("operation", self.as_str())
            .with("needed_scopes", &needed)
            .because(Cause::InsufficientScope(needed)))
    }
}

fn of_message(message: &Message) -> Operation {
    if message.shape() == Shape::Response {
        return Operation::McpConnect;
    }
    match message.method() {
        None => Operation::McpConnect,
        // Notifications change nothing that the sender could not change by leaving.
        Some(Method::Other(_)) if message.shape() != Shape::Request => Operation::McpConnect,
        Some(method) => Operation::of_request(method),
    }
}

impl Principal {
    /// Whether this principal may do `operation`: its role must be among those that may, if it has scopes they must cover those
    /// needed, an operation on the whole tenant is out of reach for a credential that is for one server or service, and a
    /// loopback address alone is not enough for an operation that needs the local token.
    ///
    /// [`ErrorKind::PermissionDenied`]; one for want of scopes says [`Cause::InsufficientScope`].
    pub fn may(&self, operation: Operation) -> Result<()> {
        // An operation without a row is nobody's: a matrix that cannot be read refuses everything.
        let Some(row) = MATRIX.row(operation) else { return Err(undecided(operation)) };
        if self.role > row.least {
            return Err(self.denied(operation));
        }
        if !row.narrowed && self.is_narrowed() {
            return Err(out_of_reach(operation, self));
        }
        if let Some(remedy) = self.unproven.as_deref().filter(|_| row.local_token) {
            return Err(unproven(operation, remedy));
        }
        self.scopes().map_or(Ok(()), |scopes| operation.covered_by(scopes))
    }

    /// The same for something that belongs to no server of this gateway, such as a thing of the embedding program's own: a
    /// credential that is for one server or service may do nothing there.
    pub fn may_beyond_servers(&self, operation: Operation) -> Result<()> {
        self.may(operation)?;
        if self.is_narrowed() { Err(out_of_reach(operation, self)) } else { Ok(()) }
    }

    #[cold]
    fn denied(&self, operation: Operation) -> Error {
        Error::new(
            ErrorKind::PermissionDenied,
            "your role does not allow this operation; ask an administrator",
        )
        .with("operation", operation.as_str())
        .with("role", self.role.as_str())
    }
}

#[cold]
fn out_of_reach(operation: Operation, principal: &Principal) -> Error {
    let only = match principal.reach() {
        (Some(server), _) => format!("the server {server}"),
        (None, Some(service)) => format!("the service `{service}`"),
        (None, None) => "a part of the tenant".to_owned(),
    };
    let message = format!(
        "your token or key is for {only} alone, and this concerns more than that; use one that is for the whole tenant"
    );
    Error::new(ErrorKind::PermissionDenied, message).with("operation", operation.as_str())
}

#[cold]
fn unproven(operation: Operation, remedy: &str) -> Error {
    let message = format!(
        "this needs the local token, because a loopback address proves nothing: strangers behind a reverse proxy of this machine have \
         one, too; {remedy}, or configure authentication (`auth.api_keys = true`) and use an API key"
    );
    Error::new(ErrorKind::PermissionDenied, message).with("operation", operation.as_str())
}

#[cold]
fn undecided(operation: Operation) -> Error {
    Error::new(ErrorKind::PermissionDenied, "the permission matrix has no such operation")
        .with("operation", operation.as_str())
}
