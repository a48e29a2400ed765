//! The suppression list: addresses that get no mail.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::contacts::suppression_list;
use crate::db::{self, Suppression};
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::product::contacts::ErasedOut;
use crate::http::wire::body::JsonBody;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, NotFound};
use crate::http::wire::paging::{Part, PartParams};
use crate::http::wire::params::{Name, Path, Query};
use crate::http::wire::search::Search;
use crate::http::wire::words::{SuppressionReason, checked};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_suppressions, add_suppression))
        .routes(routes!(lift_suppression))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuppressionOut {
    /// Null if the contact was erased: only a keyed hash of the address is left.
    email: Option<String>,
    #[schema(value_type = SuppressionReason)]
    reason: String,
    provider: Option<String>,
    /// The provider's message, or the administrator's reason.
    detail: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<Suppression> for SuppressionOut {
    fn from(row: Suppression) -> Self {
        Self {
            email: row.email,
            reason: row.reason,
            provider: row.provider,
            detail: row.detail,
            created_at: row.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct SuppressionsOut {
    suppressions: Vec<SuppressionOut>,
    total: i64,
    limit: i64,
    offset: i64,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SuppressionsQuery {
    #[param(inline, value_type = Option<SuppressionReason>)]
    reason: Option<String>,
    /// Alias of `reason`.
    #[serde(rename = "type")]
    #[param(inline, value_type = Option<SuppressionReason>)]
    kind: Option<String>,
    /// Part of the address, of at most 320 characters.
    #[serde(default)]
    #[param(value_type = Option<String>, max_length = 320)]
    search: Search,
}

#[derive(Deserialize, ToSchema)]
pub struct SuppressionIn {
    email: String,
    /// Why the address is suppressed, in free text.
    reason: Option<String>,
}

/// Adds an address to the suppression list. An address that is already on it keeps its first reason.
#[utoipa::path(
    post, path = "/v1/admin/suppressions", tag = "emails",
    security(("key" = ["full-admin"]), ("session" = [])),
    request_body = SuppressionIn,
    responses((status = 201, description = "The address is on the suppression list", body = SuppressionOut), (status = 400, response = BadRequest)),
)]
pub async fn add_suppression(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    JsonBody(body): JsonBody<SuppressionIn>,
) -> Result<(StatusCode, Json<SuppressionOut>), ApiError> {
    let (email, reason) = (&body.email, body.reason.as_deref());
    let stored = suppression_list::add(&app, &caller.actor, email, reason).await?;
    Ok((StatusCode::CREATED, Json(stored.into())))
}

/// Lists the suppression list, newest first.
#[utoipa::path(
    get, path = "/v1/admin/suppressions", tag = "emails",
    security(("key" = ["read"]), ("session" = [])),
    params(SuppressionsQuery, PartParams),
    responses((status = 200, description = "A page of addresses", body = SuppressionsOut), (status = 400, response = BadRequest)),
)]
pub async fn list_suppressions(
    State(app): State<App>,
    _: Caller<Read>,
    Query(query): Query<SuppressionsQuery>,
    page: Part,
) -> Result<Json<SuppressionsOut>, ApiError> {
    let reason = query.reason.as_deref().or(query.kind.as_deref());
    let name = if query.reason.is_some() {
        "reason"
    } else {
        "type"
    };
    checked::<SuppressionReason>(name, reason)?;
    let search = query.search.text();
    let mut conn = app.db.report().await?;
    let (rows, total) =
        db::suppressions_list(&mut conn, reason, search, page.limit, page.offset).await?;
    let suppressions = rows.into_iter().map(SuppressionOut::from);
    Ok(Json(SuppressionsOut {
        suppressions: suppressions.collect(),
        total,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// Removes an address from the suppression list, so that it gets mail again.
#[utoipa::path(
    delete, path = "/v1/admin/suppressions/{email}", tag = "emails",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("email" = String, Path)),
    responses((status = 200, description = "The address is no longer suppressed", body = ErasedOut), (status = 404, response = NotFound)),
)]
pub async fn lift_suppression(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(Name(email)): Path<Name>,
) -> Result<Json<ErasedOut>, ApiError> {
    suppression_list::remove(&app, &caller.actor, &email).await?;
    Ok(Json(ErasedOut { deleted: true }))
}
