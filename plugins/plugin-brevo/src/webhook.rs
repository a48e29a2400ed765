//! Transactional webhooks of Brevo (<https://developers.brevo.com/docs/transactional-webhooks>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{
    BounceType, DeliveryEvent, DeliveryEventKind as Kind, DeliveryReading, Refusal, Webhook,
};
use serde_json::Value;

use crate::body::SEND_ID;
use crate::secret;

/// Times below this are in seconds: as milliseconds they would be before 1973.
const MILLISECONDS: i64 = 100_000_000_000;

/// Why an event is left out.
enum Left {
    /// It is not about a mail.
    Skipped(String),
    /// What is missing.
    Unreadable(String),
}

/// Verifies and reads a webhook. One of the secrets is enough. Without a secret nothing is verified: in production the host refuses
/// such webhooks.
pub fn read(expected: &[String], webhook: &Webhook) -> Result<DeliveryReading, Refusal> {
    let knows = |expected: &String| secret::knows(webhook, expected);
    if !expected.is_empty() && !expected.iter().any(knows) {
        return Err(Refusal::unauthorized());
    }
    let body: Value = hogsend_plugin_api::json::lenient(webhook.body.as_slice())
        .map_err(|error| Refusal::invalid(format!("the body is not valid JSON: {error}")))?;
    // One event, or an array of them where the webhook is batched.
    let all = match &body {
        Value::Array(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    let (mut events, mut skipped, mut unreadable) = (Vec::new(), None, None);
    for one in all {
        match event(one) {
            Ok(event) => events.push(event),
            Err(Left::Skipped(reason)) => skipped = skipped.or(Some(reason)),
            Err(Left::Unreadable(details)) => unreadable = unreadable.or(Some(details)),
        }
    }
    // One event that cannot be read must not cost the others.
    match (events.is_empty(), unreadable) {
        (true, Some(details)) => Err(Refusal::invalid(details)),
        (true, None) => Ok(DeliveryReading::skipped(
            skipped.unwrap_or_else(|| "it holds no events".into()),
        )),
        (false, _) => Ok(DeliveryReading::Events(events)),
    }
}

fn event(body: &Value) -> Result<DeliveryEvent, Left> {
    let name = text(&body["event"])
        .ok_or_else(|| Left::Unreadable("event is required: the event's name".into()))?;
    let (kind, bounce) = kind(name).map_err(Left::Skipped)?;
    let occurred_at = time(body).ok_or_else(|| {
        Left::Unreadable("ts_epoch is required: a Unix time in milliseconds".into())
    })?;
    let own = |name: &str| text(&body[name]).map(str::to_owned);
    let mut event = DeliveryEvent::new(kind, occurred_at);
    event.message_id = own("message-id");
    event.send_id = text(&body[SEND_ID]).and_then(|id| id.parse().ok());
    event.email = own("email");
    event.bounce = bounce;
    event.dedupe_key = key(body, kind, occurred_at);
    match kind {
        Kind::Opened => event.user_agent = own("user_agent"),
        Kind::Clicked => {
            event.link = own("link");
            event.user_agent = own("user_agent");
        }
        Kind::Bounced | Kind::Delayed | Kind::Failed | Kind::Suppressed => {
            event.reason = own("reason");
        }
        _ => {}
    }
    Ok(event)
}

/// Brevo gives events no id (`id` is that of the webhook), so their content is the key. The first
/// opening comes as `opened` and as `unique_opened`, which are one event.
fn key(body: &Value, kind: Kind, occurred_at: DateTime<Utc>) -> Option<String> {
    let part = |name: &str| text(&body[name]).unwrap_or_default();
    let message = text(&body["message-id"])?;
    let name = match kind {
        Kind::Opened => "opened",
        _ => part("event"),
    };
    let at = occurred_at.timestamp_millis();
    let email = part("email");
    let link = match kind {
        Kind::Clicked => part("link"),
        _ => "",
    };
    Some(format!("{message}|{name}|{email}|{at}|{link}"))
}

/// The event that a Brevo event means, or why it means none.
fn kind(name: &str) -> Result<(Kind, Option<BounceType>), String> {
    Ok(match name {
        "request" => (Kind::Sent, None),
        "deferred" => (Kind::Delayed, None),
        "delivered" => (Kind::Delivered, None),
        "soft_bounce" => (Kind::Bounced, Some(BounceType::Transient)),
        "hard_bounce" | "invalid_email" => (Kind::Bounced, Some(BounceType::Permanent)),
        // The address is on Brevo's own list.
        "blocked" => (Kind::Suppressed, None),
        "error" => (Kind::Failed, None),
        "spam" | "complaint" => (Kind::Complained, None),
        "unsubscribed" | "unsubscribe" => (Kind::Unsubscribed, None),
        "opened" | "unique_opened" => (Kind::Opened, None),
        "click" => (Kind::Clicked, None),
        "proxy_open" | "unique_proxy_open" => return Err("a proxy opened the mail".into()),
        other => return Err(format!("'{other}' is not about what happened to a mail")),
    })
}

/// When it happened. `ts_epoch` is documented in milliseconds; Brevo's samples have seconds. `ts` and
/// `date` follow the account's time zone and are of no use.
fn time(body: &Value) -> Option<DateTime<Utc>> {
    let given = body["ts_epoch"]
        .as_i64()
        .or_else(|| body["ts_event"].as_i64())?;
    if given < MILLISECONDS {
        DateTime::from_timestamp(given, 0)
    } else {
        DateTime::from_timestamp_millis(given)
    }
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}
