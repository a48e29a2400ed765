//! The meaning of Mailgun's event `failed`
//! (<https://documentation.mailgun.com/docs/mailgun/user-manual/tracking-messages/track-failures>).

use hogsend_plugin_api::{BounceType, DeliveryEventKind as Kind};
use serde_json::Value;

/// The event and the bounce type of a failure. A permanent one only says that Mailgun has stopped
/// trying: after too many retries, or because of its own lists.
pub fn kind(data: &Value) -> (Kind, Option<BounceType>) {
    let bounced = |kind| (Kind::Bounced, Some(kind));
    if data["severity"].as_str() != Some("permanent") {
        return (Kind::Delayed, None);
    }
    let status = &data["delivery-status"];
    let enhanced = status["enhanced-code"].as_str().unwrap_or_default();
    // The server of the recipient accepted the mail and sent it back later. 5.1.x is about the address
    // (RFC 3463 §3.2).
    if data["flags"]["is-delayed-bounce"] == true {
        return bounced(if enhanced.starts_with("5.1.") {
            BounceType::Permanent
        } else {
            BounceType::Undetermined
        });
    }
    match (data["reason"].as_str(), status["code"].as_i64()) {
        // The recipient complained or unsubscribed earlier.
        (Some("suppress-complaint" | "suppress-unsubscribe"), _) | (_, Some(606 | 607)) => {
            (Kind::Suppressed, None)
        }
        // It bounced now or earlier.
        (Some("bounce" | "suppress-bounce"), _) | (_, Some(605)) => bounced(BounceType::Permanent),
        // The retries of 8 hours are used up.
        (Some("old"), _) => bounced(BounceType::Transient),
        _ => bounced(BounceType::Undetermined),
    }
}

/// The explanation of a failure, a delay or a rejection.
pub fn reason(data: &Value) -> Option<String> {
    let status = &data["delivery-status"];
    let words = [
        &data["reason"],
        &data["reject"]["reason"],
        &data["reject"]["description"],
        &status["message"],
        &status["description"],
    ];
    let mut all: Vec<&str> = Vec::new();
    for word in words.iter().filter_map(|word| word.as_str()) {
        if !word.is_empty() && !all.contains(&word) {
            all.push(word);
        }
    }
    (!all.is_empty()).then(|| all.join(": "))
}
