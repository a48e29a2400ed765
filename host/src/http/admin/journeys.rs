//! Journeys: showing them, switching them on and off, and enrolling contacts by hand.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use hogsend_plugin_api::journey::{Definition, EventMatch, Late};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::lookup::unknown_journey;
use super::states::{self, StateOut};
use crate::app::App;
use crate::catalog::JourneyEntry;
use crate::contacts::Paths;
use crate::db::{self, Conn, NewIdentity, RunCount, SkipCount};
use crate::enrolment::switch;
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Caller, JourneyAdmin, Read};
use crate::http::wire::body::JsonBody;
use crate::http::wire::names::names_at;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, ErrorOut, NotFound};
use crate::http::wire::paging::{Part, PartParams};
use crate::http::wire::params::{Name, Path};
use crate::ids::StateId;
use crate::ingest::{self, Enrolled};
use crate::pauses::{Pauses, Scope, pause, resume};
use crate::states::{PauseCause, PauseScope, RunState};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_journeys))
        .routes(routes!(show_journey, change_journey))
        .routes(routes!(enroll_person))
        .routes(routes!(enroll_people))
}

/// Contacts per request.
const PEOPLE_MAX: usize = 500;

/// An event, by name and an optional condition.
#[derive(Serialize, ToSchema)]
pub struct TriggerOut {
    #[schema(example = "test.signup")]
    event: String,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    condition: Option<Value>,
}

impl From<&EventMatch> for TriggerOut {
    fn from(wanted: &EventMatch) -> Self {
        Self {
            event: wanted.event.clone(),
            condition: wanted.condition.as_ref().map(|it| json!(it)),
        }
    }
}

/// Runs by status.
#[derive(Default, Serialize, ToSchema)]
pub struct CountsOut {
    active: i64,
    waiting: i64,
    completed: i64,
    failed: i64,
    exited: i64,
    stuck: i64,
}

/// The pause of a journey.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HoldOut {
    since: DateTime<Utc>,
    cause: PauseCause,
    reason: Option<String>,
    paused_by: String,
}

/// A journey.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JourneyOut {
    id: String,
    name: String,
    description: Option<String>,
    /// Whether the journey enrols contacts. Open runs continue in any case.
    enabled: bool,
    /// Whether the journey is paused: its runs and mails wait, and entries into it are held.
    held: bool,
    /// Why it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<HoldOut>,
    plugin: String,
    version: u32,
    trigger: TriggerOut,
    /// Whether only events from trusted sources enrol.
    trusted: bool,
    /// How many milliseconds after it occurred an event may arrive and still enrol; null means no limit.
    late: Option<u64>,
    /// `"once"`, `"unlimited"` or `{"once_per_ms": milliseconds}`.
    #[schema(value_type = Value)]
    entry_limit: Value,
    counts: CountsOut,
    /// Refused enrolments, by reason. `held` counts the entries that wait until a pause ends.
    skips: BTreeMap<String, i64>,
}

#[derive(Serialize, ToSchema)]
pub struct JourneysOut {
    journeys: Vec<JourneyOut>,
    total: i64,
    limit: i64,
    offset: i64,
}

/// A journey with its exit events and newest runs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JourneyStoryOut {
    #[serde(flatten)]
    journey: JourneyOut,
    /// Events that end its runs.
    exit_on: Vec<TriggerOut>,
    /// The minimum interval between two of its mails to one contact, in milliseconds.
    suppress: u64,
    recent_states: Vec<StateOut>,
}

#[derive(Serialize, ToSchema)]
pub struct OneJourneyOut {
    journey: JourneyStoryOut,
}

/// Lists the journeys, ordered by id.
#[utoipa::path(
    get, path = "/v1/admin/journeys", tag = "journeys",
    security(("key" = ["read"]), ("session" = [])),
    params(PartParams),
    responses((status = 200, description = "A page of journeys", body = JourneysOut), (status = 400, response = BadRequest)),
)]
pub async fn list_journeys(
    State(app): State<App>,
    _: Caller<Read>,
    page: Part,
) -> Result<Json<JourneysOut>, ApiError> {
    let mut conn = app.db.report().await?;
    let facts = Facts {
        disabled: db::journeys_disabled(&mut conn).await?,
        holds: holds(&mut conn, app.clock.now()).await?,
        counts: db::journey_counts(&mut conn, None).await?,
        skips: skips(&mut conn, None).await?,
    };
    let catalog = app.catalog();
    let all: Vec<_> = catalog.journeys().collect();
    let skip = usize::try_from(page.offset).unwrap_or(usize::MAX);
    let take = usize::try_from(page.limit).unwrap_or_default();
    let journeys = all.iter().skip(skip).take(take);
    Ok(Json(JourneysOut {
        journeys: journeys.map(|entry| facts.of(entry)).collect(),
        total: i64::try_from(all.len()).unwrap_or_default(),
        limit: page.limit,
        offset: page.offset,
    }))
}

/// Shows a journey with its newest runs.
#[utoipa::path(
    get, path = "/v1/admin/journeys/{id}", tag = "journeys",
    security(("key" = ["read"]), ("session" = [])),
    params(("id" = String, Path)),
    responses((status = 200, description = "The journey", body = OneJourneyOut), (status = 404, response = NotFound)),
)]
pub async fn show_journey(
    State(app): State<App>,
    _: Caller<Read>,
    Path(Name(id)): Path<Name>,
) -> Result<Json<OneJourneyOut>, ApiError> {
    story(&app, &id).await
}

#[derive(Deserialize, ToSchema)]
pub struct JourneyChangeIn {
    enabled: Option<bool>,
    /// True pauses the journey, false resumes it.
    held: Option<bool>,
}

/// Switches a journey on or off, or holds and releases it. While off it enrols nobody and open runs continue.
/// While held, its runs and mails wait and entries are kept; on release all of them go on, paced.
#[utoipa::path(
    patch, path = "/v1/admin/journeys/{id}", tag = "journeys",
    security(("key" = ["journey-admin"]), ("session" = [])),
    params(("id" = String, Path)),
    request_body = JourneyChangeIn,
    responses(
        (status = 200, description = "The journey as it is now", body = OneJourneyOut),
        (status = 400, response = BadRequest), (status = 404, response = NotFound),
        (status = 409, description = "The settings or the journey's code switch it off", body = ErrorOut),
    ),
)]
pub async fn change_journey(
    State(app): State<App>,
    caller: Caller<JourneyAdmin>,
    Path(Name(id)): Path<Name>,
    JsonBody(body): JsonBody<JourneyChangeIn>,
) -> Result<Json<OneJourneyOut>, ApiError> {
    let catalog = app.catalog();
    let entry = catalog.journey(&id).ok_or_else(unknown_journey)?;
    if body.enabled.is_none() && body.held.is_none() {
        let issue = Issue::new(
            "enabled",
            "is required, true or false, unless held is given",
        );
        return Err(ApiError::validation(&[issue]));
    }
    if let Some(enabled) = body.enabled {
        switch(&app, &caller.actor, entry, enabled).await?;
    }
    let (scope, now) = (Scope::Journey(id.clone()), app.clock.now());
    match body.held {
        Some(true) => {
            pause(&app.db, &caller.actor, &scope, None, now).await?;
        }
        // A journey that is not held keeps its spike guard.
        Some(false)
            if db::journeys_paused(&mut *app.db.conn().await?)
                .await?
                .contains(&id) =>
        {
            resume(&app.db, &caller.actor, &scope, now).await?;
        }
        Some(false) | None => {}
    }
    story(&app, &id).await
}

/// A contact to enrol. At least one of `userId` and `userEmail` is required.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnrollIn {
    user_id: Option<String>,
    user_email: Option<String>,
    /// The properties the trigger event would have.
    #[schema(value_type = Option<Object>)]
    properties: Option<Properties>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnrolledOut {
    enrolled: bool,
    /// Why the enrolment was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_id: Option<StateId>,
}

impl From<Enrolled> for EnrolledOut {
    fn from(result: Enrolled) -> Self {
        Self {
            enrolled: result.is_ok(),
            reason: result.err(),
            state_id: result.ok(),
        }
    }
}

/// Enrols a contact in this journey only. The journey's entry rules apply; no event is stored.
#[utoipa::path(
    post, path = "/v1/admin/journeys/{id}/enroll", tag = "journeys",
    security(("key" = ["journey-admin"]), ("session" = [])),
    params(("id" = String, Path)),
    request_body = EnrollIn,
    responses((status = 202, description = "Whether the contact was enrolled", body = EnrolledOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn enroll_person(
    State(app): State<App>,
    caller: Caller<JourneyAdmin>,
    Path(Name(id)): Path<Name>,
    JsonBody(body): JsonBody<EnrollIn>,
) -> Result<(StatusCode, Json<EnrolledOut>), ApiError> {
    let entry = app
        .catalog()
        .journey(&id)
        .ok_or_else(unknown_journey)?
        .clone();
    let person = body.check("")?;
    let result = ingest::enrol(&app, &caller.actor, &entry, &[person])
        .await?
        .pop();
    let out = result.ok_or(ingest::NOT_STORED)?.into();
    Ok((StatusCode::ACCEPTED, Json(out)))
}

#[derive(Deserialize, ToSchema)]
pub struct EnrollBatchIn {
    #[schema(value_type = Vec<EnrollIn>, min_items = 1, max_items = 500)]
    users: Option<Vec<EnrollIn>>,
}

#[derive(Serialize, ToSchema)]
pub struct EnrollBatchOut {
    /// One for each contact, in the order of the request.
    results: Vec<EnrolledOut>,
}

/// Enrols up to 500 contacts in this journey only. All are validated before the first is enrolled.
#[utoipa::path(
    post, path = "/v1/admin/journeys/{id}/enroll/batch", tag = "journeys",
    security(("key" = ["journey-admin"]), ("session" = [])),
    params(("id" = String, Path)),
    request_body = EnrollBatchIn,
    responses((status = 202, description = "Whether each contact was enrolled", body = EnrollBatchOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn enroll_people(
    State(app): State<App>,
    caller: Caller<JourneyAdmin>,
    Path(Name(id)): Path<Name>,
    JsonBody(body): JsonBody<EnrollBatchIn>,
) -> Result<(StatusCode, Json<EnrollBatchOut>), ApiError> {
    let entry = app
        .catalog()
        .journey(&id)
        .ok_or_else(unknown_journey)?
        .clone();
    let users = body.users.unwrap_or_default();
    if users.is_empty() || users.len() > PEOPLE_MAX {
        let issue = Issue::new("users", format!("must hold 1 to {PEOPLE_MAX} people"));
        return Err(ApiError::validation(&[issue]));
    }
    let mut people = Vec::with_capacity(users.len());
    for (index, user) in users.into_iter().enumerate() {
        people.push(user.check(&format!("users.{index}: "))?);
    }
    let results = ingest::enrol(&app, &caller.actor, &entry, &people).await?;
    let results = results.into_iter().map(EnrolledOut::from).collect();
    Ok((StatusCode::ACCEPTED, Json(EnrollBatchOut { results })))
}

impl EnrollIn {
    fn check(self, prefix: &str) -> Result<(NewIdentity, Properties), ApiError> {
        let nobody = format!("{prefix}userId or userEmail is required");
        if self.user_id.is_none() && self.user_email.is_none() {
            return Err(ApiError::validation(&[Issue::new("", nobody)]));
        }
        let identity = NewIdentity {
            external_id: self.user_id,
            email: self.user_email,
            ..NewIdentity::default()
        };
        let properties = self.properties.unwrap_or_default();
        let paths = Paths {
            user_id: "userId",
            email: "userEmail",
            properties: "properties",
            nobody: "userId or userEmail is required",
        };
        let identity = names_at(identity, &properties, false, &paths)?;
        Ok((identity, properties))
    }
}

/// The switches, counts and skips of all journeys.
struct Facts {
    disabled: HashSet<String>,
    holds: HashMap<String, HoldOut>,
    counts: Vec<RunCount>,
    skips: Vec<SkipCount>,
}

impl Facts {
    fn of(&self, entry: &JourneyEntry) -> JourneyOut {
        let definition = &entry.definition;
        let runs = self
            .counts
            .iter()
            .filter(|one| one.journey_id == definition.id);
        let counts: BTreeMap<RunState, i64> = runs.map(|one| (one.status, one.count)).collect();
        let count = |status: RunState| counts.get(&status).copied().unwrap_or_default();
        let skips = self
            .skips
            .iter()
            .filter(|one| one.journey_id == definition.id);
        let enabled = definition.enabled && entry.selected;
        JourneyOut {
            id: definition.id.clone(),
            name: definition.name.clone(),
            description: definition.description.clone(),
            enabled: enabled && !self.disabled.contains(&definition.id),
            held: self.holds.contains_key(&definition.id),
            hold: self.holds.get(&definition.id).cloned(),
            plugin: entry.plugin.id().to_owned(),
            version: definition.version,
            trigger: (&definition.trigger).into(),
            trusted: definition.trusted,
            late: late(definition),
            entry_limit: json!(definition.entry),
            counts: CountsOut {
                active: count(RunState::Active),
                waiting: count(RunState::Waiting),
                completed: count(RunState::Completed),
                failed: count(RunState::Failed),
                exited: count(RunState::Exited),
                stuck: count(RunState::Stuck),
            },
            skips: skips.fold(BTreeMap::new(), |mut all, one| {
                *all.entry(one.reason.clone()).or_default() += one.count;
                all
            }),
        }
    }
}

fn late(definition: &Definition) -> Option<u64> {
    match definition.late {
        Late::SkipAfterMs(ms) => Some(ms),
        _ => None,
    }
}

/// The pauses of journeys, by id.
async fn holds(conn: &mut Conn, now: DateTime<Utc>) -> db::Result<HashMap<String, HoldOut>> {
    let pauses = Pauses::load(conn, now).await?;
    let journeys = pauses
        .lasting()
        .filter(|pause| pause.scope == PauseScope::Journey);
    let holds = journeys.map(|pause| {
        let hold = HoldOut {
            since: pause.since,
            cause: pause.cause,
            reason: pause.reason.clone(),
            paused_by: pause.paused_by.clone(),
        };
        (pause.name.clone(), hold)
    });
    Ok(holds.collect())
}

/// Refused and held entries.
async fn skips(conn: &mut Conn, journey: Option<&str>) -> db::Result<Vec<SkipCount>> {
    let mut skips = db::journey_skips(conn, journey).await?;
    skips.extend(db::held_counts(conn, journey).await?);
    Ok(skips)
}

async fn story(app: &App, id: &str) -> Result<Json<OneJourneyOut>, ApiError> {
    let catalog = app.catalog();
    let entry = catalog.journey(id).ok_or_else(unknown_journey)?;
    let mut conn = app.db.report().await?;
    let facts = Facts {
        disabled: db::journeys_disabled(&mut conn).await?,
        holds: holds(&mut conn, app.clock.now()).await?,
        counts: db::journey_counts(&mut conn, Some(id)).await?,
        skips: skips(&mut conn, Some(id)).await?,
    };
    let journey = JourneyStoryOut {
        journey: facts.of(entry),
        exit_on: entry
            .definition
            .exit_on
            .iter()
            .map(TriggerOut::from)
            .collect(),
        suppress: entry.definition.suppress_ms,
        recent_states: states::recent(&mut conn, id).await?,
    };
    Ok(Json(OneJourneyOut { journey }))
}
