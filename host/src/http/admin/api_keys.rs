//! API keys.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::db::{self, ApiKey};
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read, Scope};
use crate::http::wire::body::JsonBody;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, NotFound};
use crate::http::wire::paging::{Part, PartParams};
use crate::http::wire::params::Path;
use crate::http::wire::words::Words as _;
use crate::ids::ApiKeyId;
use crate::keys::KeySettings;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_api_keys, create_api_key))
        .routes(routes!(delete_api_key))
}

/// An API key, without its value.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyOut {
    id: ApiKeyId,
    name: String,
    /// The first characters of the key.
    #[schema(example = "hsk_Yx8Qm2Lp")]
    key_prefix: String,
    #[schema(value_type = Vec<Scope>)]
    scopes: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    /// Accurate to the minute; null if the key was never used.
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl From<ApiKey> for ApiKeyOut {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            key_prefix: key.prefix,
            scopes: key.scopes,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            created_at: key.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeysOut {
    api_keys: Vec<ApiKeyOut>,
    total: i64,
    limit: i64,
    offset: i64,
}

/// Lists the API keys, newest first. Their values are not stored and cannot be shown again.
#[utoipa::path(
    get, path = "/v1/admin/api-keys", tag = "api-keys",
    security(("key" = ["read"]), ("session" = [])),
    params(PartParams),
    responses((status = 200, description = "A page of keys", body = ApiKeysOut), (status = 400, response = BadRequest)),
)]
pub async fn list_api_keys(
    State(app): State<App>,
    _: Caller<Read>,
    page: Part,
) -> Result<Json<ApiKeysOut>, ApiError> {
    let (keys, total) = {
        let mut conn = app.db.report().await?;
        db::api_keys_list(&mut conn, page.limit, page.offset).await?
    };
    Ok(Json(ApiKeysOut {
        api_keys: keys.into_iter().map(ApiKeyOut::from).collect(),
        total,
        limit: page.limit,
        offset: page.offset,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyIn {
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    name: Option<String>,
    #[schema(value_type = Vec<Scope>, min_items = 1)]
    scopes: Option<Vec<String>>,
    /// When the key expires; without it, never.
    #[schema(value_type = Option<DateTime<Utc>>)]
    expires_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewApiKeyOut {
    id: ApiKeyId,
    name: String,
    /// The key itself. Only this response contains it.
    key: String,
    key_prefix: String,
    #[schema(value_type = Vec<Scope>)]
    scopes: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

/// Creates an API key. Only this response contains its value.
#[utoipa::path(
    post, path = "/v1/admin/api-keys", tag = "api-keys",
    security(("key" = ["full-admin"]), ("session" = [])),
    request_body = ApiKeyIn,
    responses((status = 201, description = "The new key", body = NewApiKeyOut), (status = 400, response = BadRequest)),
)]
pub async fn create_api_key(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    JsonBody(body): JsonBody<ApiKeyIn>,
) -> Result<(StatusCode, Json<NewApiKeyOut>), ApiError> {
    let now = app.clock.now();
    let settings = check(body, now)?;
    let made = app.keys.create(&app.db, &caller.actor, settings, now).await;
    let (key, value) = made?;
    let out = NewApiKeyOut {
        id: key.id,
        name: key.name,
        key: value,
        key_prefix: key.prefix,
        scopes: key.scopes,
        expires_at: key.expires_at,
        created_at: key.created_at,
    };
    Ok((StatusCode::CREATED, Json(out)))
}

fn check(body: ApiKeyIn, now: DateTime<Utc>) -> Result<KeySettings, ApiError> {
    let mut issues = Vec::new();
    let name = body.name.unwrap_or_default().trim().to_owned();
    if name.is_empty() || name.chars().count() > 100 {
        issues.push(Issue::new("name", "must have 1 to 100 characters"));
    }
    let scopes = body.scopes.unwrap_or_default();
    issues.extend(Scope::check_list("scopes", &scopes));
    let expires_at = body
        .expires_at
        .map(|text| DateTime::parse_from_rfc3339(&text));
    let expires_at = match expires_at {
        Some(Err(_)) => {
            let message = "must be an RFC 3339 time such as 2030-01-31T09:30:00Z";
            issues.push(Issue::new("expiresAt", message));
            None
        }
        Some(Ok(end)) if end <= now => {
            issues.push(Issue::new("expiresAt", "must be in the future"));
            None
        }
        Some(Ok(end)) => Some(end.to_utc()),
        None => None,
    };
    if !issues.is_empty() {
        return Err(ApiError::validation(&issues));
    }
    // Without duplicates, in a fixed order.
    let unique = Scope::ALL.iter().map(|scope| scope.name().to_owned());
    Ok(KeySettings {
        name,
        scopes: unique.filter(|name| scopes.contains(name)).collect(),
        expires_at,
    })
}

/// Revokes an API key. After this response no replica accepts it.
#[utoipa::path(
    delete, path = "/v1/admin/api-keys/{id}", tag = "api-keys",
    security(("key" = ["full-admin"]), ("session" = [])),
    params(("id" = ApiKeyId, Path)),
    responses((status = 200, description = "The key is revoked", body = DeletedOut), (status = 404, response = NotFound)),
)]
pub async fn delete_api_key(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    Path(id): Path<ApiKeyId>,
) -> Result<Json<DeletedOut>, ApiError> {
    let now = app.clock.now();
    let revoked = app.keys.revoke(&app.db, &caller.actor, id, now).await;
    revoked?;
    Ok(Json(DeletedOut { deleted: true }))
}

#[derive(Serialize, ToSchema)]
pub struct DeletedOut {
    #[schema(example = true)]
    deleted: bool,
}
