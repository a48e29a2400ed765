//! API keys.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::app::App;
use crate::audit::{Change, audit};
use crate::db::{self, ApiKey, Tx};
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
use crate::keys::NewKey;
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
    let (name, scopes, expires_at) = check(body, now)?;
    let made = NewKey::random();
    let key = ApiKey {
        id: ApiKeyId::new(now),
        name,
        hash: made.hash,
        prefix: made.prefix,
        scopes,
        expires_at,
        last_used_at: None,
        created_at: now,
    };
    let work = async |mut tx: Tx| {
        db::api_key_insert(&mut tx, &key).await?;
        let id = key.id.to_string();
        let (about, change) = (("api_key", &*id), Change::created(for_audit(&key)));
        audit(&mut tx, &caller.actor, "api_key.create", about, change, now).await?;
        db::Result::Ok((tx, ()))
    };
    app.db.transact(work).await?;
    app.keys.added();
    let out = NewApiKeyOut {
        id: key.id,
        name: key.name,
        key: made.key,
        key_prefix: key.prefix,
        scopes: key.scopes,
        expires_at: key.expires_at,
        created_at: key.created_at,
    };
    Ok((StatusCode::CREATED, Json(out)))
}

type Checked = (String, Vec<String>, Option<DateTime<Utc>>);

fn check(body: ApiKeyIn, now: DateTime<Utc>) -> Result<Checked, ApiError> {
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
    let unique = unique.filter(|name| scopes.contains(name)).collect();
    Ok((name, unique, expires_at))
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
    let work = async |mut tx: Tx| {
        let key = db::api_key_delete(&mut tx, id).await?;
        let key = key.ok_or_else(|| ApiError::not_found("API key not found"))?;
        let (text, change) = (id.to_string(), Change::deleted(for_audit(&key)));
        let about = ("api_key", &*text);
        audit(&mut tx, &caller.actor, "api_key.delete", about, change, now).await?;
        Ok::<_, ApiError>((tx, key))
    };
    let key = app.db.transact(work).await?;
    app.keys.revoked(&key.hash).await;
    Ok(Json(DeletedOut { deleted: true }))
}

#[derive(Serialize, ToSchema)]
pub struct DeletedOut {
    #[schema(example = true)]
    deleted: bool,
}

/// What the audit log stores about a key.
fn for_audit(key: &ApiKey) -> serde_json::Value {
    json!({
        "name": key.name, "keyPrefix": key.prefix, "scopes": key.scopes, "expiresAt": key.expires_at,
    })
}
