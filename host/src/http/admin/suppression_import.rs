//! The import of a suppression list from a file.

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::import::uploaded;
use crate::app::App;
use crate::contacts::suppression_file::{self, Numbered};
use crate::contacts::suppression_list;
use crate::db::RowError;
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin};
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, ErrorOut};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(import_suppressions))
}

/// The most invalid rows reported.
const ERRORS_MAX: usize = 100;

/// The result of a suppression import.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuppressionsImportOut {
    total_rows: usize,
    /// Addresses that were not suppressed before.
    added_rows: usize,
    failed_rows: usize,
    /// The first 100 invalid rows.
    errors: Vec<RowError>,
}

/// Adds the addresses of a file to the suppression list.
///
/// The file is CSV with the columns `email` and `reason`, a JSON array of addresses or of objects
/// with these fields, or `{"format","data"}` with either. Rows without a valid address are reported
/// and do not affect the others. Addresses that are already suppressed are not changed, so the same
/// file can be imported twice.
#[utoipa::path(
    post, path = "/v1/admin/suppressions/import", tag = "emails",
    security(("key" = ["full-admin"]), ("session" = [])),
    request_body(content((String = "text/csv"), (Vec<super::suppressions::SuppressionIn> = "application/json"))),
    responses(
        (status = 200, description = "The addresses are on the suppression list", body = SuppressionsImportOut),
        (status = 400, response = BadRequest),
        (status = 413, description = "The file is too large", body = ErrorOut),
        (status = 415, description = "The file is neither CSV nor JSON", body = ErrorOut),
    ),
)]
pub async fn import_suppressions(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    request: Request,
) -> Result<Json<SuppressionsImportOut>, ApiError> {
    let upload = uploaded(request).await?;
    let addresses = app.addresses.clone();
    let read = move || {
        let entries = suppression_file::read(upload.format, &upload.body)?;
        let total = entries.len();
        let mut wanted = Vec::with_capacity(total);
        let mut failed = 0;
        let mut errors = Vec::new();
        for Numbered { row, line, entry } in entries {
            match entry {
                Ok(entry) => wanted.push((addresses.mailbox(&entry.email), entry.reason)),
                Err(why) => {
                    failed += 1;
                    if errors.len() < ERRORS_MAX {
                        errors.push(RowError {
                            row,
                            line,
                            message: why.to_owned(),
                        });
                    }
                }
            }
        }
        Ok((total, wanted, failed, errors))
    };
    let read = tokio::task::spawn_blocking(read).await;
    let (total_rows, wanted, failed_rows, errors) = read
        .unwrap_or_else(|_| Err("The file cannot be read".to_owned()))
        .map_err(|why| ApiError::validation(&[Issue::new("", why)]))?;
    let added_rows = suppression_list::import(&app, &caller.actor, &wanted).await?;
    Ok(Json(SuppressionsImportOut {
        total_rows,
        added_rows,
        failed_rows,
        errors,
    }))
}
