//! Webhooks of delivery providers.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use hogsend_plugin_api::{DeliveryReading, Webhook};

use super::hook::{WebhookOut, key_of, own_answer, refused, unknown_reading, webhook};
use crate::app::App;
use crate::http::ApiError;
use crate::http::wire::body::Raw;
use crate::http::wire::openapi::ErrorOut;
use crate::http::wire::openapi::Routes;
use crate::http::wire::params::{Name, Path};
use crate::mail;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(receive_feedback))
}

/// Receives a delivery provider's webhook: deliveries, bounces, complaints and other reports about
/// mails. If Hogsend fails to store it, it answers 5xx, so that the provider retries.
#[utoipa::path(
    post, path = "/v1/webhooks/email/{provider}", tag = "webhooks",
    params(("provider" = String, Path, description = "Id of a delivery plugin")),
    request_body(content = Object, description = "As the provider sends it"),
    responses(
        (status = 200, description = "The webhook is processed, or skipped", body = WebhookOut),
        (status = 400, description = "The plugin cannot read it; `details` says why", body = ErrorOut),
        (status = 401, description = "The signature is wrong", body = ErrorOut),
        (status = 404, description = "No delivery plugin of this id", body = ErrorOut),
        (status = "default", description = "A response that the plugin composes for its vendor"),
    ),
)]
pub async fn receive_feedback(
    State(app): State<App>,
    Path(Name(provider)): Path<Name>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, ApiError> {
    let webhook = webhook(&app, &method, &uri, &headers, body);
    read(&app, &provider, webhook).await
}

pub(super) async fn read(
    app: &App,
    provider: &str,
    webhook: Webhook,
) -> Result<Response, ApiError> {
    let plugin = app
        .plugins()
        .delivery(provider)
        .ok_or_else(|| ApiError::not_found("Unknown email provider"))?;
    if app.refuses_webhooks_of(provider) {
        return Err(unverified());
    }
    let mut events = match plugin
        .read_webhook(&webhook)
        .await
        .map_err(|error| ApiError::internal(&error))?
    {
        Ok(DeliveryReading::Events(events)) => events,
        Ok(DeliveryReading::Skipped { reason, .. }) => {
            return Ok(Json(WebhookOut::skipped(reason)).into_response());
        }
        Ok(DeliveryReading::Answer {
            status,
            content_type,
            body,
            ..
        }) => return own_answer(provider, status, &content_type, body),
        Ok(_) => return Err(unknown_reading(provider)),
        Err(refusal) => return Err(refused(app, provider, &webhook, refusal, unverified())),
    };
    for (at, event) in events.iter_mut().enumerate() {
        if event.dedupe_key.is_none() {
            event.dedupe_key = Some(key_of(&webhook, at, Some(event.occurred_at)));
        }
        mail::take_feedback(app, provider, event).await?;
    }
    Ok(Json(WebhookOut::taken()).into_response())
}

fn unverified() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "Webhook verification failed")
}
