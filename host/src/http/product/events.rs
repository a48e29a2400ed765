//! Events from the product's own code.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::contacts::list_issues;
use crate::app::App;
use crate::contacts::Person;
use crate::contacts::consent::Lists;
use crate::db::NewIdentity;
use crate::enrolment::Exit;
use crate::foreign::Issue;
use crate::foreign::{self, DEDUPE_KEY_MAX, ISSUES_MAX};
use crate::http::ApiError;
use crate::http::auth::{Actor, Caller, Events, Scope};
use crate::http::wire::body::{JsonBody, idempotency_key};
use crate::http::wire::openapi::BadRequest;
use crate::http::wire::openapi::Routes;
use crate::ingest::{IngestError, Ingested, NewEvent, Paths, check_from_outside};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(ingest_event))
        .routes(routes!(create_event))
        .routes(routes!(create_events))
}

/// The source of events sent to the HTTP API. `/v1/ingest` and `/v1/events` share idempotency keys.
const SOURCE: &str = "api";
/// Events in one request.
const EVENTS_MAX: usize = 1_000;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngestIn {
    #[schema(value_type = String, example = "test.signup")]
    event: Option<String>,
    /// The product's id of the contact.
    #[schema(value_type = String, example = "u1")]
    user_id: Option<String>,
    user_email: Option<String>,
    #[schema(value_type = Option<Object>)]
    properties: Option<Properties>,
    /// A repeated key stores nothing.
    idempotency_key: Option<String>,
    /// When the event occurred; now by default.
    #[schema(value_type = Option<DateTime<Utc>>)]
    timestamp: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct IngestOut {
    /// False for a repeated key.
    stored: bool,
    /// Every open run of this contact whose journey has exit events.
    exits: Vec<Exit>,
}

/// Stores an event. The response is sent after the commit; a repeated `idempotencyKey` stores nothing.
#[utoipa::path(
    post, path = "/v1/ingest", tag = "events",
    security(("key" = ["events"])),
    request_body = IngestIn,
    responses((status = 202, description = "The event is stored", body = IngestOut), (status = 400, response = BadRequest)),
)]
pub async fn ingest_event(
    State(app): State<App>,
    _: Caller<Events>,
    JsonBody(body): JsonBody<IngestIn>,
) -> Result<(StatusCode, Json<IngestOut>), ApiError> {
    let mut issues = Vec::new();
    let event = NewEvent {
        source: SOURCE.into(),
        trust: Trust::Trusted,
        historical: false,
        caught_up: false,
        dedupe_key: body.idempotency_key,
        name: required("event", body.event, &mut issues),
        person: Person::Names(NewIdentity {
            external_id: Some(required("userId", body.user_id, &mut issues)),
            email: body.user_email,
            ..NewIdentity::default()
        }),
        properties: body.properties.unwrap_or_default(),
        contact_properties: Properties::new(),
        lists: Lists::default(),
        occurred_at: timestamp(body.timestamp.as_deref(), &mut issues),
        depth: 0,
        unfit: Vec::new(),
        traceparent: None,
    };
    let paths = Paths {
        name: "event",
        user_id: "userId",
        email: "userEmail",
        properties: "properties",
        nobody: "userId is required",
        ..Paths::API
    };
    let stored = store(&app, event, &paths, issues).await?;
    let out = IngestOut {
        stored: stored.stored,
        exits: stored.exits,
    };
    Ok((StatusCode::ACCEPTED, Json(out)))
}

/// An event of a contact. At least one of `email`, `userId` and `anonymousId` is required.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventIn {
    #[schema(value_type = String, example = "feature.used")]
    name: Option<String>,
    email: Option<String>,
    #[schema(example = "u1")]
    user_id: Option<String>,
    anonymous_id: Option<String>,
    #[schema(value_type = Option<Object>)]
    event_properties: Option<Properties>,
    /// Merged into the contact's properties; null removes a property.
    #[schema(value_type = Option<Object>)]
    contact_properties: Option<Properties>,
    /// List id to whether the contact is on it. Unknown lists, and lists the contact left unless
    /// `consent` is true, are skipped and named in `listsError`. Requires the scope `ingest`.
    lists: Option<BTreeMap<String, bool>>,
    /// True records that the contact consents to rejoin lists they left; it is audited. Requires the
    /// scope `ingest`.
    consent: Option<bool>,
    /// True stores the event as history only: it enrols nobody, ends no run, satisfies no wait and
    /// overwrites no property of the contact.
    historical: Option<bool>,
    /// A repeated key stores nothing.
    idempotency_key: Option<String>,
    /// When the event occurred; now by default.
    #[schema(value_type = Option<DateTime<Utc>>)]
    timestamp: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventOut {
    /// False for a repeated key.
    stored: bool,
    /// Every open run of this contact whose journey has exit events.
    exits: Vec<Exit>,
    /// The identifier of the contact.
    contact_key: Option<String>,
    /// The entries of `lists` that were skipped, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    lists_error: Option<String>,
}

/// Stores an event, with separate properties of the event and of the contact. The header
/// `Idempotency-Key` takes precedence over the body's key.
#[utoipa::path(
    post, path = "/v1/events", tag = "events",
    security(("key" = ["events"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Takes precedence over the body's key")),
    request_body = EventIn,
    responses((status = 202, description = "The event is stored", body = EventOut), (status = 400, response = BadRequest)),
)]
pub async fn create_event(
    State(app): State<App>,
    caller: Caller<Events>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<EventIn>,
) -> Result<(StatusCode, Json<EventOut>), ApiError> {
    body.check_scope(&caller)?;
    let key = idempotency_key(&headers, body.idempotency_key.as_deref())?;
    let mut issues = Vec::new();
    let mut event = body.into_event(&caller.actor, &mut issues);
    event.dedupe_key = key;
    let stored = store(&app, event, &Paths::API, issues).await?;
    let out = EventOut {
        stored: stored.stored,
        exits: stored.exits,
        contact_key: stored.contact_key,
        lists_error: stored.lists_error,
    };
    Ok((StatusCode::ACCEPTED, Json(out)))
}

impl EventIn {
    /// Callers that may only send events must not change lists.
    fn check_scope(&self, caller: &Caller<Events>) -> Result<(), ApiError> {
        let lists = self.lists.as_ref().is_some_and(|lists| !lists.is_empty());
        if (lists || self.consent.is_some()) && !caller.may(Scope::Ingest) {
            return Err(ApiError::forbidden(
                "Forbidden: insufficient scope: `lists` and `consent` require the scope `ingest`",
            ));
        }
        Ok(())
    }

    fn into_event(self, actor: &Actor, issues: &mut Vec<Issue>) -> NewEvent {
        let changes = self.lists.unwrap_or_default();
        issues.extend(list_issues(&changes));
        NewEvent {
            lists: Lists {
                changes,
                consent: self.consent == Some(true),
                by: actor.by(),
            },
            source: SOURCE.into(),
            trust: Trust::Trusted,
            historical: self.historical == Some(true),
            caught_up: false,
            dedupe_key: self.idempotency_key,
            name: required("name", self.name, issues),
            person: Person::Names(NewIdentity {
                external_id: self.user_id,
                email: self.email,
                anonymous_id: self.anonymous_id,
                ..NewIdentity::default()
            }),
            properties: self.event_properties.unwrap_or_default(),
            contact_properties: self.contact_properties.unwrap_or_default(),
            occurred_at: timestamp(self.timestamp.as_deref(), issues),
            depth: 0,
            unfit: Vec::new(),
            traceparent: None,
        }
    }
}

/// Up to 1000 events.
#[derive(Deserialize, ToSchema)]
pub struct EventsIn {
    #[schema(min_items = 1, max_items = 1000)]
    events: Vec<EventIn>,
    /// The default for events without a `historical` of their own.
    historical: Option<bool>,
}

#[derive(Serialize, ToSchema)]
pub struct EventsOut {
    /// One for each event, in the order of the request.
    results: Vec<EventOut>,
}

/// Stores up to 1000 events in one transaction, all of them or none.
///
/// With the header `Idempotency-Key`, an event without a key of its own gets `<key>#<i>`, where `i` is
/// its position from 0.
#[utoipa::path(
    post, path = "/v1/events/batch", tag = "events",
    security(("key" = ["events"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Key of the whole request")),
    request_body = EventsIn,
    responses((status = 202, description = "The events are stored", body = EventsOut), (status = 400, response = BadRequest)),
)]
pub async fn create_events(
    State(app): State<App>,
    caller: Caller<Events>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<EventsIn>,
) -> Result<(StatusCode, Json<EventsOut>), ApiError> {
    if body.events.is_empty() || body.events.len() > EVENTS_MAX {
        let message = format!("must hold 1 to {EVENTS_MAX} events");
        return Err(ApiError::validation(&[Issue::new("events", message)]));
    }
    for event in &body.events {
        event.check_scope(&caller)?;
    }
    let key = idempotency_key(&headers, None)?;
    let now = app.clock.now();
    let read = move || read_events(body, &caller.actor, key.as_deref(), now);
    let read = tokio::task::spawn_blocking(read).await;
    let events = read.map_err(|error| ApiError::internal(&error))?;
    let events = events.map_err(|issues| ApiError::validation(&issues))?;
    let stored = app.ingestor.ingest(events).await;
    let stored = stored.map_err(|error| match error {
        IngestError::NoRoom(no_room) => {
            ApiError::validation(&no_room.issues(|at| format!("events.{at}.contactProperties")))
        }
        error => error.into(),
    })?;
    let results = stored.into_iter().map(|one| EventOut {
        stored: one.stored,
        exits: one.exits,
        contact_key: one.contact_key,
        lists_error: one.lists_error,
    });
    let out = EventsOut {
        results: results.collect(),
    };
    Ok((StatusCode::ACCEPTED, Json(out)))
}

/// The events of a batch, or the problems of all of them, up to the limit of reported problems.
fn read_events(
    given: EventsIn,
    actor: &Actor,
    key: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, Vec<Issue>> {
    let mut issues = Vec::new();
    let EventsIn {
        events: given,
        historical,
    } = given;
    let mut events = Vec::with_capacity(given.len());
    for (at, one) in given.into_iter().enumerate() {
        let mut own = Vec::new();
        let one = EventIn {
            historical: one.historical.or(historical),
            ..one
        };
        let mut event = one.into_event(actor, &mut own);
        if let (None, Some(key)) = (&event.dedupe_key, key) {
            event.dedupe_key = Some(foreign::key(&format!("{key}#{at}"), DEDUPE_KEY_MAX));
        }
        for issue in check_from_outside(&event, now, &Paths::API) {
            if !own.iter().any(|known| known.path == issue.path) {
                own.push(issue);
            }
        }
        issues.extend(own.into_iter().map(|issue| {
            let path = format!("events.{at}.{}", issue.path);
            Issue::new(path.trim_end_matches('.'), issue.message)
        }));
        if issues.len() >= ISSUES_MAX {
            break;
        }
        events.push(event);
    }
    if issues.is_empty() {
        Ok(events)
    } else {
        Err(issues)
    }
}

async fn store(
    app: &App,
    event: NewEvent,
    paths: &Paths,
    mut issues: Vec<Issue>,
) -> Result<Ingested, ApiError> {
    for issue in check_from_outside(&event, app.clock.now(), paths) {
        // A missing field is reported once.
        if !issues.iter().any(|known| known.path == issue.path) {
            issues.push(issue);
        }
    }
    if !issues.is_empty() {
        return Err(ApiError::validation(&issues));
    }
    let mut results = app.ingestor.ingest(vec![event]).await?;
    results
        .pop()
        .ok_or_else(|| ApiError::unavailable("The event was not stored", 1))
}

fn required(path: &str, value: Option<String>, issues: &mut Vec<Issue>) -> String {
    value.unwrap_or_else(|| {
        issues.push(Issue::new(path, "is required"));
        String::new()
    })
}

fn timestamp(text: Option<&str>, issues: &mut Vec<Issue>) -> Option<DateTime<Utc>> {
    let text = text?;
    match DateTime::parse_from_rfc3339(text) {
        Ok(at) => Some(at.to_utc()),
        Err(_) => {
            let message = "must be an RFC 3339 time such as 2026-01-31T09:30:00Z";
            issues.push(Issue::new("timestamp", message));
            None
        }
    }
}
