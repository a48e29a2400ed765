//! Addresses that get no mail.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::audit::{Change, audit};
use crate::contacts;
use crate::db;
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::contacts::ErasedOut;
use crate::http::openapi::{BadRequest, NotFound};
use crate::http::paging::{Part, PartParams};
use crate::http::params::{Name, Path, Query};
use crate::http::words::{SuppressionReason, checked};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuppressionOut {
    /// Null where the person was erased: only a keyed hash is left.
    email: Option<String>,
    #[schema(value_type = SuppressionReason)]
    reason: String,
    provider: Option<String>,
    /// The provider's words.
    detail: Option<String>,
    created_at: DateTime<Utc>,
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
}

/// Lists addresses that get no mail, the latest first.
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
    let reason = query.reason.as_deref();
    checked::<SuppressionReason>("reason", reason)?;
    let mut conn = app.db.report().await?;
    let (rows, total) = db::suppressions_list(&mut conn, reason, page.limit, page.offset).await?;
    let suppressions = rows.into_iter().map(|row| SuppressionOut {
        email: row.email,
        reason: row.reason,
        provider: row.provider,
        detail: row.detail,
        created_at: row.created_at,
    });
    Ok(Json(SuppressionsOut {
        suppressions: suppressions.collect(),
        total,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// Lifts the suppression of an address, which gets mail again.
#[utoipa::path(
    delete, path = "/v1/admin/suppressions/{email}", tag = "emails",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("email" = String, Path)),
    responses((status = 200, description = "The address is not suppressed any more", body = ErasedOut), (status = 404, response = NotFound)),
)]
pub async fn lift_suppression(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(Name(email)): Path<Name>,
) -> Result<Json<ErasedOut>, ApiError> {
    let mailbox = app.addresses.mailbox(&email);
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let Some(was) = contacts::lift(&mut tx, &mailbox).await? else {
        return Err(ApiError::not_found("This address is not suppressed"));
    };
    let change = Change::deleted(json!({ "reason": was.reason, "createdAt": was.created_at }));
    let id = hex::encode(&was.hash);
    audit(
        &mut tx,
        &caller.actor,
        "suppression.delete",
        ("suppression", &id),
        change,
        now,
    )
    .await?;
    tx.commit().await?;
    Ok(Json(ErasedOut { deleted: true }))
}
