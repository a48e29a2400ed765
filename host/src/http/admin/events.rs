//! Stored events, and replaying them to journeys.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::db::{self, EventFilter, EventStory};
use crate::enrolment::{Replay, replay};
use crate::foreign::Issue;
use crate::http::ApiError;
use crate::http::auth::{Caller, FullAdmin, Read};
use crate::http::wire::body::JsonBody;
use crate::http::wire::openapi::Routes;
use crate::http::wire::openapi::{BadRequest, NotFound};
use crate::http::wire::paging::{CursorParam, Page, PartParams};
use crate::http::wire::params::{Path, Query, time};
use crate::ids::{ContactId, EventId};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_events))
        .routes(routes!(show_event))
        .routes(routes!(replay_events))
}

/// Events one request replays.
const REPLAY_MAX: i64 = 1_000;
/// How long the query for the events may take.
const FINDING: Duration = Duration::from_secs(12);
/// Events one request names by id.
const IDS_MAX: usize = 100;

/// A stored event.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventRowOut {
    id: EventId,
    /// Its name.
    event: String,
    /// The same as `event`.
    name: String,
    /// Where it came from: `api`, the id of a plugin, or `journey`.
    source: String,
    contact_id: ContactId,
    /// The product's id of the contact.
    user_id: Option<String>,
    email: Option<String>,
    /// The same as `email`.
    user_email: Option<String>,
    #[schema(value_type = Object)]
    properties: Properties,
    /// Whether its source is trusted.
    trusted: bool,
    /// Whether it was stored as history only: it enrolled nobody, ended no run and satisfied no wait.
    historical: bool,
    occurred_at: DateTime<Utc>,
    received_at: DateTime<Utc>,
}

impl From<EventStory> for EventRowOut {
    fn from(story: EventStory) -> Self {
        Self {
            id: story.id,
            event: story.name.clone(),
            name: story.name,
            source: story.source,
            contact_id: story.contact_id,
            user_id: story.user_id,
            user_email: story.email.clone(),
            email: story.email,
            properties: story.properties.0,
            trusted: story.trusted,
            historical: story.historical,
            occurred_at: story.occurred_at,
            received_at: story.received_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventRowsOut {
    events: Vec<EventRowOut>,
    /// Counted up to 100,000.
    total: i64,
    limit: i64,
    offset: i64,
    /// Null on the last page.
    next_cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    name: Option<String>,
    /// Alias of `name`.
    event: Option<String>,
    source: Option<String>,
    contact_id: Option<Uuid>,
    /// The product's id of the contact.
    user_id: Option<String>,
    /// Only events that occurred at this time or later.
    #[serde(default, deserialize_with = "time")]
    since: Option<DateTime<Utc>>,
    /// Only events that occurred before this time.
    #[serde(default, deserialize_with = "time")]
    until: Option<DateTime<Utc>>,
}

/// Lists events, the most recently received first.
#[utoipa::path(
    get, path = "/v1/admin/events", tag = "events",
    security(("key" = ["read"]), ("session" = [])),
    params(EventsQuery, PartParams, CursorParam),
    responses((status = 200, description = "A page of events", body = EventRowsOut), (status = 400, response = BadRequest)),
)]
pub async fn list_events(
    State(app): State<App>,
    _: Caller<Read>,
    Query(query): Query<EventsQuery>,
    page: Page,
) -> Result<Json<EventRowsOut>, ApiError> {
    let filter = EventFilter {
        name: query.name.or(query.event),
        source: query.source,
        contact: query.contact_id.map(ContactId),
        user: query.user_id,
        since: query.since,
        until: query.until,
        after: page.after.map(|(_, id)| id),
        newer_than: None,
    };
    let mut conn = app.db.report().await?;
    let stories = db::event_stories(&mut conn, &filter, page.limit, page.offset).await?;
    let total = db::event_count(&mut conn, &filter).await?;
    Ok(Json(EventRowsOut {
        next_cursor: page.next_cursor(stories.iter().map(|one| (one.received_at, one.id.0))),
        events: stories.into_iter().map(EventRowOut::from).collect(),
        total,
        limit: page.limit,
        offset: page.offset,
    }))
}

#[derive(Serialize, ToSchema)]
pub struct OneEventOut {
    event: EventRowOut,
}

/// Shows one event.
#[utoipa::path(
    get, path = "/v1/admin/events/{id}", tag = "events",
    security(("key" = ["read"]), ("session" = [])),
    params(("id" = EventId, Path)),
    responses((status = 200, description = "The event", body = OneEventOut), (status = 404, response = NotFound)),
)]
pub async fn show_event(
    State(app): State<App>,
    _: Caller<Read>,
    Path(id): Path<EventId>,
) -> Result<Json<OneEventOut>, ApiError> {
    let mut conn = app.db.conn().await?;
    let story = db::event_story(&mut conn, id).await?;
    let event = story
        .ok_or_else(|| ApiError::not_found("Event not found"))?
        .into();
    Ok(Json(OneEventOut { event }))
}

/// Which events to replay: those of `eventIds`, or else those named `name`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayIn {
    #[schema(max_items = 100)]
    event_ids: Option<Vec<EventId>>,
    name: Option<String>,
    contact_id: Option<ContactId>,
    /// Only events that occurred at this time or later.
    #[serde(default, deserialize_with = "time")]
    since: Option<DateTime<Utc>>,
    /// Only events that occurred before this time.
    #[serde(default, deserialize_with = "time")]
    until: Option<DateTime<Utc>>,
    /// With `name`: only events received after this one. Takes the `continueAfter` of a response.
    after: Option<EventId>,
    /// Replay to this journey only; by default to every journey the events trigger.
    journey_id: Option<String>,
    /// True only counts the events and replays nothing.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayOut {
    /// Events found, at most 1,000.
    matched: usize,
    /// How many of them trigger a journey.
    replayed: usize,
    /// Runs that started.
    enrolled: usize,
    /// Refused enrolments, by reason.
    skipped: BTreeMap<&'static str, usize>,
    /// True if more events match; only the latest 1,000 were considered.
    truncated: bool,
    /// Present if the request ran out of time: the last event that was replayed. Repeat the request
    /// with it as `after` to continue.
    #[serde(skip_serializing_if = "Option::is_none")]
    continue_after: Option<EventId>,
}

/// Replays stored events to journeys, oldest first.
///
/// A journey that is new, or was switched off, enrols the contacts it would have enrolled. Its
/// entry rules apply as of now. No event is stored twice, and no run ends. If the database is slow,
/// the response carries `continueAfter` before all events are replayed.
#[utoipa::path(
    post, path = "/v1/admin/events/replay", tag = "events",
    security(("key" = ["full-admin"]), ("session" = [])),
    request_body = ReplayIn,
    responses((status = 202, description = "The number of events replayed and runs started", body = ReplayOut), (status = 400, response = BadRequest), (status = 404, response = NotFound)),
)]
pub async fn replay_events(
    State(app): State<App>,
    caller: Caller<FullAdmin>,
    JsonBody(body): JsonBody<ReplayIn>,
) -> Result<(StatusCode, Json<ReplayOut>), ApiError> {
    let problem = match (&body.event_ids, &body.name) {
        (None, None) => Some(("", "eventIds or name is required".to_owned())),
        (Some(ids), _) if ids.is_empty() || ids.len() > IDS_MAX => {
            Some(("eventIds", format!("must hold 1 to {IDS_MAX} ids")))
        }
        _ => None,
    };
    if let Some((path, message)) = problem {
        return Err(ApiError::validation(&[Issue::new(path, message)]));
    }
    if let Some(id) = &body.journey_id
        && app.catalog().journey(id).is_none()
    {
        return Err(super::lookup::unknown_journey());
    }
    let asked = Instant::now();
    let (events, truncated) = chosen(&app, &body).await?;
    if asked.elapsed() > FINDING && !body.dry_run {
        let message = "Finding the events took too long, and none was replayed: ask for less, by \
                       contactId, since or until";
        return Err(ApiError::unavailable(message, 60));
    }
    let mut out = ReplayOut {
        matched: events.len(),
        truncated,
        ..ReplayOut::default()
    };
    if !body.dry_run {
        let asked = Replay {
            events: &events,
            name: body.name.as_deref(),
            event_ids: body.event_ids.as_deref(),
            journey: body.journey_id.as_deref(),
        };
        let came = replay(&app, &caller.actor, asked).await?;
        out.replayed = came.replayed;
        out.enrolled = came.enrolled;
        out.skipped = came.skipped;
        out.continue_after = came.continue_after;
    }
    Ok((StatusCode::ACCEPTED, Json(out)))
}

/// The requested events, oldest first, and whether there are more.
async fn chosen(app: &App, body: &ReplayIn) -> Result<(Vec<EventStory>, bool), ApiError> {
    let filter = EventFilter {
        name: body.name.clone(),
        source: None,
        contact: body.contact_id,
        user: None,
        since: body.since,
        until: body.until,
        after: None,
        newer_than: body.after,
    };
    let mut conn = app.db.report().await?;
    let mut events = Vec::new();
    match &body.event_ids {
        Some(ids) => {
            for id in ids {
                events.extend(db::event_story(&mut conn, *id).await?);
            }
            events.sort_by_key(|event| event.id);
            events.dedup_by_key(|event| event.id);
            Ok((events, false))
        }
        None => {
            events = db::event_stories(&mut conn, &filter, REPLAY_MAX + 1, 0).await?;
            let most = usize::try_from(REPLAY_MAX).unwrap_or(usize::MAX);
            let truncated = events.len() > most;
            events.truncate(most);
            events.reverse();
            Ok((events, truncated))
        }
    }
}
