//! Webhooks of Mailgun
//! (<https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{
    DeliveryEvent, DeliveryEventKind as Kind, DeliveryReading, Host, Refusal, Webhook,
};
use serde::Deserialize as _;
use serde_json::Value;

use crate::body::SEND_ID;
use crate::failure;
use crate::signature::{Proof, Signature};

/// Verifies and reads a webhook. Without a key nothing is verified: in production the host refuses
/// such webhooks.
pub async fn read(
    host: &Host,
    signature: Option<&Signature>,
    webhook: &Webhook,
) -> Result<DeliveryReading, Refusal> {
    let body: Result<Value, _> = hogsend_plugin_api::json::lenient(webhook.body.as_slice());
    if let Some(signature) = signature {
        // The signature is inside the body: what has none is not genuine.
        let body = body.as_ref().ok();
        let proof = body.and_then(|body| Proof::deserialize(&body["signature"]).ok());
        let proof = proof.ok_or_else(|| {
            Refusal::unauthorized_because(
                "there is no signature with timestamp, token and signature in the body",
            )
        })?;
        let content = body.map(|body| body["event-data"].to_string());
        let content = content.unwrap_or_default();
        let now = webhook.received_at;
        signature
            .verify(host, &proof, content.as_bytes(), now)
            .await?;
    }
    let body =
        body.map_err(|error| Refusal::invalid(format!("the body is not valid JSON: {error}")))?;
    events(&body["event-data"])
}

fn events(data: &Value) -> Result<DeliveryReading, Refusal> {
    let name = text(&data["event"])
        .ok_or_else(|| Refusal::invalid("event-data.event is required: the event's name"))?;
    let (kind, bounce) = match name {
        "accepted" => (Kind::Sent, None),
        "delivered" => (Kind::Delivered, None),
        "opened" => (Kind::Opened, None),
        "clicked" => (Kind::Clicked, None),
        "complained" => (Kind::Complained, None),
        "unsubscribed" => (Kind::Unsubscribed, None),
        // Mailgun gave up before it tried.
        "rejected" => (Kind::Failed, None),
        "failed" => failure::kind(data),
        other => {
            let reason = format!("'{other}' is not about the delivery of a mail");
            return Ok(DeliveryReading::skipped(reason));
        }
    };
    let occurred_at = time(&data["timestamp"]).ok_or_else(|| {
        Refusal::invalid("event-data.timestamp is required: seconds since 1970, as a number")
    })?;
    let message = text(&data["message"]["headers"]["message-id"]);
    let send_id = text(&data["user-variables"][SEND_ID]).and_then(|id| id.parse().ok());
    if message.is_none() && send_id.is_none() {
        return Ok(DeliveryReading::skipped("the event names no mail"));
    }
    let mut event = DeliveryEvent::new(kind, occurred_at);
    event.message_id = message
        .map(|id| id.trim_start_matches('<').trim_end_matches('>'))
        .map(str::to_owned);
    event.send_id = send_id;
    event.email = own(&data["recipient"]);
    event.bounce = bounce;
    // An id is unique within a day only.
    event.dedupe_key =
        text(&data["id"]).map(|id| format!("{}:{id}", occurred_at.format("%Y-%m-%d")));
    match kind {
        Kind::Clicked | Kind::Opened => {
            event.link = own(&data["url"]).filter(|_| kind == Kind::Clicked);
            event.user_agent = agent(&data["client-info"]);
        }
        Kind::Failed | Kind::Bounced | Kind::Delayed | Kind::Suppressed => {
            event.reason = failure::reason(data);
        }
        _ => {}
    }
    Ok(DeliveryReading::Events(vec![event]))
}

/// The user agent of an open or a click, with the machine behind it where Mailgun names one. The host
/// knows Gmail's proxy itself: it fetches images when the recipient opens the mail.
fn agent(client: &Value) -> Option<String> {
    let agent = text(&client["user-agent"]);
    match text(&client["bot"]) {
        Some(bot) if bot != "gmail" => Some(format!("{} (bot: {bot})", agent.unwrap_or_default())),
        _ => agent.map(str::to_owned),
    }
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

fn own(value: &Value) -> Option<String> {
    text(value).map(str::to_owned)
}

/// Seconds with a fraction.
fn time(value: &Value) -> Option<DateTime<Utc>> {
    let seconds = value.as_f64().filter(|seconds| *seconds > 0.0)?;
    DateTime::from_timestamp_millis((seconds * 1_000.0).round() as i64)
}
