//! The listings of servers: the table `mcp_capabilities`, and `initialize` in `mcp_servers`.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::value::RawValue;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};

use super::digest::{self, Member};
use super::fault::DatabaseFile;
use super::rows::{self, signed};
use crate::error::Result;
use crate::model::{Capability, CapabilityKind, Listing, ServerId};

pub(super) const FORGET: &str = "DELETE FROM mcp_capabilities WHERE server_id = $1";
pub(super) const ADD: &str = "INSERT INTO mcp_capabilities (server_id, position, kind, name, description, definition, digest) \
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
pub(super) const LISTED: &str =
    "UPDATE mcp_servers SET initialize = $2, listed_at = $3 WHERE id = $1 AND deleted_at IS NULL";
pub(super) const LIVING: &str =
    "SELECT id, initialize FROM mcp_servers WHERE deleted_at IS NULL ORDER BY seq";
pub(super) const OFFERED: &str = "SELECT c.server_id AS id, c.kind, c.name, c.description, c.definition \
    FROM mcp_servers s JOIN mcp_capabilities c ON c.server_id = s.id \
    WHERE s.deleted_at IS NULL ORDER BY s.seq, c.position";

/// Replaces the listing of the server; the caller has made sure that it lives.
pub(super) async fn put(
    tx: &mut SqliteConnection,
    at: DatabaseFile<'_>,
    id: ServerId,
    listing: &Listing,
    when: Timestamp,
) -> Result<()> {
    let key = id.to_string();
    sqlx::query(LISTED)
        .bind(&key)
        .bind(&listing.initialize)
        .bind(when.as_microsecond())
        .execute(&mut *tx)
        .await
        .map_err(|e| at.writing(e))?;
    sqlx::query(FORGET).bind(&key).execute(&mut *tx).await.map_err(|e| at.writing(e))?;
    for (position, item) in listing.items.iter().enumerate() {
        let position = signed(position as u64);
        let digest = digest::of_capability([
            Member::Text(&key),
            Member::Number(position),
            Member::Text(item.kind.as_str()),
            Member::Text(&item.name),
            item.description.as_deref().into(),
            Member::Text(item.definition.get()),
        ]);
        sqlx::query(ADD)
            .bind(&key)
            .bind(position)
            .bind(item.kind.as_str())
            .bind(&item.name)
            .bind(&item.description)
            .bind(item.definition.get())
            .bind(digest)
            .execute(&mut *tx)
            .await
            .map_err(|e| at.writing(e))?;
    }
    Ok(())
}

pub(super) async fn all(pool: &SqlitePool, at: DatabaseFile<'_>) -> Result<Vec<(ServerId, Listing)>> {
    let living = sqlx::query(LIVING).fetch_all(pool).await.map_err(|e| at.reading(e))?;
    let offered = sqlx::query(OFFERED).fetch_all(pool).await.map_err(|e| at.reading(e))?;
    let mut all = Vec::with_capacity(living.len());
    let mut places = HashMap::with_capacity(living.len());
    for row in &living {
        let (id, initialize): (ServerId, Option<String>) = rows::decode(at, row, |row| {
            Ok((row.try_get::<&str, _>("id")?.parse()?, row.try_get("initialize")?))
        })?;
        places.insert(id, all.len());
        all.push((id, Listing { items: Vec::new(), initialize, ..Listing::default() }));
    }
    for row in &offered {
        let (id, item) = rows::decode(at, row, capability)?;
        if let Some(place) = places.get(&id) {
            all[*place].1.items.push(item);
        }
    }
    Ok(all)
}

fn capability(row: &SqliteRow) -> Result<(ServerId, Capability), Box<dyn std::error::Error + Send + Sync>> {
    let kind: &str = row.try_get("kind")?;
    let kind = CapabilityKind::ALL
        .into_iter()
        .find(|known| known.as_str() == kind)
        .ok_or_else(|| format!("unknown kind of capability `{kind}`"))?;
    let definition: Arc<RawValue> = RawValue::from_string(row.try_get("definition")?)?.into();
    let item =
        Capability { kind, name: row.try_get("name")?, description: row.try_get("description")?, definition };
    Ok((row.try_get::<&str, _>("id")?.parse()?, item))
}
