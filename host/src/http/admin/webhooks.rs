//! Webhook endpoints, which receive events of this installation.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::db::{self, Conn, Endpoint};
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read, Scope};
use crate::http::product::contacts::ErasedOut;
use crate::http::wire::body::JsonBody;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, ErrorOut, NotFound};
use crate::http::wire::paging::{Part, PartParams};
use crate::http::wire::params::{Path, Query};
use crate::http::wire::words::{EndpointStatus, WebhookEventType, WebhookKind};
use crate::ids::EndpointId;
use crate::webhooks::endpoints::{self, EndpointChange};
use crate::webhooks::{TEST_TYPE, secret_prefix};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_webhooks, create_webhook))
        .routes(routes!(show_webhook, change_webhook, delete_webhook))
        .routes(routes!(rotate_webhook_secret))
        .routes(routes!(test_webhook))
}

/// The only kind of endpoint.
const KIND: &str = "webhook";

/// A webhook endpoint, without its secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointOut {
    id: EndpointId,
    /// Only scheme and host for callers that may not change endpoints: the rest may hold a token.
    url: String,
    description: Option<String>,
    #[schema(value_type = Vec<WebhookEventType>)]
    event_types: Vec<String>,
    #[schema(value_type = WebhookKind)]
    kind: &'static str,
    /// Always null: the kind `webhook` has no settings of its own.
    #[schema(value_type = Option<Object>)]
    config: Option<Value>,
    #[schema(value_type = EndpointStatus)]
    status: &'static str,
    /// True if `status` is `disabled`.
    disabled: bool,
    /// Why Hogsend disabled the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<String>,
    /// Always null: an installation serves one organization.
    organization_id: Option<String>,
    /// The first characters of the secret.
    #[schema(example = "whsec_MfKQ")]
    secret_prefix: String,
    /// Until when requests also carry a signature of the previous secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_secret_until: Option<DateTime<Utc>>,
    /// When Hogsend last posted to the endpoint, accurate to the second.
    last_delivery_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl EndpointOut {
    fn of<S>(endpoint: Endpoint, caller: &Caller<S>, now: DateTime<Utc>) -> Self {
        let url = if caller.may(Scope::FullAdmin) {
            endpoint.url
        } else {
            without_path(&endpoint.url)
        };
        Self {
            id: endpoint.id,
            secret_prefix: secret_prefix(&endpoint.secret),
            url,
            description: Some(endpoint.description).filter(|text| !text.is_empty()),
            event_types: endpoint.event_types,
            kind: KIND,
            config: None,
            status: if endpoint.disabled {
                "disabled"
            } else {
                "enabled"
            },
            disabled: endpoint.disabled,
            disabled_reason: endpoint.disabled_reason,
            organization_id: None,
            previous_secret_until: endpoint.previous_until.filter(|until| *until > now),
            last_delivery_at: endpoint.last_delivery_at,
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
        }
    }
}

/// A URL without the parts that may hold a token.
fn without_path(url: &str) -> String {
    let Ok(url) = reqwest::Url::parse(url) else {
        return "…".into();
    };
    let rest = if url.path() == "/" && url.query().is_none() {
        "/"
    } else {
        "/…"
    };
    format!("{}{rest}", url.origin().ascii_serialization())
}

#[derive(Serialize, ToSchema)]
pub struct EndpointsOut {
    endpoints: Vec<EndpointOut>,
    total: i64,
    limit: i64,
    offset: i64,
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct EndpointsQuery {
    /// False leaves out disabled endpoints.
    #[serde(default = "yes")]
    #[param(default = true)]
    include_disabled: bool,
}

fn yes() -> bool {
    true
}

/// Lists the webhook endpoints, newest first.
#[utoipa::path(
    get, path = "/v1/admin/webhooks", tag = "outgoing-webhooks",
    security(("key" = ["read"]), ("session" = [])),
    params(EndpointsQuery, PartParams),
    responses((status = 200, description = "A page of endpoints", body = EndpointsOut), (status = 400, response = BadRequest)),
)]
pub async fn list_webhooks(
    State(app): State<App>,
    caller: Caller<Read>,
    Query(query): Query<EndpointsQuery>,
    page: Part,
) -> Result<Json<EndpointsOut>, ApiError> {
    let now = app.clock.now();
    let mut conn = app.db.report().await?;
    let (rows, total) =
        db::webhooks_list(&mut conn, query.include_disabled, page.limit, page.offset).await?;
    let endpoints = rows
        .into_iter()
        .map(|row| EndpointOut::of(row, &caller, now));
    Ok(Json(EndpointsOut {
        endpoints: endpoints.collect(),
        total,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// Shows a webhook endpoint.
#[utoipa::path(
    get, path = "/v1/admin/webhooks/{id}", tag = "outgoing-webhooks",
    security(("key" = ["read"]), ("session" = [])),
    params(("id" = EndpointId, Path)),
    responses((status = 200, description = "The endpoint", body = EndpointOut), (status = 404, response = NotFound)),
)]
pub async fn show_webhook(
    State(app): State<App>,
    caller: Caller<Read>,
    Path(id): Path<EndpointId>,
) -> Result<Json<EndpointOut>, ApiError> {
    let mut conn = app.db.conn().await?;
    let found = found(&mut conn, id).await?;
    Ok(Json(EndpointOut::of(found, &caller, app.clock.now())))
}

/// A new webhook endpoint.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointIn {
    /// An https or http URL, at a public host or one that `WEBHOOK_ALLOWED_NETWORKS` allows.
    #[schema(value_type = String, example = "https://example.com/hooks/hogsend", max_length = 2048)]
    url: Option<String>,
    #[schema(value_type = Vec<WebhookEventType>, min_items = 1, example = json!(["email.bounced", "journey.completed"]))]
    event_types: Option<Vec<String>>,
    #[schema(max_length = 500)]
    description: Option<String>,
    disabled: Option<bool>,
    /// How events are delivered. The only kind is `webhook`, a signed request.
    #[schema(value_type = Option<WebhookKind>)]
    kind: Option<String>,
}

/// Changes to a webhook endpoint. Absent fields keep their values.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointChangeIn {
    #[schema(max_length = 2048)]
    url: Option<String>,
    #[schema(value_type = Option<Vec<WebhookEventType>>, min_items = 1)]
    event_types: Option<Vec<String>>,
    /// Null removes it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 500)]
    description: Option<Option<String>>,
    disabled: Option<bool>,
    #[schema(value_type = Option<WebhookKind>)]
    kind: Option<String>,
}

/// Distinguishes null from an absent field.
fn given<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(reader).map(Some)
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewEndpointOut {
    #[serde(flatten)]
    endpoint: EndpointOut,
    /// Signs every request. Only this response contains it.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: String,
}

/// Creates a webhook endpoint. Only this response contains its secret.
#[utoipa::path(
    post, path = "/v1/admin/webhooks", tag = "outgoing-webhooks",
    security(("key" = ["full-admin"]), ("session" = [])),
    request_body = EndpointIn,
    responses((status = 201, description = "The new endpoint", body = NewEndpointOut), (status = 400, response = BadRequest)),
)]
pub async fn create_webhook(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    JsonBody(body): JsonBody<EndpointIn>,
) -> Result<(StatusCode, Json<NewEndpointOut>), ApiError> {
    let settings = EndpointChange {
        url: body.url,
        event_types: body.event_types,
        description: body.description.map(Some),
        disabled: body.disabled,
        kind: body.kind,
    };
    let endpoint = endpoints::create(&app, &app.poster, &caller.actor, settings).await?;
    let secret = endpoint.secret.clone();
    let out = NewEndpointOut {
        endpoint: EndpointOut::of(endpoint, &caller, app.clock.now()),
        secret,
    };
    Ok((StatusCode::CREATED, Json(out)))
}

/// Changes a webhook endpoint. When it is enabled again, it receives the events it missed.
#[utoipa::path(
    patch, path = "/v1/admin/webhooks/{id}", tag = "outgoing-webhooks",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = EndpointId, Path)),
    request_body = EndpointChangeIn,
    responses((status = 200, description = "The endpoint as it is now", body = EndpointOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn change_webhook(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<EndpointId>,
    JsonBody(body): JsonBody<EndpointChangeIn>,
) -> Result<Json<EndpointOut>, ApiError> {
    let settings = EndpointChange {
        url: body.url,
        event_types: body.event_types,
        description: body.description,
        disabled: body.disabled,
        kind: body.kind,
    };
    let endpoint = endpoints::change(&app, &app.poster, &caller.actor, id, &settings).await?;
    Ok(Json(EndpointOut::of(endpoint, &caller, app.clock.now())))
}

/// Deletes a webhook endpoint and its pending deliveries.
#[utoipa::path(
    delete, path = "/v1/admin/webhooks/{id}", tag = "outgoing-webhooks",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = EndpointId, Path)),
    responses((status = 200, description = "The endpoint is deleted", body = ErasedOut), (status = 404, response = NotFound)),
)]
pub async fn delete_webhook(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<EndpointId>,
) -> Result<Json<ErasedOut>, ApiError> {
    endpoints::delete(&app, &caller.actor, id).await?;
    Ok(Json(ErasedOut { deleted: true }))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotatedOut {
    id: EndpointId,
    /// The new secret. Only this response contains it.
    secret: String,
    secret_prefix: String,
}

/// Rotates the secret of a webhook endpoint.
///
/// For 24 hours requests also carry a signature of the old secret, so that a receiver can verify
/// them with either.
#[utoipa::path(
    post, path = "/v1/admin/webhooks/{id}/rotate-secret", tag = "outgoing-webhooks",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = EndpointId, Path)),
    responses((status = 200, description = "The new secret", body = RotatedOut), (status = 404, response = NotFound)),
)]
pub async fn rotate_webhook_secret(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<EndpointId>,
) -> Result<Json<RotatedOut>, ApiError> {
    let secret = endpoints::rotate_secret(&app, &caller.actor, id).await?;
    Ok(Json(RotatedOut {
        id,
        secret_prefix: secret_prefix(&secret),
        secret,
    }))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestedOut {
    enqueued: bool,
    #[schema(value_type = String, example = "webhook.test")]
    event_type: &'static str,
}

/// Sends a `webhook.test` event to an endpoint, whatever its event types. It is signed, retried and
/// listed like any other delivery.
#[utoipa::path(
    post, path = "/v1/admin/webhooks/{id}/test", tag = "outgoing-webhooks",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = EndpointId, Path)),
    responses(
        (status = 202, description = "The test event is queued", body = TestedOut),
        (status = 404, response = NotFound),
        (status = 409, description = "The endpoint is disabled", body = ErrorOut),
    ),
)]
pub async fn test_webhook(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<EndpointId>,
) -> Result<(StatusCode, Json<TestedOut>), ApiError> {
    endpoints::send_test(&app, &caller.actor, id).await?;
    let out = TestedOut {
        enqueued: true,
        event_type: TEST_TYPE,
    };
    Ok((StatusCode::ACCEPTED, Json(out)))
}

pub(super) async fn found(conn: &mut Conn, id: EndpointId) -> Result<Endpoint, ApiError> {
    let found = db::webhook_get(conn, id).await?;
    found.ok_or_else(|| ApiError::not_found("Webhook not found"))
}
