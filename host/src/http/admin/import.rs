//! The import of contacts from a file.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::contacts::file::{Format, Upload};
use crate::contacts::import::{Found, Rows, queue};
use crate::db::{self, ImportRow, RowError};
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::wire::body::Raw;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, ErrorOut, NotFound};
use crate::http::wire::params::Path;
use crate::ids::ImportId;
use crate::states::ImportState;
use utoipa_axum::routes;

/// The route that shows an import.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(show_import))
}

/// The route that takes a whole file.
pub fn file_routes() -> Routes {
    Routes::new().routes(routes!(import_contacts))
}

/// The largest file, in bytes.
pub const FILE_MAX: usize = 8 * 1024 * 1024;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportBegunOut {
    job_id: ImportId,
    #[schema(example = "pending")]
    status: ImportState,
    /// Columns or fields of the file that are ignored.
    unused: Vec<String>,
}

/// Imports contacts from a file of at most 8 MiB and 100,000 rows. A worker imports them after the
/// response.
///
/// The file is the body, or `data` of `{"format":"csv"|"json","data":…,"fileName":…}`. CSV (RFC
/// 4180) begins with a header line; JSON is an array of objects, or what the export writes. Both
/// use the same names: `email`, `externalId` (or `userId`, or `id` if neither is present),
/// `anonymousId`, `unsubscribedAll`, `lists` (an object that maps a list's id to whether the
/// contact is on it), `createdAt` (when the contact was first seen) and `properties` (a JSON
/// object). Any other column or field is a property.
///
/// A misplaced quotation mark, a duplicate column and a row with more cells than the header are
/// refused with their line number before any row is stored. Properties of known contacts are
/// merged. Nobody who unsubscribed is subscribed again, and no journey starts.
#[utoipa::path(
    post, path = "/v1/admin/contacts/import", tag = "contacts",
    security(("key" = ["full-admin"]), ("session" = [])),
    request_body(content((String = "text/csv"), (Vec<ImportContactIn> = "application/json"))),
    responses(
        (status = 202, description = "The file is stored and will be imported", body = ImportBegunOut),
        (status = 400, response = BadRequest),
        (status = 413, description = "The file is too large", body = ErrorOut),
        (status = 415, description = "The file is neither CSV nor JSON", body = ErrorOut),
    ),
)]
pub async fn import_contacts(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    request: Request,
) -> Result<(StatusCode, Json<ImportBegunOut>), ApiError> {
    let upload = uploaded(request).await?;
    let read = tokio::task::spawn_blocking(move || {
        let rows = Rows::read(upload.format, &upload.body)?;
        Ok((upload, Found::from(&rows)))
    });
    let (upload, found) = read
        .await
        .unwrap_or_else(|_| Err("The file cannot be read".to_owned()))
        .map_err(|why| ApiError::validation(&[Issue::new("", why)]))?;
    let id = queue(&app, &caller.actor, &upload, &found).await?;
    let out = ImportBegunOut {
        job_id: id,
        status: ImportState::Pending,
        unused: found.unused,
    };
    Ok((StatusCode::ACCEPTED, Json(out)))
}

/// The uploaded file, as the body or wrapped in JSON.
pub(super) async fn uploaded(request: Request) -> Result<Upload, ApiError> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let format = match kind.to_ascii_lowercase().as_str() {
        "text/csv" => Format::Csv,
        "application/json" => Format::Json,
        _ => {
            let message = "Send the file with 'Content-Type: text/csv' or 'application/json'";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
    };
    let Raw(body) = Raw::read(request.into_body(), FILE_MAX).await?;
    tokio::task::spawn_blocking(move || Upload::read(format, body.into()))
        .await
        .unwrap_or_else(|_| Err("The file cannot be read".to_owned()))
        .map_err(|why| ApiError::validation(&[Issue::new("", why)]))
}

/// A contact in a file.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is used")]
pub struct ImportContactIn {
    email: Option<String>,
    external_id: Option<String>,
    anonymous_id: Option<String>,
    unsubscribed_all: Option<bool>,
    lists: Option<BTreeMap<String, bool>>,
    created_at: Option<DateTime<Utc>>,
    #[schema(value_type = Option<Object>)]
    properties: Option<serde_json::Value>,
}

/// The progress of an import.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportOut {
    id: ImportId,
    status: ImportState,
    file_name: Option<String>,
    /// Columns or fields of the file that are ignored.
    unused: Vec<String>,
    total_rows: i32,
    /// Includes the rows that failed.
    processed_rows: i32,
    failed_rows: i32,
    /// The first 100 invalid rows.
    errors: Vec<RowError>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<ImportRow> for ImportOut {
    fn from(row: ImportRow) -> Self {
        Self {
            id: row.id,
            status: row.status,
            file_name: row.file_name,
            unused: row.unused,
            total_rows: row.total,
            processed_rows: row.processed,
            failed_rows: row.failed,
            errors: row.errors,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Shows the progress of an import.
#[utoipa::path(
    get, path = "/v1/admin/contacts/import/{jobId}", tag = "contacts",
    security(("key" = ["read"]), ("session" = [])),
    params(("jobId" = ImportId, Path)),
    responses((status = 200, description = "The import", body = ImportOut), (status = 404, response = NotFound)),
)]
pub async fn show_import(
    State(app): State<App>,
    _: Caller<Read>,
    Path(id): Path<ImportId>,
) -> Result<Json<ImportOut>, ApiError> {
    let mut conn = app.db.conn().await?;
    let found = db::import_get(&mut conn, id).await?;
    let row = found.ok_or_else(|| ApiError::not_found("Import not found"))?;
    Ok(Json(row.into()))
}
