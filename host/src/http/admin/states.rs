//! Runs of journeys.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::lookup::unknown_journey;
use crate::app::App;
use crate::db::{self, Conn, LogRow, StateFilter, StateStory};
use crate::http::ApiError;
use crate::http::auth::{Caller, JourneyAdmin, Read};
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, ErrorOut, NotFound};
use crate::http::wire::paging::{CursorParam, Page, PartParams};
use crate::http::wire::params::{Name, Path, Query, Under};
use crate::http::wire::words::parsed;
use crate::ids::{ContactId, StateId};
use crate::runs::decide;
use crate::runs::decide::AdminError;
use crate::states::RunState;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_states))
        .routes(routes!(show_state, cancel_state))
        .routes(routes!(list_journey_logs))
}

/// A run: one contact's pass through a journey.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateOut {
    id: StateId,
    journey_id: String,
    contact_id: ContactId,
    /// The product's id of the contact.
    user_id: Option<String>,
    user_email: Option<String>,
    status: RunState,
    current_node_id: String,
    /// Properties of the event that started the run.
    #[schema(value_type = Object)]
    context: Value,
    /// When the run continues by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    wake_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    /// Why the run is stuck: the journey's code no longer matches the recorded steps (`diverged`), the
    /// result of a step could not be stored (`unrecordable`), workers crashed while advancing it
    /// (`worker_died`), or its recorded steps cannot be read (`unreadable`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "diverged")]
    stuck_reason: Option<String>,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exited_at: Option<DateTime<Utc>>,
}

impl From<StateStory> for StateOut {
    fn from(story: StateStory) -> Self {
        Self {
            id: story.id,
            journey_id: story.journey_id,
            contact_id: story.contact_id,
            user_id: story.user_id,
            user_email: story.user_email,
            status: story.status,
            current_node_id: story.current_node_id,
            context: story.context,
            wake_at: story.wake_at,
            error_message: story.error_message,
            stuck_reason: story.stuck_reason,
            created_at: story.created_at,
            completed_at: story.completed_at,
            exited_at: story.exited_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatesOut {
    states: Vec<StateOut>,
    total: i64,
    limit: i64,
    offset: i64,
    /// Null on the last page.
    next_cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct StatesQuery {
    #[param(inline, value_type = Option<RunState>)]
    status: Option<String>,
    /// The product's id of the contact.
    user_id: Option<String>,
}

/// Lists the runs of a journey, newest first. The runs of a journey that no plugin provides any
/// longer are still listed.
#[utoipa::path(
    get, path = "/v1/admin/journeys/{id}/states", tag = "journeys",
    security(("key" = ["read"]), ("session" = [])),
    params(("id" = String, Path), StatesQuery, PartParams, CursorParam),
    responses((status = 200, description = "A page of runs", body = StatesOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn list_states(
    State(app): State<App>,
    _: Caller<Read>,
    Path(Name(journey)): Path<Name>,
    Query(query): Query<StatesQuery>,
    page: Page,
) -> Result<Json<StatesOut>, ApiError> {
    let status = parsed("status", query.status.as_deref())?;
    let filter = StateFilter {
        journey: Some(&journey),
        status,
        user: query.user_id.as_deref(),
        after: page.after,
    };
    let mut conn = app.db.report().await?;
    let stories = db::state_stories(&mut conn, &filter, page.limit, page.offset).await?;
    let total = db::state_count(&mut conn, &filter).await?;
    if total == 0 && app.catalog().journey(&journey).is_none() {
        return Err(unknown_journey());
    }
    Ok(Json(StatesOut {
        next_cursor: page.next_cursor(stories.iter().map(|one| (one.created_at, one.id.0))),
        states: stories.into_iter().map(StateOut::from).collect(),
        total,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// A transition of a run.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogOut {
    id: Uuid,
    from_status: Option<RunState>,
    to_status: RunState,
    #[schema(example = "enrolled")]
    action: String,
    #[schema(value_type = Object)]
    detail: Value,
    created_at: DateTime<Utc>,
}

impl From<LogRow> for LogOut {
    fn from(row: LogRow) -> Self {
        Self {
            id: row.id,
            from_status: row.from_status,
            to_status: row.to_status,
            action: row.action,
            detail: row.detail,
            created_at: row.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct OneStateOut {
    state: StateOut,
    /// The run's transitions, oldest first; at most the newest 1,000.
    logs: Vec<LogOut>,
}

/// Shows a run with its transitions.
#[utoipa::path(
    get, path = "/v1/admin/journeys/{id}/states/{stateId}", tag = "journeys",
    security(("key" = ["read"]), ("session" = [])),
    params(("id" = String, Path), ("stateId" = StateId, Path)),
    responses((status = 200, description = "The run", body = OneStateOut), (status = 404, response = NotFound)),
)]
pub async fn show_state(
    State(app): State<App>,
    _: Caller<Read>,
    Under(Name(journey), id): Under<Name, StateId>,
) -> Result<Json<OneStateOut>, ApiError> {
    let mut conn = app.db.report().await?;
    let story = db::state_story(&mut conn, &journey, id).await?;
    let story = story.ok_or_else(|| ApiError::not_found("Run not found"))?;
    let logs = db::state_logs(&mut conn, id).await?;
    Ok(Json(OneStateOut {
        state: story.into(),
        logs: logs.into_iter().map(LogOut::from).collect(),
    }))
}

#[derive(Serialize, ToSchema)]
pub struct CancelledOut {
    state: StateOut,
}

/// Ends a run. Its mails that no worker has attempted yet are not sent.
#[utoipa::path(
    delete, path = "/v1/admin/journeys/{id}/states/{stateId}", tag = "journeys",
    security(("key" = ["journey-admin"]), ("session" = [])),
    params(("id" = String, Path), ("stateId" = StateId, Path)),
    responses(
        (status = 200, description = "The ended run", body = CancelledOut),
        (status = 404, response = NotFound),
        (status = 409, description = "The run had already ended", body = ErrorOut),
    ),
)]
pub async fn cancel_state(
    State(app): State<App>,
    caller: Caller<JourneyAdmin>,
    Under(Name(journey), id): Under<Name, StateId>,
) -> Result<Json<CancelledOut>, ApiError> {
    let cancelled = decide::cancel(&app, &caller.actor, &journey, id).await;
    let after = cancelled.map_err(refused)?;
    Ok(Json(CancelledOut {
        state: after.into(),
    }))
}

#[derive(Serialize, ToSchema)]
pub struct LogsOut {
    logs: Vec<LogOut>,
    total: usize,
    limit: usize,
    offset: usize,
}

/// Lists a run's transitions, oldest first; at most the newest 1,000, in one page.
#[utoipa::path(
    get, path = "/v1/admin/journey-logs/{stateId}", tag = "journeys",
    security(("key" = ["read"]), ("session" = [])),
    params(("stateId" = StateId, Path)),
    responses((status = 200, description = "The run's transitions", body = LogsOut), (status = 404, response = NotFound)),
)]
pub async fn list_journey_logs(
    State(app): State<App>,
    _: Caller<Read>,
    Path(id): Path<StateId>,
) -> Result<Json<LogsOut>, ApiError> {
    let mut conn = app.db.report().await?;
    let logs = db::state_logs(&mut conn, id).await?;
    // Every run has at least the log entry of its start.
    if logs.is_empty() {
        return Err(ApiError::not_found("Run not found"));
    }
    Ok(Json(LogsOut {
        total: logs.len(),
        limit: logs.len(),
        offset: 0,
        logs: logs.into_iter().map(LogOut::from).collect(),
    }))
}

fn refused(error: AdminError) -> ApiError {
    match error {
        AdminError::NotFound(_) => ApiError::not_found("Run not found"),
        AdminError::Conflict(why) => ApiError::conflict(&why),
        AdminError::Database(error) => error.into(),
    }
}

/// The newest runs of a journey.
pub(super) async fn recent(conn: &mut Conn, journey: &str) -> Result<Vec<StateOut>, ApiError> {
    let filter = StateFilter {
        journey: Some(journey),
        ..StateFilter::default()
    };
    let stories = db::state_stories(conn, &filter, 10, 0).await?;
    Ok(stories.into_iter().map(StateOut::from).collect())
}
