//! The text of a message (<https://docs.slack.dev/messaging/formatting-message-text>).

use hogsend_plugin_api::Capture;
use serde_json::{Value, json};

/// The most properties of an event in a message.
const PROPERTIES_MAX: usize = 8;
/// The most characters of a name or a value. Slack cuts a text at 40,000 characters.
const WORD_MAX: usize = 150;

/// The body of a message with a line for each event.
pub fn body(events: &[(&str, &Capture)]) -> String {
    let lines: Vec<String> = events
        .iter()
        .map(|(name, capture)| line(name, capture))
        .collect();
    // Links within properties get no preview: the message is about the event.
    json!({ "text": lines.join("\n"), "unfurl_links": false, "unfurl_media": false }).to_string()
}

fn line(name: &str, capture: &Capture) -> String {
    let at = capture.occurred_at.format("%Y-%m-%d %H:%M UTC");
    let person = word(&capture.distinct_id);
    let mut line = format!("*{}* of {person}, {at}", word(name));
    for (name, value) in capture.properties.iter().take(PROPERTIES_MAX) {
        let value = match value {
            Value::String(text) => word(text),
            other => word(&other.to_string()),
        };
        line += &format!(" · {}: {value}", word(name));
    }
    let more = capture.properties.len().saturating_sub(PROPERTIES_MAX);
    if more > 0 {
        line += &format!(" · {more} more");
    }
    line
}

/// Text of others, cut, on one line, and with what Slack would read as a mention or a link escaped:
/// exactly these three characters.
fn word(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    for c in chars.by_ref().take(WORD_MAX) {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    if chars.next().is_some() {
        out.push('…');
    }
    out
}
