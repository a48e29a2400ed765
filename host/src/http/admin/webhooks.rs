//! Webhook endpoints, which receive events of this installation.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::audit::{Change, audit};
use crate::db::{self, Conn, Endpoint, NewDelivery, Topic, Tx};
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read, Scope};
use crate::http::product::contacts::ErasedOut;
use crate::http::wire::body::JsonBody;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, ErrorOut, NotFound};
use crate::http::wire::paging::{Part, PartParams};
use crate::http::wire::params::{Path, Query};
use crate::http::wire::words::{EndpointStatus, WebhookEventType, WebhookKind, Words as _};
use crate::ids::{self, EndpointId};
use crate::webhooks::{EVENT_TYPES, TEST_TYPE, check_url, new_secret, secret_prefix, timestamp};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_webhooks, create_webhook))
        .routes(routes!(show_webhook, change_webhook, delete_webhook))
        .routes(routes!(rotate_webhook_secret))
        .routes(routes!(test_webhook))
}

/// How long requests carry a signature of the old secret after a rotation.
const OVERLAP: TimeDelta = TimeDelta::hours(24);
const DESCRIPTION_MAX: usize = 500;
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
#[derive(Clone, Deserialize, ToSchema)]
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
    let now = app.clock.now();
    let mut issues = Vec::new();
    for (name, absent) in [
        ("url", body.url.is_none()),
        ("eventTypes", body.event_types.is_none()),
    ] {
        if absent {
            issues.push(Issue::new(name, "is required"));
        }
    }
    let mut endpoint = Endpoint {
        id: EndpointId::new(now),
        url: String::new(),
        description: String::new(),
        event_types: Vec::new(),
        disabled: false,
        disabled_reason: None,
        secret: new_secret(),
        previous_until: None,
        last_delivery_at: None,
        created_at: now,
        updated_at: now,
    };
    let change = EndpointChangeIn {
        url: body.url,
        event_types: body.event_types,
        description: body.description.map(Some),
        disabled: body.disabled,
        kind: body.kind,
    };
    change.apply(&app, &mut endpoint, &mut issues);
    if !issues.is_empty() {
        return Err(ApiError::validation(&issues));
    }
    let work = async |mut tx: Tx| {
        db::webhook_insert(&mut tx, &endpoint).await?;
        let change = Change::created(for_audit(&endpoint));
        keep(&mut tx, &caller, "webhook.create", endpoint.id, change, now).await?;
        db::Result::Ok((tx, ()))
    };
    app.db.transact(work).await?;
    let secret = endpoint.secret.clone();
    let out = NewEndpointOut {
        endpoint: EndpointOut::of(endpoint, &caller, now),
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
    let now = app.clock.now();
    let work = async |mut tx: Tx| {
        let mut endpoint = lock(&mut tx, id).await?;
        let before = for_audit(&endpoint);
        let mut issues = Vec::new();
        body.clone().apply(&app, &mut endpoint, &mut issues);
        if !issues.is_empty() {
            return Err(ApiError::validation(&issues));
        }
        endpoint.updated_at = now;
        db::webhook_update(&mut tx, &endpoint).await?;
        let change = Change::changed(before, for_audit(&endpoint));
        keep(&mut tx, &caller, "webhook.update", id, change, now).await?;
        db::stir(Topic::Webhooks);
        Ok((tx, endpoint))
    };
    let endpoint = app.db.transact(work).await?;
    Ok(Json(EndpointOut::of(endpoint, &caller, now)))
}

impl EndpointChangeIn {
    fn apply(self, app: &App, endpoint: &mut Endpoint, issues: &mut Vec<Issue>) {
        if let Some(url) = self.url {
            match check_url(&url, &app.poster) {
                Ok(url) => endpoint.url = url.into(),
                Err(why) => issues.push(Issue::new("url", why)),
            }
        }
        if let Some(types) = self.event_types {
            issues.extend(WebhookEventType::check_list("eventTypes", &types));
            // Without duplicates, in a fixed order.
            let wanted = EVENT_TYPES.iter().map(|name| (*name).to_owned());
            endpoint.event_types = wanted.filter(|name| types.contains(name)).collect();
        }
        if let Some(kind) = &self.kind {
            issues.extend(WebhookKind::check("kind", kind).err());
        }
        if let Some(description) = self.description {
            let description = description.unwrap_or_default();
            if description.chars().count() > DESCRIPTION_MAX {
                let message = format!("must have at most {DESCRIPTION_MAX} characters");
                issues.push(Issue::new("description", message));
            }
            endpoint.description = description;
        }
        if let Some(disabled) = self.disabled {
            endpoint.disabled = disabled;
            endpoint.disabled_reason = None;
        }
    }
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
    let now = app.clock.now();
    let work = async |mut tx: Tx| {
        let endpoint = lock(&mut tx, id).await?;
        db::webhook_delete(&mut tx, id).await?;
        let change = Change::deleted(for_audit(&endpoint));
        keep(&mut tx, &caller, "webhook.delete", id, change, now).await?;
        Ok::<_, ApiError>((tx, ()))
    };
    app.db.transact(work).await?;
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
    let now = app.clock.now();
    let secret = new_secret();
    let prefix = secret_prefix(&secret);
    let work = async |mut tx: Tx| {
        let before = lock(&mut tx, id).await?;
        db::webhook_rotate(&mut tx, id, &secret, now + OVERLAP, now).await?;
        let change = Change::changed(
            json!({ "secretPrefix": secret_prefix(&before.secret) }),
            json!({ "secretPrefix": prefix }),
        );
        keep(&mut tx, &caller, "webhook.rotate_secret", id, change, now).await?;
        Ok::<_, ApiError>((tx, ()))
    };
    app.db.transact(work).await?;
    Ok(Json(RotatedOut {
        id,
        secret,
        secret_prefix: prefix,
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
    let now = app.clock.now();
    let work = async |mut tx: Tx| {
        let endpoint = lock(&mut tx, id).await?;
        if endpoint.disabled {
            return Err(ApiError::conflict(
                "This endpoint is disabled: enable it with {\"disabled\": false} first",
            ));
        }
        let delivery = NewDelivery {
            id: ids::at(now),
            endpoint_id: id,
            contact_id: None,
            event_type: TEST_TYPE.into(),
            occurred_at: timestamp(now),
            data: json!({ "test": true, "contactId": null, "userId": null, "email": null }),
        };
        db::deliveries_insert(&mut tx, &[delivery], now).await?;
        let change = Change::created(json!({ "eventType": TEST_TYPE }));
        keep(&mut tx, &caller, "webhook.test", id, change, now).await?;
        db::stir(Topic::Webhooks);
        Ok((tx, ()))
    };
    app.db.transact(work).await?;
    let out = TestedOut {
        enqueued: true,
        event_type: TEST_TYPE,
    };
    Ok((StatusCode::ACCEPTED, Json(out)))
}

async fn lock(conn: &mut Conn, id: EndpointId) -> Result<Endpoint, ApiError> {
    let locked = db::webhook_lock(conn, id).await?;
    locked.ok_or_else(unknown)
}

pub(super) async fn found(conn: &mut Conn, id: EndpointId) -> Result<Endpoint, ApiError> {
    let found = db::webhook_get(conn, id).await?;
    found.ok_or_else(unknown)
}

fn unknown() -> ApiError {
    ApiError::not_found("Webhook not found")
}

async fn keep(
    conn: &mut Conn,
    caller: &Caller<FullAdmin>,
    action: &str,
    id: EndpointId,
    change: Change,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let about = ("webhook", &*id.to_string());
    audit(conn, &caller.actor, action, about, change, now).await
}

/// What the audit log stores about an endpoint: only its host, since the path may hold a secret.
fn for_audit(endpoint: &Endpoint) -> Value {
    let url = reqwest::Url::parse(&endpoint.url).ok();
    json!({
        "host": url.as_ref().and_then(|url| url.host_str()),
        "eventTypes": endpoint.event_types,
        "description": endpoint.description,
        "disabled": endpoint.disabled,
    })
}
