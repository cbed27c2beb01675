//! `permissions.toml` as the code uses it: a row for each operation, and which scope implies which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;

use super::permission::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Role;

/// The matrix as it is written, for the page of reference that is made from it.
pub const PERMISSIONS: &str = include_str!("permissions.toml");

/// The matrix of this program. One that cannot be read has no rows, so that nobody may do anything.
pub(super) static MATRIX: LazyLock<Matrix> = LazyLock::new(|| {
    Matrix::parse(PERMISSIONS).unwrap_or_else(|error| {
        tracing::error!(%error, "the permission matrix cannot be read; everything is refused");
        Matrix::default()
    })
});

/// The permissions of roles and scopes.
#[derive(Debug, Default)]
pub(super) struct Matrix {
    /// By the operation's position in [`Operation::ALL`].
    rows: Vec<Option<Row>>,
    /// Each scope with all that it implies, itself included.
    implied: BTreeMap<String, BTreeSet<String>>,
    routes: BTreeMap<String, Gate>,
}

/// The requirements of one operation.
#[derive(Debug)]
pub(super) struct Row {
    /// The last role, in the order of [`Role`], that may do it.
    pub(super) least: Role,
    /// The scopes that a caller with scopes needs, all together.
    pub(super) scopes: Vec<String>,
    /// Whether a credential that is for one server or service may do it, with that server or service.
    pub(super) narrowed: bool,
    /// Whether a loopback address alone is not enough, while no authentication is configured.
    pub(super) local_token: bool,
}

/// The check in front of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Nothing: anybody may use it, known or not.
    Public,
    /// The pipeline, which asks by the message.
    Mcp,
    /// One operation.
    Operation(Operation),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MatrixFile {
    roles: Vec<Role>,
    scopes: BTreeMap<String, ScopeText>,
    operations: BTreeMap<String, OperationText>,
    routes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ScopeText {
    implies: Vec<String>,
}

#[derive(Clone, Deserialize)]
struct OperationText {
    least: Role,
    scopes: Vec<String>,
    narrowed: bool,
    #[serde(default)]
    local_token: bool,
}

impl Matrix {
    fn parse(text: &str) -> Result<Self> {
        let file = MatrixFile::parse(text)?;
        if file.roles != Role::ALL {
            let text = "permissions.toml has other roles than this program, or in another order";
            return Err(Error::new(ErrorKind::Internal, text));
        }
        let row = |operation: &Operation| {
            let text = file.operations.get(operation.as_str())?;
            let OperationText { least, scopes, narrowed, local_token } = text.clone();
            Some(Row { least, scopes, narrowed, local_token })
        };
        let gate = |(route, name): (&String, &String)| Some((route.clone(), Gate::named(name)?));
        Ok(Self {
            rows: Operation::ALL.iter().map(row).collect(),
            implied: file.scopes.keys().map(|scope| (scope.clone(), file.implied(scope))).collect(),
            routes: file.routes.iter().filter_map(gate).collect(),
        })
    }

    /// The requirements of the operation; `None` if the matrix does not know it.
    pub(super) fn row(&self, operation: Operation) -> Option<&Row> {
        self.rows.get(operation as usize)?.as_ref()
    }

    /// Every scope.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &str> {
        self.implied.keys().map(String::as_str)
    }

    /// Whether the scope `granted` is `needed`, or implies it. An unknown scope implies nothing.
    pub(super) fn implies(&self, granted: &str, needed: &str) -> bool {
        self.implied.get(granted).is_some_and(|implied| implied.contains(needed))
    }
}

impl Gate {
    fn named(name: &str) -> Option<Self> {
        match name {
            "public" => Some(Self::Public),
            "mcp" => Some(Self::Mcp),
            name => Operation::ALL
                .iter()
                .find(|operation| operation.as_str() == name)
                .map(|o| Self::Operation(*o)),
        }
    }

    /// The check in front of the route of this method and path, the path as the router has it (`/api/v1/servers/{id}`); `None`
    /// for a route that the matrix does not know, which nobody may use.
    pub fn of(method: &str, path: &str) -> Option<Self> {
        // A HEAD is a GET whose answer is cut.
        let method = if method == "HEAD" { "GET" } else { method };
        MATRIX.routes.get(&format!("{method} {path}")).copied()
    }

    /// Every route of the matrix: method, path, and the check in front of it.
    pub fn routes() -> impl Iterator<Item = (&'static str, &'static str, Self)> {
        MATRIX.routes.iter().filter_map(|(route, gate)| {
            let (method, path) = route.split_once(' ')?;
            Some((method, path, *gate))
        })
    }

    /// The methods that the matrix has for this path.
    pub fn methods(path: &str) -> Vec<&'static str> {
        let split = MATRIX.routes.keys().filter_map(|route| route.split_once(' '));
        let own = split.filter(|(_, own)| *own == path).map(|(method, _)| method);
        own.flat_map(|method| if method == "GET" { vec!["GET", "HEAD"] } else { vec![method] }).collect()
    }
}

impl MatrixFile {
    fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            Error::new(ErrorKind::Internal, "permissions.toml cannot be read").caused_by(error)
        })
    }

    fn implied(&self, scope: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut open = vec![scope];
        while let Some(scope) = open.pop() {
            if all.insert(scope.to_owned()) {
                open.extend(
                    self.scopes.get(scope).into_iter().flat_map(|text| &text.implies).map(String::as_str),
                );
            }
        }
        all
    }
}

#[cfg(test)]
mod tests;
