//! Webhooks of event sources.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use hogsend_plugin_api::{Reading, Refusal, Webhook};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::body::Raw;
use super::openapi::ErrorOut;
use super::params::{Name, Path};
use super::{ApiError, feedback};
use crate::app::App;
use crate::ingest::{Exit, NewEvent, admit};

/// Events of one webhook that are stored together. A vendor that repeats a webhook of which only a
/// part was stored is known by the events' own ids.
const TOGETHER: usize = 250;

/// What became of a webhook: the event it told, or why it told none.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookOut {
    #[schema(example = true)]
    ok: bool,
    /// The name of the first event.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exits: Option<Vec<Exit>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl WebhookOut {
    pub(super) fn taken() -> Self {
        Self {
            ok: true,
            ..Self::default()
        }
    }

    pub(super) fn skipped(reason: String) -> Self {
        Self {
            ok: true,
            skipped: Some(true),
            reason: Some(reason),
            ..Self::default()
        }
    }
}

/// Takes a webhook in. The plugin of that id gets the raw body and headers, and says what
/// happened; the answer follows the commit.
#[utoipa::path(
    post, path = "/v1/webhooks/{source}", tag = "webhooks",
    params(("source" = String, Path, description = "Id of an event-source plugin")),
    request_body(content = Object, description = "As the vendor sends it"),
    responses(
        (status = 200, description = "Taken in, or skipped", body = WebhookOut),
        (status = 400, description = "The plugin cannot read it; `details` says why", body = ErrorOut),
        (status = 401, description = "The secret or signature is wrong", body = ErrorOut),
        (status = 403, description = "In development: a page of another website called", body = ErrorOut),
        (status = 404, description = "No event source of this id", body = ErrorOut),
    ),
)]
pub async fn receive_webhook(
    State(app): State<App>,
    Path(Name(source)): Path<Name>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Json<WebhookOut>, ApiError> {
    let Some(plugin) = app.plugins.event_source(&source) else {
        // Providers of mail may be given the same short address.
        return match app.plugins.delivery(&source) {
            Some(_) => feedback::read(&app, &source, &headers, body).await,
            None => Err(ApiError::not_found("Unknown webhook source")),
        };
    };
    if app.closed_sources.contains(&source) {
        return Err(invalid_secret());
    }
    let webhook = webhook(&app, &headers, body);
    let events = match plugin
        .read(&webhook)
        .await
        .map_err(|error| ApiError::internal(&error))?
    {
        Ok(Reading::Events(events)) => events,
        Ok(Reading::Skipped { reason }) => {
            return Ok(Json(WebhookOut::skipped(reason)));
        }
        Err(Refusal::Unauthorized) => return Err(invalid_secret()),
        Err(Refusal::Invalid { details }) => return Err(invalid_payload(&details)),
    };
    let trust = app.trust(&source);
    let mut sound = Vec::with_capacity(events.len());
    let mut skipped = None;
    for event in events {
        let mut event = NewEvent::from_source(&source, trust, event);
        match admit(&mut event) {
            Ok(()) => sound.push(event),
            Err(reason) => skipped = skipped.or(Some(reason)),
        }
    }
    let Some(first) = sound.first().map(|event| event.name.clone()) else {
        let reason = skipped.unwrap_or_else(|| "no events".into());
        return Ok(Json(WebhookOut::skipped(reason)));
    };
    let mut results = Vec::with_capacity(sound.len());
    while !sound.is_empty() {
        let rest = sound.split_off(sound.len().min(TOGETHER));
        results.extend(app.ingestor.ingest(sound).await?);
        sound = rest;
    }
    let user = results
        .first()
        .and_then(|result| result.contact_key.clone());
    let exits = results
        .into_iter()
        .flat_map(|result| result.exits)
        .collect();
    Ok(Json(WebhookOut {
        ok: true,
        event: Some(first),
        user_id: Some(user),
        exits: Some(exits),
        ..WebhookOut::default()
    }))
}

fn invalid_secret() -> ApiError {
    ApiError::new(
        axum::http::StatusCode::UNAUTHORIZED,
        "Invalid webhook secret",
    )
}

/// A request as plugins see it.
pub(super) fn webhook(app: &App, headers: &HeaderMap, body: axum::body::Bytes) -> Webhook {
    Webhook {
        headers: readable(headers),
        body: body.to_vec().into(),
        received_at: app.clock.now(),
    }
}

pub(super) fn invalid_payload(details: &str) -> ApiError {
    ApiError::bad_request(json!({ "error": "Invalid payload", "details": details }))
}

/// Headers that are text; names are in lower case already.
fn readable(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect()
}
