//! `/api/v1/audit`: the audit trail of the caller's tenant: search, export, verification.

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures_util::stream;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::extract::Query;
use super::schema::{Missing, Refused};
use crate::gateway::{Caller, Gateway};
use crate::model::{AuditQuery, AuditRow};
use crate::observe::export;
use crate::server::AppState;
use crate::server::answer::{Failure, json};
use crate::views::audit::{AuditAnswer, AuditSearch, ChainAnswer};

/// Rows of an export that are read at once.
const PAGE: u32 = 500;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditExport {
    /// JSON lines, or CSV.
    #[param(inline)]
    format: Option<Format>,
    /// Not older than this (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Older than this (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    actor: Option<String>,
    action: Option<String>,
    target: Option<String>,
    outcome: Option<String>,
}

/// The form of an export.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    #[default]
    Jsonl,
    Csv,
}

/// Searches the audit trail
///
/// Newest rows first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "operation", params(AuditSearch),
    responses((status = 200, description = "One page", body = AuditAnswer), Refused))]
pub(crate) async fn search(
    State(door): State<AppState>,
    caller: Caller,
    Query(asked): Query<AuditSearch>,
) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::OK, &AuditAnswer::of(&door.gateway, &caller, asked).await?))
}

/// Exports the audit trail
///
/// Newest rows first, as JSON lines or CSV. A field of the CSV that a spreadsheet would take for a formula begins with `'`.
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "operation", params(AuditExport),
    responses((status = 200, description = "The rows",
        content((String = "application/jsonl"), (String = "text/csv"))), Refused))]
pub(crate) async fn export(
    State(door): State<AppState>,
    caller: Caller,
    Query(asked): Query<AuditExport>,
) -> Result<Response<Body>, Failure> {
    let format = asked.format.unwrap_or_default();
    let AuditExport { from, to, actor, action, target, outcome, .. } = asked;
    let mut query = AuditQuery { from, to, actor, action, target, outcome, before: None, limit: PAGE };
    let first = door.gateway.audit(&caller, &query).await?;
    let open = door.gateway.open_stream(&caller)?;
    query.before = first.last().map(|row| row.number);
    let gateway = door.gateway.clone();
    let pages = stream::unfold(Some((first, query, open)), move |page| {
        let (gateway, caller) = (gateway.clone(), caller.clone());
        async move {
            let (rows, query, open) = page?;
            let following = tokio::select! {
                biased;
                // Broken off, so that nobody takes it for whole.
                () = open.ended() => return Some((Err(std::io::Error::other("the caller's rights have ended")), None)),
                following = next(&gateway, &caller, rows.len(), query) => following,
            };
            Some((Ok(written(&rows, format)), following.map(|(rows, query)| (rows, query, open))))
        }
    });
    let head = stream::iter(match format {
        Format::Csv => Some(Ok(Bytes::from_static(export::CSV_HEADER.as_bytes()))),
        Format::Jsonl => None,
    });
    let mut response = Response::new(Body::from_stream(futures_util::StreamExt::chain(head, pages)));
    let (kind, file) = match format {
        Format::Jsonl => ("application/jsonl", "attachment; filename=\"audit.jsonl\""),
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"audit.csv\""),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(file));
    Ok(response)
}

/// The page after one of `rows` rows. An export that cannot be read on ends; its last row says how far it came.
async fn next(
    gateway: &Gateway,
    caller: &Caller,
    rows: usize,
    mut query: AuditQuery,
) -> Option<(Vec<AuditRow>, AuditQuery)> {
    if rows < PAGE as usize {
        return None;
    }
    match gateway.audit(caller, &query).await {
        Ok(rows) => {
            query.before = rows.last()?.number.into();
            Some((rows, query))
        }
        Err(error) => {
            tracing::error!(%error, "an export of the audit trail ended early");
            None
        }
    }
}

fn written(rows: &[AuditRow], format: Format) -> Bytes {
    let line = |row: &AuditRow| match format {
        Format::Jsonl => export::json(row) + "\n",
        Format::Csv => export::csv(row),
    };
    rows.iter().map(line).collect::<String>().into()
}

/// Verifies the audit trail
///
/// Follows the chain of hashes from the first row that is kept to the signed end.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "operation",
    responses((status = 200, description = "What was found", body = ChainAnswer), Refused, Missing))]
pub(crate) async fn verify(State(door): State<AppState>, caller: Caller) -> Result<Response<Body>, Failure> {
    Ok(json(StatusCode::OK, &ChainAnswer::of(&door.gateway, &caller).await?))
}
