//! Digests of rows. SQLite has no checksums: where a disk changes one bit of a record, it reads on, and the gateway would serve what nobody wrote.
//!
//! The digest of a row covers its members but those that the gateway itself observes and counts. A trigger takes it from a row that is
//! changed, and the transaction that changed it makes it anew. Each start looks at all of them, and lets SQLite look at the trees of
//! its pages. It is no seal against people: whoever can write the database can write digests.

use futures_util::TryStreamExt;
use ring::digest::{Context, SHA256};
use sqlx::query::Query;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Decode, Row, Sqlite, SqliteConnection, TypeInfo, ValueRef};

use super::fault::DatabaseFile;
use crate::error::Result;

/// Bytes of a digest.
const LENGTH: usize = 16;

/// A table whose rows have digests.
struct Table {
    name: &'static str,
    /// The columns that name a row.
    key: &'static [&'static str],
    members: &'static [&'static str],
}

const TABLES: [Table; 6] = [
    Table {
        name: "mcp_servers",
        key: &["id"],
        members: &[
            "id",
            "tenant_id",
            "name",
            "service",
            "endpoint",
            "transport_type",
            "version",
            "display_name",
            "description",
            "tags",
            "weight",
            "auto_discover",
            "health_check",
            "configuration",
            "initialize",
            "status",
            "created_at",
            "updated_at",
            "revision",
            "deleted_at",
        ],
    },
    Table {
        name: "mcp_api_keys",
        key: &["id"],
        members: &[
            "id",
            "tenant_id",
            "server_id",
            "name",
            "subject",
            "role",
            "scopes",
            "key_hash",
            "hint",
            "requests_per_minute",
            "created_by",
            "created_at",
            "expires_at",
            "rotated_to",
            "revoked_at",
        ],
    },
    Table {
        name: "tenants",
        key: &["id"],
        members: &["id", "display_name", "status", "created_at", "updated_at", "revision"],
    },
    Table {
        name: "mcp_credentials",
        key: &["server_id", "subject", "header"],
        members: &[
            "tenant_id",
            "server_id",
            "subject",
            "header",
            "origin",
            "key_id",
            "sealed",
            "created_by",
            "created_at",
            "kind",
        ],
    },
    Table { name: "mcp_claims", key: &["tenant_id", "uri"], members: &["tenant_id", "uri", "service"] },
    Table {
        name: "mcp_capabilities",
        key: &["server_id", "position"],
        members: &["server_id", "position", "kind", "name", "description", "definition"],
    },
];

/// The table of which each row is written once, with its digest.
const WRITTEN_ONCE: &str = "mcp_capabilities";

/// The trees that SQLite looks at as a whole. Those of the audit trail and of observed health grow without end, and nothing that the
/// gateway serves hangs on them.
const CHECKS: [&str; 9] = [
    "integrity_check(tenants)",
    "integrity_check(mcp_servers)",
    "quick_check(mcp_capabilities)",
    "integrity_check(mcp_api_keys)",
    "integrity_check(mcp_credentials)",
    "integrity_check(mcp_claims)",
    "integrity_check(mcp_state)",
    "integrity_check(audit_chains)",
    "integrity_check(audit_trail)",
];

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A member of a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Member<'a> {
    Null,
    Number(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> From<Option<&'a str>> for Member<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}

/// The digest of a row of `table`.
fn of<'a>(table: &str, members: impl IntoIterator<Item = Member<'a>>) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(table.as_bytes());
    for member in members {
        let number;
        let (kind, bytes) = match member {
            Member::Null => (0, &[][..]),
            Member::Number(value) => {
                number = value.to_be_bytes();
                (1, &number[..])
            }
            Member::Text(text) => (2, text.as_bytes()),
            Member::Bytes(bytes) => (3, bytes),
        };
        context.update(&[0, kind]);
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    }
    context.finish().as_ref()[..LENGTH].to_vec()
}

/// The digest of a row of `mcp_capabilities`.
pub(super) fn of_capability(members: [Member<'_>; 6]) -> Vec<u8> {
    of(WRITTEN_ONCE, members)
}

fn member<'r>(row: &'r SqliteRow, column: &str) -> std::result::Result<Member<'r>, Cause> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Member::Null);
    }
    let kind = raw.type_info().name().to_owned();
    match kind.as_str() {
        "TEXT" => Ok(Member::Text(<&str as Decode<'_, Sqlite>>::decode(raw)?)),
        "BLOB" => Ok(Member::Bytes(<&[u8] as Decode<'_, Sqlite>>::decode(raw)?)),
        "INTEGER" => Ok(Member::Number(<i64 as Decode<'_, Sqlite>>::decode(raw)?)),
        other => Err(format!("a value of the type {other}").into()),
    }
}

impl Table {
    fn digest(&self, row: &SqliteRow) -> std::result::Result<Vec<u8>, Cause> {
        let members = self.members.iter().map(|column| member(row, column));
        Ok(of(self.name, members.collect::<std::result::Result<Vec<_>, Cause>>()?))
    }

    /// The names of the row, for people and for a statement.
    fn key(&self, row: &SqliteRow) -> std::result::Result<Vec<String>, Cause> {
        let name = |column: &&str| {
            Ok(match member(row, column)? {
                Member::Text(text) => text.to_owned(),
                Member::Number(number) => number.to_string(),
                Member::Null | Member::Bytes(_) => return Err("a key that is no text".into()),
            })
        };
        self.key.iter().map(name).collect()
    }

    fn is_as_written(&self, row: &SqliteRow) -> bool {
        let stored = row.try_get::<&[u8], _>("digest");
        matches!((self.digest(row), stored), (Ok(digest), Ok(stored)) if digest == stored)
    }

    /// A statement is put together of names that stand above, and of nothing else.
    fn rows(&self, condition: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(["SELECT", &self.members.join(", "), ", digest FROM", self.name, condition].join(" "))
    }

    async fn seal(&self, tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<()> {
        let unsealed = sqlx::query(self.rows("WHERE digest IS NULL")).fetch_all(&mut *tx).await;
        for row in unsealed.map_err(|e| at.reading(e))? {
            let read = self.key(&row).and_then(|key| Ok((self.digest(&row)?, key)));
            let (digest, key) = read.map_err(|cause| at.unreadable(self.name, cause))?;
            let condition: Vec<_> =
                self.key.iter().zip(2..).map(|(column, place)| format!("{column} = ${place}")).collect();
            let sql = ["UPDATE", self.name, "SET digest = $1 WHERE", &condition.join(" AND ")].join(" ");
            let statement = sqlx::query(AssertSqlSafe(sql)).bind(digest);
            let statement = key.into_iter().fold(statement, Query::bind);
            statement.execute(&mut *tx).await.map_err(|e| at.writing(e))?;
        }
        Ok(())
    }
}

/// Makes the digests of the rows that the transaction has changed.
pub(super) async fn seal(tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<()> {
    for table in TABLES.iter().filter(|table| table.name != WRITTEN_ONCE) {
        table.seal(tx, at).await?;
    }
    Ok(())
}

/// Takes all rows as they are.
pub(super) async fn seal_all(tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<()> {
    for table in &TABLES {
        let sql = ["UPDATE", table.name, "SET digest = NULL"].join(" ");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await.map_err(|e| at.writing(e))?;
        table.seal(tx, at).await?;
    }
    Ok(())
}

/// The rows that are not as they were written, in words.
pub(super) async fn changed(tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for table in &TABLES {
        let mut rows = sqlx::query(table.rows("")).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await.map_err(|e| at.reading(e))? {
            if !table.is_as_written(&row) {
                let name = table.key(&row).map_or_else(
                    |_| "whose name cannot be read".into(),
                    |key| format!("`{}`", key.join(" ")),
                );
                found.push(format!("the record {name} in `{}` is not as it was written", table.name));
            }
        }
    }
    Ok(found)
}

/// The damage to the file itself, as SQLite finds it.
pub(super) async fn damage(tx: &mut SqliteConnection, at: DatabaseFile<'_>) -> Result<Option<String>> {
    for check in CHECKS {
        let sql = ["PRAGMA", check].join(" ");
        let said: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut *tx).await.map_err(|e| at.reading(e))?;
        if let Some(fault) = said.into_iter().find(|line| line != "ok") {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}
