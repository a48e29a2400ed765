//! The body of `POST /email` (<https://postmarkapp.com/developer/api/email-api>).

use hogsend_plugin_api::{Mail, Prepared};
use serde::Serialize;
use uuid::Uuid;

/// Postmark takes tags of at most this many characters.
const TAG_MAX: usize = 1_000;

/// Message streams by what they carry: Postmark keeps the two apart for the sake of delivery.
pub struct Streams {
    pub lifecycle: String,
    pub transactional: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Email<'a> {
    from: &'a str,
    to: &'a str,
    subject: &'a str,
    html_body: &'a str,
    text_body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<Header<'a>>,
    message_stream: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    metadata: Metadata,
    track_opens: bool,
    track_links: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Header<'a> {
    name: &'a str,
    value: &'a str,
}

/// Comes back in webhooks.
#[derive(Serialize)]
struct Metadata {
    /// Names a mail whose acceptance was lost.
    send_id: Uuid,
}

/// Makes the bytes Postmark gets.
pub fn prepare(streams: &Streams, mail: &Mail) -> Result<Prepared, String> {
    for (what, text) in [("sender", &mail.from), ("recipient", &mail.to)] {
        if text.trim().is_empty() {
            return Err(format!("the mail has no {what}"));
        }
    }
    let tag = |name: &str| {
        let found = mail.tags.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    };
    let email = Email {
        from: &mail.from,
        to: &mail.to,
        subject: &mail.subject,
        html_body: &mail.html,
        text_body: &mail.text,
        reply_to: mail.reply_to.as_deref(),
        headers: mail
            .headers
            .iter()
            .map(|(name, value)| Header { name, value })
            .collect(),
        message_stream: match tag("category") {
            Some("transactional") => &streams.transactional,
            _ => &streams.lifecycle,
        },
        tag: tag("template").map(|name| name.chars().take(TAG_MAX).collect()),
        metadata: Metadata { send_id: mail.id },
        // The host counts opens and clicks itself, and Postmark would rewrite its links.
        track_opens: false,
        track_links: "None",
    };
    let body = serde_json::to_vec(&email).map_err(|error| error.to_string())?;
    Ok(Prepared {
        content_type: "application/json".into(),
        body: body.into(),
    })
}
