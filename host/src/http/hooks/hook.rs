//! What webhooks of both kinds share: the request as plugins see it, and the answer.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Body, Refusal, Webhook, limits};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::app::App;
use crate::enrolment::Exit;
use crate::http::ApiError;

/// How long a webhook is known that tells neither an id nor a time: as long as signatures are taken.
const TOLERANCE: i64 = 300;

/// What became of a webhook: the event it told, or why it told none.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookOut {
    #[schema(example = true)]
    pub(super) ok: bool,
    /// The name of the first event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exits: Option<Vec<Exit>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) skipped: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
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

/// The key of what a vendor told without an id of its own, so that nobody gains by sending a request
/// again that they saw. One that tells when it happened is the same thing whenever it comes; without a
/// time the same may happen twice, so only what comes within the tolerance of signatures is the same.
pub(super) fn key_of(webhook: &Webhook, at: usize, occurred_at: Option<DateTime<Utc>>) -> String {
    let mut hash = Sha256::new();
    for (name, value) in &webhook.headers {
        if name.ends_with("signature") || name.ends_with("timestamp") {
            hash.update(format!("{name}\0{value}\0"));
        }
    }
    hash.update(webhook.body.as_slice());
    let hash = hex::encode(hash.finalize());
    // What tells no time has been given that of its arrival.
    match occurred_at.filter(|at| *at != webhook.received_at) {
        Some(_) => format!("body:{hash}#{at}"),
        None => {
            let window = webhook.received_at.timestamp().div_euclid(TOLERANCE);
            format!("body:{hash}#{at}@{window}")
        }
    }
}

/// A request as plugins see it.
pub(super) fn webhook(
    app: &App,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> Webhook {
    let mut webhook = Webhook::new(readable(headers), body.to_vec(), app.clock.now());
    method.as_str().clone_into(&mut webhook.method);
    uri.path().clone_into(&mut webhook.path);
    uri.query()
        .unwrap_or_default()
        .clone_into(&mut webhook.query);
    webhook
}

/// The answer to a webhook that its plugin refuses; `unauthorized` where the secret or signature is
/// wrong, which is also counted for the operator.
pub(super) fn refused(
    app: &App,
    plugin: &str,
    webhook: &Webhook,
    refusal: Refusal,
    unauthorized: ApiError,
) -> ApiError {
    match refusal {
        Refusal::Unauthorized { reason, .. } => {
            app.refusals.tell(plugin, webhook, reason);
            unauthorized
        }
        Refusal::Invalid { details, .. } => {
            ApiError::bad_request(json!({ "error": "Invalid payload", "details": details }))
        }
        _ => unknown_reading(plugin),
    }
}

/// A plugin's own response to its vendor. Browsers must not run what it holds, as a vendor's request may
/// come back in it.
pub(super) fn own_answer(
    plugin: &str,
    status: u16,
    content_type: &str,
    body: Body,
) -> Result<Response, ApiError> {
    let broken = |what: String| {
        let message = format!("plugin '{plugin}' answers a webhook with {what}");
        ApiError::internal(&std::io::Error::other(message))
    };
    let code = match status {
        200..=299 | 400..=599 => StatusCode::from_u16(status).ok(),
        _ => None,
    };
    let code = code.ok_or_else(|| {
        broken(format!(
            "the status {status}: only 200 to 299 and 400 to 599 are sent"
        ))
    })?;
    let kind = HeaderValue::try_from(content_type)
        .map_err(|_| broken("a content type that is no header value".into()))?;
    limits::WEBHOOK_ANSWER
        .check(body.0.len())
        .map_err(|why| broken(format!("a body that {why}")))?;
    let headers = [
        (header::CONTENT_TYPE, kind),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; sandbox"),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    Ok((code, headers, body.0).into_response())
}

/// A reading of a later version: the vendor sends the webhook again, so nothing is lost.
pub(super) fn unknown_reading(plugin: &str) -> ApiError {
    let message =
        format!("plugin '{plugin}' is newer than this host, which cannot read its answer");
    ApiError::internal(&std::io::Error::other(message))
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
