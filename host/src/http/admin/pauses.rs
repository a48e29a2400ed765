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
use crate::http::wire::openapi::{BadRequest, ErrorOut, NotFound, Routes};
use crate::mail::{self, Plan};
use crate::pauses::{Pauses, Scope, pause, resume};
use crate::restore;
use crate::states::{PauseCause, PauseScope};

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

/// What goes on: a journey, a category, everything, or a database that was restored or copied.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ResumeIn {
    /// The id of a journey: its runs, its mails and entries into it.
    journey: Option<String>,
    /// A category: its mails.
    category: Option<String>,
    /// Ignored: a resume needs no reason.
    reason: Option<String>,
    /// Accepts a database that was restored, copied or moved, and sends what is still useful. Without journey
    /// and category.
    after_restore: Option<bool>,
    /// With `afterRestore`: `API_PUBLIC_URL` of the workers from now on, instead of the one that a worker was
    /// started with.
    public_url: Option<String>,
    /// With `afterRestore`: only says what would be sent and skipped.
    dry_run: Option<bool>,
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
    #[schema(value_type = PauseCause)]
    cause: PauseCause,
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
            cause: pause.cause,
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
    /// False if nothing was paused, and with `dryRun`.
    resumed: bool,
    /// What is still paused.
    pauses: Vec<PauseOut>,
    /// With `afterRestore`: what is sent and skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanOut>,
}

/// What waits in the database.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanOut {
    /// Mails that wait, by template.
    mails: Vec<PlannedOut>,
    /// Open runs, which may decide on further mails.
    open_runs: i64,
    /// Those of them that go on at once.
    due_runs: i64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedOut {
    template: String,
    send: i64,
    /// Past their last useful moment.
    skip: i64,
    /// The last attempt has no answer: repeated under the same key, or ended as ambiguous.
    in_doubt: i64,
}

impl From<Plan> for PlanOut {
    fn from(plan: Plan) -> Self {
        let mails = plan.mails.into_iter().map(|one| PlannedOut {
            template: one.template_key,
            send: one.send,
            skip: one.skip,
            in_doubt: one.in_doubt,
        });
        Self {
            mails: mails.collect(),
            open_runs: plan.runs.open,
            due_runs: plan.runs.due,
        }
    }
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

/// Ends a pause. What it held goes on within seconds, paced. The spike guard leaves a journey that is resumed
/// alone for a day, also where it was not paused: do so before many contacts are to enter it on purpose.
///
/// With `afterRestore` it accepts a database that was restored, copied or moved; a plain resume of everything is
/// refused while such a database waits.
#[utoipa::path(
    post, path = "/v1/admin/resume", tag = "system",
    security(("key" = ["full-admin"]), ("session" = [])),
    request_body = ResumeIn,
    responses(
        (status = 200, description = "Whether something was paused", body = ResumedOut),
        (status = 400, response = BadRequest),
        (status = 409, description = "The database was restored or copied and has to be accepted", body = ErrorOut),
    ),
)]
pub async fn end_pause(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    JsonBody(body): JsonBody<ResumeIn>,
) -> Result<Json<ResumedOut>, ApiError> {
    let now = app.clock.now();
    let scope = ScopeIn {
        journey: body.journey,
        category: body.category,
        reason: body.reason,
    };
    let scope = scope.scope(&app, false)?;
    if body.after_restore != Some(true) {
        if body.public_url.is_some() || body.dry_run.is_some() {
            let message = "must be true with publicUrl and dryRun";
            return Err(ApiError::validation(&[Issue::new("afterRestore", message)]));
        }
        let ended = resume(&app.db, &caller.actor, &scope, now).await?;
        return Ok(Json(ResumedOut {
            resumed: ended.is_some(),
            pauses: lasting(&app).await?,
            plan: None,
        }));
    }
    if scope != Scope::Everything {
        let message = "concerns the whole database: leave journey and category out";
        return Err(ApiError::validation(&[Issue::new("afterRestore", message)]));
    }
    let plan = mail::plan(&mut *app.db.report().await?, now).await?;
    let mut resumed = false;
    if body.dry_run != Some(true) {
        let url = body.public_url.as_deref();
        let accepted = restore::accept(&app.db, &caller.actor, url, now).await?;
        resumed = accepted.pause.is_some();
    }
    Ok(Json(ResumedOut {
        resumed,
        pauses: lasting(&app).await?,
        plan: Some(plan.into()),
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
