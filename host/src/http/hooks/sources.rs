//! Webhooks of event sources.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use hogsend_plugin_api::Reading;

use super::feedback;
use super::hook::{WebhookOut, key_of, own_answer, refused, unknown_reading, webhook};
use crate::app::App;
use crate::http::ApiError;
use crate::http::wire::body::Raw;
use crate::http::wire::openapi::ErrorOut;
use crate::http::wire::openapi::Routes;
use crate::http::wire::params::{Name, Path};
use crate::ingest::{NewEvent, admit};
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(receive_webhook, answer_challenge))
}

/// Events of one webhook that are stored in one transaction. If only a part of a webhook was stored
/// and the vendor retries it, the events' idempotency keys prevent duplicates.
const TOGETHER: usize = 250;

/// Receives a vendor's webhook. The event-source plugin of this id verifies it and converts it into
/// events; the response is sent after they are stored.
#[utoipa::path(
    post, path = "/v1/webhooks/{source}", tag = "webhooks",
    params(("source" = String, Path, description = "Id of an event-source plugin")),
    request_body(content = Object, description = "As the vendor sends it"),
    responses(
        (status = 200, description = "The webhook is processed, or skipped", body = WebhookOut),
        (status = 400, description = "The plugin cannot read it; `details` says why", body = ErrorOut),
        (status = 401, description = "The secret or signature is wrong", body = ErrorOut),
        (status = 403, description = "In development: a page of another website sent the request", body = ErrorOut),
        (status = 404, description = "No event source of this id", body = ErrorOut),
        (status = "default", description = "A response that the plugin composes for its vendor"),
    ),
)]
pub async fn receive_webhook(
    State(app): State<App>,
    Path(Name(source)): Path<Name>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, ApiError> {
    let webhook = webhook(&app, &method, &uri, &headers, body);
    let Some(plugin) = app.plugins().event_source(&source) else {
        // Delivery providers may use the same short URL.
        return match app.plugins().delivery(&source) {
            Some(_) => feedback::read(&app, &source, webhook).await,
            None => Err(ApiError::not_found("Unknown webhook source")),
        };
    };
    if app.refuses_webhooks_of(&source) {
        return Err(invalid_secret());
    }
    let events = match plugin
        .read(&webhook)
        .await
        .map_err(|error| ApiError::internal(&error))?
    {
        Ok(Reading::Events(events)) => events,
        Ok(Reading::Skipped { reason, .. }) => {
            return Ok(Json(WebhookOut::skipped(reason)).into_response());
        }
        Ok(Reading::Challenge { .. }) => {
            let reason = "a challenge must be sent with GET".to_owned();
            return Ok(Json(WebhookOut::skipped(reason)).into_response());
        }
        Ok(Reading::Answer {
            status,
            content_type,
            body,
            ..
        }) => return own_answer(&source, status, &content_type, body),
        Err(refusal) => {
            return Err(refused(&app, &source, &webhook, refusal, invalid_secret()));
        }
        Ok(_) => return Err(unknown_reading(&source)),
    };
    let trust = app.trust(&source);
    let mut sound = Vec::with_capacity(events.len());
    let mut skipped = None;
    for (at, mut event) in events.into_iter().enumerate() {
        if event.dedupe_key.is_none() {
            event.dedupe_key = Some(key_of(&webhook, at, event.occurred_at));
        }
        let mut event = NewEvent::from_source(&source, trust, event);
        match admit(&mut event) {
            Ok(()) => sound.push(event),
            Err(reason) => skipped = skipped.or(Some(reason)),
        }
    }
    let Some(first) = sound.first().map(|event| event.name.clone()) else {
        let reason = skipped.unwrap_or_else(|| "no events".into());
        return Ok(Json(WebhookOut::skipped(reason)).into_response());
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
    })
    .into_response())
}

/// Answers a vendor's verification challenge, which confirms the URL. Nothing is stored.
#[utoipa::path(
    get, path = "/v1/webhooks/{source}", tag = "webhooks",
    params(("source" = String, Path, description = "Id of an event-source plugin")),
    responses(
        (status = 200, description = "The plugin's answer as plain text, or why there is none", content(
            (String = "text/plain"), (WebhookOut = "application/json"),
        )),
        (status = 400, description = "The plugin cannot read it; `details` says why", body = ErrorOut),
        (status = 401, description = "The secret or signature is wrong", body = ErrorOut),
        (status = 404, description = "No event source of this id", body = ErrorOut),
        (status = "default", description = "A response that the plugin composes for its vendor"),
    ),
)]
pub async fn answer_challenge(
    State(app): State<App>,
    Path(Name(source)): Path<Name>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let plugin = app.plugins().event_source(&source);
    let plugin = plugin.ok_or_else(|| ApiError::not_found("Unknown webhook source"))?;
    if app.refuses_webhooks_of(&source) {
        return Err(invalid_secret());
    }
    let webhook = webhook(&app, &Method::GET, &uri, &headers, Bytes::new());
    let read = plugin.read(&webhook).await;
    match read.map_err(|error| ApiError::internal(&error))? {
        Ok(Reading::Challenge { answer, .. }) => {
            let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            Ok((kind, answer).into_response())
        }
        Ok(Reading::Skipped { reason, .. }) => {
            Ok(Json(WebhookOut::skipped(reason)).into_response())
        }
        Ok(Reading::Answer {
            status,
            content_type,
            body,
            ..
        }) => own_answer(&source, status, &content_type, body),
        Ok(Reading::Events(_)) => {
            let reason = "events must be sent with POST".to_owned();
            Ok(Json(WebhookOut::skipped(reason)).into_response())
        }
        Ok(_) => Err(unknown_reading(&source)),
        Err(refusal) => Err(refused(&app, &source, &webhook, refusal, invalid_secret())),
    }
}

fn invalid_secret() -> ApiError {
    // Some vendors send user and password only once they were asked for them (RFC 9110 §11.6.1).
    let challenge = HeaderValue::from_static("Basic realm=\"webhooks\"");
    ApiError::new(StatusCode::UNAUTHORIZED, "Invalid webhook secret")
        .with_header(header::WWW_AUTHENTICATE, challenge)
}
