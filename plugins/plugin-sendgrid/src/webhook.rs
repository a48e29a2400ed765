//! Event webhooks of SendGrid
//! (<https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{
    BounceType, DeliveryEvent, DeliveryEventKind as Kind, DeliveryReading, Refusal, Webhook,
};
use serde_json::Value;

use crate::signature::Signature;

/// Why an event is left out.
enum Left {
    /// It is not about a mail.
    Skipped(String),
    /// What is missing.
    Unreadable(String),
}

/// Verifies and reads a webhook. One of the keys is enough. Without a key nothing is verified: in production
/// the host refuses such webhooks.
pub fn read(signatures: &[Signature], webhook: &Webhook) -> Result<DeliveryReading, Refusal> {
    let verified: Vec<_> = signatures.iter().map(|one| one.verify(webhook)).collect();
    if verified.iter().all(Result::is_err)
        && let Some(Err(why)) = verified.into_iter().next()
    {
        return Err(Refusal::unauthorized_because(why));
    }
    let body: Value = hogsend_plugin_api::json::lenient(webhook.body.as_slice())
        .map_err(|error| Refusal::invalid(format!("the body is not valid JSON: {error}")))?;
    let all = body
        .as_array()
        .ok_or_else(|| Refusal::invalid("the body must be an array of events"))?;
    let (mut events, mut skipped, mut unreadable) = (Vec::new(), None, None);
    for one in all {
        match event(one) {
            Ok(event) => events.push(event),
            Err(Left::Skipped(reason)) => skipped = skipped.or(Some(reason)),
            Err(Left::Unreadable(details)) => unreadable = unreadable.or(Some(details)),
        }
    }
    // A webhook holds the events of many mails. One that cannot be read must not cost the others.
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
    let Some((kind, bounce)) = kind(name, body) else {
        return Err(Left::Skipped(format!(
            "'{name}' is not about what happened to a mail"
        )));
    };
    if kind == Kind::Opened && body["sg_machine_open"] == true {
        return Err(Left::Skipped("a machine opened the mail".into()));
    }
    let occurred_at = body["timestamp"]
        .as_i64()
        .and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0))
        .ok_or_else(|| Left::Unreadable("timestamp is required: a Unix time in seconds".into()))?;
    let own = |name: &str| text(&body[name]).map(str::to_owned);
    let mut event = DeliveryEvent::new(kind, occurred_at);
    event.dedupe_key = own("sg_event_id");
    event.message_id = text(&body["sg_message_id"]).map(|id| accepted_as(id).to_owned());
    event.send_id = text(&body["hs_id"]).and_then(|id| id.parse().ok());
    event.email = own("email");
    event.bounce = bounce;
    match kind {
        Kind::Opened => event.user_agent = own("useragent"),
        Kind::Clicked => {
            event.link = own("url");
            event.user_agent = own("useragent");
        }
        Kind::Bounced | Kind::Delayed | Kind::Failed | Kind::Suppressed => {
            let words = [own("status"), own("reason").or_else(|| own("response"))];
            let words: Vec<String> = words.into_iter().flatten().collect();
            event.reason = (!words.is_empty()).then(|| words.join(": "));
        }
        _ => {}
    }
    Ok(event)
}

/// The event that a SendGrid event means; `None` where it means none.
fn kind(name: &str, body: &Value) -> Option<(Kind, Option<BounceType>)> {
    Some(match name {
        "processed" => (Kind::Sent, None),
        "deferred" => (Kind::Delayed, None),
        "delivered" => (Kind::Delivered, None),
        "bounce" => match text(&body["type"]) {
            // Refused this time, for its content or the sender's reputation.
            Some("blocked") => (Kind::Bounced, Some(BounceType::Undetermined)),
            _ => (Kind::Bounced, Some(BounceType::Permanent)),
        },
        "dropped" => (dropped(text(&body["reason"]).unwrap_or_default()), None),
        "spamreport" => (Kind::Complained, None),
        "unsubscribe" | "group_unsubscribe" => (Kind::Unsubscribed, None),
        "open" => (Kind::Opened, None),
        "click" => (Kind::Clicked, None),
        _ => return None,
    })
}

/// SendGrid did not try: the address is on one of its lists, or the mail or the account is at fault.
fn dropped(reason: &str) -> Kind {
    let listed = ["bounced", "spam reporting", "unsubscribed", "invalid"];
    let reason = reason.to_ascii_lowercase();
    // `Invalid SMTPAPI header` is a fault of the mail.
    let listed = listed.iter().any(|word| reason.contains(word)) && !reason.contains("smtpapi");
    if listed {
        Kind::Suppressed
    } else {
        Kind::Failed
    }
}

/// The id with which SendGrid accepted the mail: `sg_message_id` begins with it. The names of servers
/// follow.
fn accepted_as(id: &str) -> &str {
    let servers = [".recvd", ".filter"];
    let end = servers.iter().find_map(|server| id.find(server));
    &id[..end.or_else(|| id.find('.')).unwrap_or(id.len())]
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}
