//! What SES reports of a mail: the events of a configuration set
//! (<https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html>) and the
//! feedback notifications of an identity
//! (<https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html>), which differ in the field
//! that names the kind.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{
    BounceType, DeliveryEvent, DeliveryEventKind as Kind, DeliveryReading, Refusal,
};
use serde_json::Value;

use crate::body::{SEND_ID, SEND_ID_HEADER};

/// Reads the content of a notification. `id` is that of the notification.
pub fn read(content: &str, id: &str) -> Result<DeliveryReading, Refusal> {
    let body: Value = hogsend_plugin_api::json::lenient(content.as_bytes())
        .map_err(|error| Refusal::invalid(format!("Message is not valid JSON: {error}")))?;
    let name = text(&body["eventType"])
        .or_else(|| text(&body["notificationType"]))
        .ok_or_else(|| {
            Refusal::invalid("eventType is required: subscribe this URL only to topics of SES")
        })?;
    let Some((kind, field)) = kind(name) else {
        return Ok(DeliveryReading::skipped(format!(
            "'{name}' is not about the delivery of a mail"
        )));
    };
    let details = &body[field];
    let mail = &body["mail"];
    if !mail.is_object() {
        return Err(Refusal::invalid(
            "mail is required: an object about the mail",
        ));
    }
    let message_id = text(&mail["messageId"])
        .ok_or_else(|| Refusal::invalid("mail.messageId is required: the id SES gave the mail"))?;
    let occurred_at = text(&details["timestamp"])
        .or_else(|| text(&mail["timestamp"]))
        .and_then(time)
        .ok_or_else(|| Refusal::invalid("mail.timestamp is required: an RFC 3339 time"))?;
    let mut event = DeliveryEvent::new(kind, occurred_at);
    event.message_id = Some(message_id.to_owned());
    event.send_id = send_id(mail);
    match kind {
        Kind::Bounced => {
            event.bounce = Some(match text(&details["bounceType"]) {
                Some("Permanent") => BounceType::Permanent,
                Some("Transient") => BounceType::Transient,
                _ => BounceType::Undetermined,
            });
        }
        Kind::Complained => match complaint(details) {
            Ok(kind) => event.kind = kind,
            Err(reason) => return Ok(DeliveryReading::skipped(reason)),
        },
        Kind::Clicked => event.link = own(&details["link"]),
        _ => {}
    }
    if matches!(kind, Kind::Opened | Kind::Clicked) {
        event.user_agent = own(&details["userAgent"]);
    }
    let key = dedupe_key(kind, details, message_id, id);
    let events = recipients(kind, details, mail).into_iter().map(|one| {
        let mut event = event.clone();
        event.reason = reason(details, one.diagnostic);
        event.dedupe_key = Some(match one.place {
            0 => key.clone(),
            place => format!("{key}:{place}"),
        });
        event.email = one.address;
        event
    });
    Ok(DeliveryReading::Events(events.collect()))
}

/// The kind of an event and the field with its details. `None` for what is not about a mail's
/// delivery, such as a subscription of SES's own lists.
fn kind(name: &str) -> Option<(Kind, &'static str)> {
    Some(match name {
        "Send" => (Kind::Sent, "send"),
        "Delivery" => (Kind::Delivered, "delivery"),
        "DeliveryDelay" => (Kind::Delayed, "deliveryDelay"),
        "Bounce" => (Kind::Bounced, "bounce"),
        "Complaint" => (Kind::Complained, "complaint"),
        "Open" => (Kind::Opened, "open"),
        "Click" => (Kind::Clicked, "click"),
        // A virus, which SES found after it had accepted the mail.
        "Reject" => (Kind::Failed, "reject"),
        "Rendering Failure" => (Kind::Failed, "failure"),
        _ => return None,
    })
}

/// Whether somebody complained. A mailbox provider may also report the opposite, and SES reports a
/// mail as complained that it did not send because of an earlier complaint.
fn complaint(details: &Value) -> Result<Kind, String> {
    if text(&details["complaintFeedbackType"]) == Some("not-spam") {
        return Err("the recipient reported that the mail is not spam".into());
    }
    if text(&details["complaintSubType"]) == Some("OnAccountSuppressionList") {
        return Ok(Kind::Suppressed);
    }
    Ok(Kind::Complained)
}

/// With feedback notifications and event publishing switched on, SES reports a bounce twice, with one
/// feedback id. What can happen once only is known by the mail.
fn dedupe_key(kind: Kind, details: &Value, message_id: &str, id: &str) -> String {
    match (kind, text(&details["feedbackId"])) {
        (_, Some(feedback)) => format!("feedback:{feedback}"),
        (Kind::Sent, _) => format!("send:{message_id}"),
        (Kind::Delivered, _) => format!("delivery:{message_id}"),
        _ => format!("sns:{id}"),
    }
}

struct Recipient<'a> {
    place: usize,
    address: Option<String>,
    diagnostic: Option<&'a str>,
}

/// The recipients an event is about. A mail of this plugin has one, others of the account may have
/// more. A complaint, an open or a click cannot tell several apart, and then names nobody.
fn recipients<'a>(kind: Kind, details: &'a Value, mail: &'a Value) -> Vec<Recipient<'a>> {
    let listed = match kind {
        Kind::Bounced => &details["bouncedRecipients"],
        Kind::Complained | Kind::Suppressed => &details["complainedRecipients"],
        Kind::Delayed => &details["delayedRecipients"],
        Kind::Delivered => &details["recipients"],
        _ => &mail["destination"],
    };
    let listed = listed.as_array().filter(|all| !all.is_empty());
    let listed = listed.or_else(|| mail["destination"].as_array());
    let listed = listed.map(Vec::as_slice).unwrap_or_default();
    let apart = matches!(kind, Kind::Bounced | Kind::Delayed | Kind::Delivered);
    if listed.len() != 1 && !(apart && listed.len() > 1) {
        return vec![Recipient {
            place: 0,
            address: None,
            diagnostic: None,
        }];
    }
    let one = |(place, value): (usize, &'a Value)| Recipient {
        place,
        address: text(value)
            .or_else(|| text(&value["emailAddress"]))
            .map(bare),
        diagnostic: text(&value["diagnosticCode"]),
    };
    listed.iter().enumerate().map(one).collect()
}

/// `local@domain` of an address that may have a name.
fn bare(address: &str) -> String {
    let bare = address
        .rsplit_once('<')
        .map_or(address, |(_, rest)| rest.trim_end_matches('>'));
    bare.trim().to_owned()
}

/// The explanation of a bounce, a failure or a delay.
fn reason(details: &Value, diagnostic: Option<&str>) -> Option<String> {
    let words = [
        "bounceSubType",
        "complaintFeedbackType",
        "delayType",
        "reason",
        "errorMessage",
    ];
    let words = words.iter().filter_map(|name| text(&details[*name]));
    let words: Vec<&str> = words.chain(diagnostic).collect();
    (!words.is_empty()).then(|| words.join(": "))
}

/// The host's id of the mail: in the tags, whose values are lists, or in the original headers.
fn send_id(mail: &Value) -> Option<uuid::Uuid> {
    let tag = text(&mail["tags"][SEND_ID][0]);
    let header = || {
        let all = mail["headers"].as_array()?;
        let one = all.iter().find(|header| {
            text(&header["name"]).is_some_and(|name| name.eq_ignore_ascii_case(SEND_ID_HEADER))
        })?;
        text(&one["value"])
    };
    tag.or_else(header)?.trim().parse().ok()
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

fn own(value: &Value) -> Option<String> {
    text(value).map(str::to_owned)
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    let parsed = DateTime::parse_from_rfc3339(text).ok()?;
    Some(parsed.to_utc())
}
