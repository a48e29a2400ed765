//! The audit log.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::db::{self, AuditFilter, AuditRow};
use crate::http::ApiError;
use crate::http::auth::{Caller, Read};
use crate::http::wire::openapi::BadRequest;
use crate::http::wire::openapi::Routes;
use crate::http::wire::paging::{CursorParam, Page, PartParams};
use crate::http::wire::params::Query;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(list_audit_logs))
}

/// An entry of the audit log: one change.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditLogOut {
    id: Uuid,
    actor: ActorOut,
    #[schema(example = "api_key.create")]
    action: String,
    #[schema(example = "api_key")]
    resource_type: String,
    resource_id: String,
    detail: DetailOut,
    created_at: DateTime<Utc>,
}

/// Who made a change: an API key, a user, `ADMIN_API_KEY` or a command.
#[derive(Serialize, ToSchema)]
pub struct ActorOut {
    #[serde(rename = "type")]
    #[schema(example = "user")]
    kind: String,
    /// Id of the API key or user.
    id: Option<String>,
    name: String,
}

/// The values before and after a change.
#[derive(Serialize, ToSchema)]
pub struct DetailOut {
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
}

impl From<AuditRow> for AuditLogOut {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            actor: ActorOut {
                kind: row.actor_type,
                id: row.actor_id,
                name: row.actor_name,
            },
            action: row.action,
            resource_type: row.resource_type,
            resource_id: row.resource_id,
            detail: DetailOut {
                before: row.before,
                after: row.after,
            },
            created_at: row.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditLogsOut {
    audit_logs: Vec<AuditLogOut>,
    total: i64,
    limit: i64,
    offset: i64,
    /// Null on the last page.
    next_cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct AuditLogsQuery {
    action: Option<String>,
    resource_type: Option<String>,
    resource_id: Option<String>,
}

/// Lists the audit log: what administrators changed, newest first.
#[utoipa::path(
    get, path = "/v1/admin/audit-logs", tag = "audit-logs",
    security(("key" = ["read"]), ("session" = [])),
    params(AuditLogsQuery, PartParams, CursorParam),
    responses((status = 200, description = "A page of changes", body = AuditLogsOut), (status = 400, response = BadRequest)),
)]
pub async fn list_audit_logs(
    State(app): State<App>,
    _: Caller<Read>,
    Query(query): Query<AuditLogsQuery>,
    page: Page,
) -> Result<Json<AuditLogsOut>, ApiError> {
    let filter = AuditFilter {
        action: query.action,
        resource_type: query.resource_type,
        resource_id: query.resource_id,
        after: page.after,
    };
    let (rows, total) = {
        let mut conn = app.db.report().await?;
        db::audits_list(&mut conn, &filter, page.limit, page.offset).await?
    };
    Ok(Json(AuditLogsOut {
        next_cursor: page.next_cursor(rows.iter().map(|row| (row.created_at, row.id))),
        audit_logs: rows.into_iter().map(AuditLogOut::from).collect(),
        total,
        limit: page.limit,
        offset: page.offset,
    }))
}
