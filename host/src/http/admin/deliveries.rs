//! Deliveries to webhook endpoints: made, and still to make.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::webhooks::found;
use crate::app::App;
use crate::db::{self, DeliveryRow};
use crate::http::ApiError;
use crate::http::auth::{Caller, Read};
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, NotFound};
use crate::http::wire::paging::{Part, PartParams};
use crate::http::wire::params::{Path, Query};
use crate::http::wire::words::parsed;
use crate::ids::EndpointId;
use crate::states::DeliveryState;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(list_webhook_deliveries))
}

/// An event delivered, or to be delivered, to a webhook endpoint.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryOut {
    /// The header `webhook-id` is `msg_` followed by this id without hyphens.
    id: Uuid,
    /// One of the endpoint's event types, or `webhook.test`.
    event_type: String,
    status: DeliveryState,
    attempts: i32,
    next_attempt_at: Option<DateTime<Utc>>,
    /// HTTP status of the last attempt; null if there was no response.
    response_status: Option<i32>,
    error: Option<String>,
    /// The body of the request.
    #[schema(value_type = Object)]
    payload: Value,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<DeliveryRow> for DeliveryOut {
    fn from(row: DeliveryRow) -> Self {
        Self {
            id: row.id,
            event_type: row.event_type,
            status: row.status,
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at,
            response_status: row.response_status,
            error: row.error,
            payload: serde_json::from_str(&row.body).unwrap_or_default(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct DeliveriesOut {
    deliveries: Vec<DeliveryOut>,
    total: i64,
    limit: i64,
    offset: i64,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    #[param(inline, value_type = Option<DeliveryState>)]
    status: Option<String>,
}

/// Lists an endpoint's deliveries, newest first: those of the last 30 days and those still to come.
#[utoipa::path(
    get, path = "/v1/admin/webhooks/{id}/deliveries", tag = "outgoing-webhooks",
    security(("key" = ["read"]), ("session" = [])),
    params(("id" = EndpointId, Path), DeliveriesQuery, PartParams),
    responses((status = 200, description = "A page of deliveries", body = DeliveriesOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn list_webhook_deliveries(
    State(app): State<App>,
    _: Caller<Read>,
    Path(id): Path<EndpointId>,
    Query(query): Query<DeliveriesQuery>,
    page: Part,
) -> Result<Json<DeliveriesOut>, ApiError> {
    let status = parsed("status", query.status.as_deref())?;
    let mut conn = app.db.report().await?;
    found(&mut conn, id).await?;
    let (rows, total) = db::deliveries_list(&mut conn, id, status, page.limit, page.offset).await?;
    Ok(Json(DeliveriesOut {
        deliveries: rows.into_iter().map(DeliveryOut::from).collect(),
        total,
        limit: page.limit,
        offset: page.offset,
    }))
}
