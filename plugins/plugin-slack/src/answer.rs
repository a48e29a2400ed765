//! The meaning of Slack's answers
//! (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Captured, HttpResponse};

use crate::WEBHOOK_URL;

/// The most characters of Slack's answer in a reason.
const WORDS_MAX: usize = 100;

/// The outcome of an answer. `url` never appears in the reason, even if the answer repeats it.
pub fn outcome(answer: &HttpResponse, url: &str, now: DateTime<Utc>) -> Captured {
    let words = clean(&answer.body.text_lossy(), url);
    let status = answer.status;
    let colon = if words.is_empty() { "" } else { ": " };
    let reason = format!("Slack answered {status}{colon}{words}");
    match status {
        200 if words == "ok" => Captured::Taken,
        200..=399 => Captured::blocked(format!(
            "{reason}. Check {WEBHOOK_URL}: a webhook of Slack answers 200 with 'ok'"
        )),
        // The error is in the text: the message, or something it names, is at fault.
        400 | 413 => Captured::rejected(reason),
        408 | 429 | 500.. => Captured::retry(reason, answer.retry_after_ms(now)),
        _ => Captured::blocked(format!(
            "{reason}. The webhook or its channel is gone, or the app may not post: add a new webhook at https://api.slack.com/apps and set {WEBHOOK_URL}"
        )),
    }
}

/// Slack's words, short and without the URL or its path.
fn clean(text: &str, url: &str) -> String {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    let mut text = text.replace(url, "[url]");
    if path.len() > 1 {
        // The URL is removed before the text is cut, or a part of it could remain.
        text = text.replace(path, "[path]");
    }
    let plain = text.trim().chars().filter(|c| !c.is_control());
    plain.take(WORDS_MAX).collect()
}
