//! Webhooks of Postmark (<https://postmarkapp.com/developer/webhooks/webhooks-overview>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{
    BounceType, DeliveryEvent, DeliveryEventKind as Kind, DeliveryReading, Refusal, Webhook,
};
use serde_json::Value;

use crate::{bounce, secret};

/// The message id in webhooks without a message, for example in a test from Postmark's page.
const NO_MESSAGE: &str = "00000000-0000-0000-0000-000000000000";

/// Verifies and reads a webhook. One of the secrets is enough. Without a secret nothing is verified: in production the host refuses
/// such webhooks.
pub fn read(expected: &[String], webhook: &Webhook) -> Result<DeliveryReading, Refusal> {
    let knows = |expected: &String| secret::knows(webhook, expected);
    if !expected.is_empty() && !expected.iter().any(knows) {
        return Err(Refusal::unauthorized());
    }
    let body: Value = hogsend_plugin_api::json::lenient(webhook.body.as_slice())
        .map_err(|error| Refusal::invalid(format!("the body is not valid JSON: {error}")))?;
    let record = text(&body["RecordType"]).ok_or_else(|| {
        Refusal::invalid(
            "RecordType is required: send only webhooks of an outbound or broadcast stream here",
        )
    })?;
    let (kind, bounce, time_field) = match record {
        "Delivery" => (Kind::Delivered, None, "DeliveredAt"),
        "Open" => (Kind::Opened, None, "ReceivedAt"),
        "Click" => (Kind::Clicked, None, "ReceivedAt"),
        "SpamComplaint" => (Kind::Complained, None, "BouncedAt"),
        "Bounce" => {
            let name = text(&body["Type"])
                .ok_or_else(|| Refusal::invalid("Type is required: the type of the bounce"))?;
            let Some((kind, bounce)) = bounce::kind(name) else {
                return Ok(skipped(format!("the type '{name}' does not mean a bounce")));
            };
            (kind, bounce, "BouncedAt")
        }
        "SubscriptionChange" => match change(&body)? {
            Ok(kind) => (kind, None, "ChangedAt"),
            Err(reason) => return Ok(skipped(reason)),
        },
        other => {
            let reason = format!("'{other}' is not about a sent mail");
            return Ok(skipped(reason));
        }
    };
    let time_text = text(&body[time_field])
        .ok_or_else(|| Refusal::invalid(format!("{time_field} is required: an RFC 3339 time")))?;
    let occurred_at = time(time_text).ok_or_else(|| {
        Refusal::invalid(format!(
            "{time_field} is not an RFC 3339 time: '{time_text}'"
        ))
    })?;
    Ok(DeliveryReading::Events(vec![event(
        &body,
        record,
        (kind, bounce),
        occurred_at,
        time_text,
    )]))
}

fn event(
    body: &Value,
    record: &str,
    (kind, bounce): (Kind, Option<BounceType>),
    occurred_at: DateTime<Utc>,
    time_text: &str,
) -> DeliveryEvent {
    let own = |value: &Value| text(value).map(str::to_owned);
    let mut event = DeliveryEvent::new(kind, occurred_at);
    event.message_id = own(&body["MessageID"]).filter(|id| id != NO_MESSAGE);
    event.send_id = text(&body["Metadata"]["send_id"]).and_then(|id| id.parse().ok());
    event.email = own(&body["Email"]).or_else(|| own(&body["Recipient"]));
    event.bounce = bounce;
    event.dedupe_key = match (&event.message_id, body["ID"].as_u64()) {
        // A webhook for both record types reports a complaint twice: as a complaint and as a change
        // of the stream's suppressions.
        (Some(message), _) if kind == Kind::Complained => Some(format!("SpamComplaint:{message}")),
        (_, Some(id)) => Some(format!("{record}:{id}")),
        (Some(message), None) => Some(format!("{record}:{message}:{time_text}")),
        (None, None) => None,
    };
    match kind {
        Kind::Opened => event.user_agent = own(&body["UserAgent"]),
        Kind::Clicked => {
            event.link = own(&body["OriginalLink"]);
            event.user_agent = own(&body["UserAgent"]);
        }
        Kind::Delivered => {}
        _ => {
            let words = ["Description", "Details", "SuppressionReason"];
            let words: Vec<&str> = words.iter().filter_map(|name| text(&body[*name])).collect();
            event.reason = (!words.is_empty()).then(|| words.join(": "));
        }
    }
    event
}

/// The event that a change of a stream's suppressions means, or why it means none.
fn change(body: &Value) -> Result<Result<Kind, String>, Refusal> {
    let suppressed = body["SuppressSending"].as_bool().ok_or_else(|| {
        Refusal::invalid(
            "SuppressSending is required: whether the address is suppressed or reactivated",
        )
    })?;
    if !suppressed {
        return Ok(Err("the address was reactivated".into()));
    }
    let origin = text(&body["Origin"]).unwrap_or_default();
    Ok(match text(&body["SuppressionReason"]).unwrap_or_default() {
        "HardBounce" => Ok(Kind::Suppressed),
        "SpamComplaint" => Ok(Kind::Complained),
        "ManualSuppression" if origin == "Recipient" => Ok(Kind::Unsubscribed),
        reason => Err(format!(
            "the recipient did not cause the suppression '{reason}' by '{origin}'"
        )),
    })
}

fn skipped(reason: String) -> DeliveryReading {
    DeliveryReading::skipped(reason)
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    let parsed = DateTime::parse_from_rfc3339(text).ok()?;
    Some(parsed.to_utc())
}
