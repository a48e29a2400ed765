//! Webhooks of Resend (<https://resend.com/docs/dashboard/webhooks/event-types>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{
    BounceType, DeliveryEvent, DeliveryEventKind as Kind, DeliveryReading, Refusal, Webhook,
};
use serde_json::Value;

use crate::body::SEND_ID;
use crate::signature::Signature;

/// Verifies and reads a webhook. Without a secret nothing is verified: in production the host refuses
/// such webhooks.
pub fn read(signature: Option<&Signature>, webhook: &Webhook) -> Result<DeliveryReading, Refusal> {
    let id = match signature {
        Some(signature) => signature
            .verify(webhook)
            .ok_or_else(Refusal::unauthorized)?,
        None => webhook
            .header("svix-id")
            .or_else(|| webhook.header("webhook-id"))
            .unwrap_or_default(),
    };
    let body: Value = hogsend_plugin_api::json::lenient(webhook.body.as_slice())
        .map_err(|error| Refusal::invalid(format!("the body is not valid JSON: {error}")))?;
    let name = text(&body["type"])
        .ok_or_else(|| Refusal::invalid("type is required: the event's name"))?;
    let Some(kind) = kind(name) else {
        let reason = format!("'{name}' is not about a sent mail");
        return Ok(DeliveryReading::skipped(reason));
    };
    let data = &body["data"];
    if !data.is_object() {
        return Err(Refusal::invalid(
            "data is required: an object about the mail",
        ));
    }
    // A click has its own time; the other events have only that of the webhook.
    let clicked_at = text(&data["click"]["timestamp"]).filter(|_| kind == Kind::Clicked);
    let occurred_at = clicked_at
        .or_else(|| text(&body["created_at"]))
        .and_then(time)
        .ok_or_else(|| Refusal::invalid("created_at is required: an RFC 3339 time"))?;
    let mut event = DeliveryEvent::new(kind, occurred_at);
    event.dedupe_key = Some(id.to_owned()).filter(|id| !id.is_empty());
    event.message_id = text(&data["email_id"]).map(str::to_owned);
    event.send_id = tag(&data["tags"], SEND_ID).and_then(|id| id.parse().ok());
    event.email = recipient(&data["to"]);
    match kind {
        Kind::Bounced => {
            let bounce = &data["bounce"];
            event.bounce = Some(match text(&bounce["type"]) {
                Some("Permanent") => BounceType::Permanent,
                Some("Transient") => BounceType::Transient,
                _ => BounceType::Undetermined,
            });
            let words = [text(&bounce["subType"]), text(&bounce["message"])];
            event.reason = joined(&words);
        }
        Kind::Failed => event.reason = joined(&[text(&data["failed"]["reason"])]),
        Kind::Suppressed => event.reason = joined(&[text(&data["suppressed"]["message"])]),
        Kind::Clicked => {
            event.link = text(&data["click"]["link"]).map(str::to_owned);
            event.user_agent = text(&data["click"]["userAgent"]).map(str::to_owned);
        }
        Kind::Opened => {
            event.user_agent = text(&data["open"]["userAgent"]).map(str::to_owned);
        }
        _ => {}
    }
    Ok(DeliveryReading::Events(vec![event]))
}

fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "email.sent" => Kind::Sent,
        "email.delivered" => Kind::Delivered,
        "email.delivery_delayed" => Kind::Delayed,
        "email.bounced" => Kind::Bounced,
        "email.complained" => Kind::Complained,
        "email.opened" => Kind::Opened,
        "email.clicked" => Kind::Clicked,
        "email.failed" => Kind::Failed,
        "email.suppressed" => Kind::Suppressed,
        _ => return None,
    })
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    // Some of Resend's times have a space where RFC 3339 has a T, and `+00` for an offset.
    let mut plain = text.replacen(' ', "T", 1);
    let hours = plain.len().checked_sub(3).and_then(|at| plain.get(at..));
    if hours.is_some_and(|hours| hours.starts_with(['+', '-'])) {
        plain.push_str(":00");
    }
    let parsed = DateTime::parse_from_rfc3339(&plain).ok()?;
    Some(parsed.to_utc())
}

/// `to` is a list; a single address is read as well.
fn recipient(to: &Value) -> Option<String> {
    let first = to.as_array().and_then(|all| all.first()).unwrap_or(to);
    let address = text(first)?;
    let bare = address
        .rsplit_once('<')
        .map_or(address, |(_, rest)| rest.trim_end_matches('>'));
    Some(bare.trim().to_owned())
}

/// Tags are sent as a list of names and values; Resend returns them as an object.
fn tag<'a>(tags: &'a Value, name: &str) -> Option<&'a str> {
    let listed = || {
        let all = tags.as_array()?;
        let one = all.iter().find(|tag| tag["name"] == name)?;
        text(&one["value"])
    };
    text(&tags[name]).or_else(listed)
}

fn joined(words: &[Option<&str>]) -> Option<String> {
    let words: Vec<&str> = words.iter().flatten().copied().collect();
    (!words.is_empty()).then(|| words.join(": "))
}
