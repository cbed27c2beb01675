//! Values between the model and the columns of SQLite.

use std::error::Error as StdError;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::fault::DatabaseFile;
use crate::error::{Error, Result};
use crate::model::{Server, ServiceName, TenantId};

type Cause = Box<dyn StdError + Send + Sync>;

/// SQLite's integers are signed; nothing that is counted here comes near the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// JSON of a value that is known to have a form in JSON.
pub(super) fn json<T: serde::Serialize>(at: DatabaseFile<'_>, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| at.writing(sqlx::Error::Encode(error.into())))
}

pub(super) fn time(micros: i64) -> Result<Timestamp, jiff::Error> {
    Timestamp::from_microsecond(micros)
}

/// Reads a row by `read`; an error names it by its `id` column.
pub(super) fn decode<T>(
    at: DatabaseFile<'_>,
    row: &SqliteRow,
    read: fn(&SqliteRow) -> Result<T, Cause>,
) -> Result<T, Error> {
    read(row).map_err(|cause| {
        let id: String = row.try_get("id").unwrap_or_default();
        at.unreadable(&id, cause)
    })
}

pub(super) fn server(row: &SqliteRow) -> Result<Server, Cause> {
    let text = |column: &str| row.try_get::<&str, _>(column);
    let optional = |column: &str| row.try_get::<Option<String>, _>(column);
    let moment = |column: &str| -> Result<Timestamp, Cause> { Ok(time(row.try_get(column)?)?) };
    Ok(Server {
        id: text("id")?.parse()?,
        tenant_id: TenantId::new(text("tenant_id")?)?,
        name: row.try_get("name")?,
        service: ServiceName::new(text("service")?)?,
        endpoint: serde_json::from_str(text("endpoint")?)?,
        transport_type: text("transport_type")?.parse()?,
        version: optional("version")?,
        display_name: optional("display_name")?,
        description: optional("description")?,
        tags: serde_json::from_str(text("tags")?)?,
        weight: u32::try_from(row.try_get::<i64, _>("weight")?)?,
        auto_discover: row.try_get("auto_discover")?,
        health_check: serde_json::from_str(text("health_check")?)?,
        configuration: serde_json::from_str(text("configuration")?)?,
        status: text("status")?.parse()?,
        health_status: text("health_status")?.parse()?,
        last_health_check: row.try_get::<Option<i64>, _>("last_health_check")?.map(time).transpose()?,
        created_at: moment("created_at")?,
        updated_at: moment("updated_at")?,
        revision: unsigned(row.try_get("revision")?),
    })
}
