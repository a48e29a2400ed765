//! Pauses: stopping all sending, a journey or a category in time.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::lookup::unknown_journey;
use crate::app::App;
use crate::db::{self, Conn, PauseRow};
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::wire::body::JsonBody;
use crate::http::wire::openapi::{BadRequest, NotFound, Routes};
use crate::pauses::{Pauses, Scope, pause, resume};
use crate::states::PauseScope;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_pauses))
        .routes(routes!(begin_pause))
        .routes(routes!(end_pause))
}

/// What is paused or resumed: a journey, a category, or everything where neither is given.
/// A misspelt name is refused, because without names everything is meant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeIn {
    /// The id of a journey: its runs, its mails and entries into it.
    journey: Option<String>,
    /// A category: its mails.
    category: Option<String>,
    /// Why, for colleagues, at most 500 characters.
    reason: Option<String>,
}

impl ScopeIn {
    /// The scope. A journey or category that does not exist is refused, unless it may be paused already.
    fn scope(&self, app: &App, must_exist: bool) -> Result<Scope, ApiError> {
        match (&self.journey, &self.category) {
            (Some(_), Some(_)) => Err(ApiError::validation(&[Issue::new(
                "category",
                "must not be given together with journey: pause one after the other",
            )])),
            (Some(id), None) => {
                if must_exist && app.catalog().journey(id).is_none() {
                    return Err(unknown_journey());
                }
                Ok(Scope::Journey(id.clone()))
            }
            (None, Some(name)) => {
                let fault = app.catalog().category_fault(name).filter(|_| must_exist);
                match fault {
                    Some(fault) => Err(ApiError::validation(&[Issue::new("category", fault)])),
                    None => Ok(Scope::Category(name.clone())),
                }
            }
            (None, None) => Ok(Scope::Everything),
        }
    }
}

/// What waits because of a pause.
#[derive(Serialize, ToSchema)]
pub struct WaitingOut {
    /// Runs that were due.
    runs: i64,
    /// Mails that were due.
    mails: i64,
    /// Entries into the journey.
    entries: i64,
}

/// A pause that lasts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseOut {
    #[schema(value_type = PauseScope)]
    scope: PauseScope,
    #[serde(skip_serializing_if = "Option::is_none")]
    journey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    since: DateTime<Utc>,
    reason: Option<String>,
    paused_by: String,
    waiting: WaitingOut,
}

impl PauseOut {
    async fn of(conn: &mut Conn, pause: &PauseRow) -> db::Result<Self> {
        let scope = Scope::from(pause);
        let aside = db::aside_count(conn, &scope.to_string()).await?;
        let (journey, category) = match &scope {
            Scope::Everything => (None, None),
            Scope::Journey(id) => (Some(id.clone()), None),
            Scope::Category(name) => (None, Some(name.clone())),
        };
        let held = match &journey {
            Some(id) => db::held_counts(conn, Some(id)).await?,
            None => Vec::new(),
        };
        Ok(Self {
            scope: pause.scope,
            journey,
            category,
            since: pause.since,
            reason: pause.reason.clone(),
            paused_by: pause.paused_by.clone(),
            waiting: WaitingOut {
                runs: aside.runs,
                mails: aside.mails,
                entries: held.first().map_or(0, |one| one.count),
            },
        })
    }
}

#[derive(Serialize, ToSchema)]
pub struct PausesOut {
    /// The oldest first.
    pauses: Vec<PauseOut>,
}

#[derive(Serialize, ToSchema)]
pub struct ResumedOut {
    /// False if nothing was paused.
    resumed: bool,
    /// What is still paused.
    pauses: Vec<PauseOut>,
}

/// Lists what is paused, and what waits because of it.
#[utoipa::path(
    get, path = "/v1/admin/pauses", tag = "system",
    security(("key" = ["read"]), ("session" = [])),
    responses((status = 200, description = "The pauses", body = PausesOut)),
)]
pub async fn list_pauses(
    State(app): State<App>,
    _: Caller<Read>,
) -> Result<Json<PausesOut>, ApiError> {
    Ok(Json(PausesOut {
        pauses: lasting(&app).await?,
    }))
}

/// Pauses everything, a journey or a category. Nothing that it covers is sent, and everything goes on being
/// stored. An attempt that began is finished. What is paused already stays as it is.
#[utoipa::path(
    post, path = "/v1/admin/pause", tag = "system",
    security(("key" = ["full-admin"]), ("session" = [])),
    request_body = ScopeIn,
    responses((status = 200, description = "What is paused now", body = PausesOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn begin_pause(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    JsonBody(body): JsonBody<ScopeIn>,
) -> Result<Json<PausesOut>, ApiError> {
    let scope = body.scope(&app, true)?;
    let (reason, now) = (body.reason.as_deref(), app.clock.now());
    pause(&app.db, &caller.actor, &scope, reason, now).await?;
    Ok(Json(PausesOut {
        pauses: lasting(&app).await?,
    }))
}

/// Ends a pause. What it held goes on within seconds, paced.
#[utoipa::path(
    post, path = "/v1/admin/resume", tag = "system",
    security(("key" = ["full-admin"]), ("session" = [])),
    request_body = ScopeIn,
    responses((status = 200, description = "Whether something was paused", body = ResumedOut), (status = 400, response = BadRequest)),
)]
pub async fn end_pause(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    JsonBody(body): JsonBody<ScopeIn>,
) -> Result<Json<ResumedOut>, ApiError> {
    let scope = body.scope(&app, false)?;
    let ended = resume(&app.db, &caller.actor, &scope, app.clock.now()).await?;
    Ok(Json(ResumedOut {
        resumed: ended.is_some(),
        pauses: lasting(&app).await?,
    }))
}

async fn lasting(app: &App) -> db::Result<Vec<PauseOut>> {
    let mut conn = app.db.report().await?;
    let pauses = Pauses::load(&mut conn, app.clock.now()).await?;
    let mut out = Vec::new();
    for pause in pauses.lasting() {
        out.push(PauseOut::of(&mut conn, pause).await?);
    }
    Ok(out)
}
