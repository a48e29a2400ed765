//! The body of `POST /emails`.

use std::collections::BTreeMap;

use hogsend_plugin_api::{Mail, Prepared};
use serde::Serialize;

/// Resend allows tag names and values of at most 256 letters, digits, `_` and `-`.
const TAG_MAX: usize = 256;
/// And at most this many tags.
const TAGS_MAX: usize = 75;
/// The tag by which webhooks name a mail whose acceptance was lost.
pub const SEND_ID: &str = "send_id";

#[derive(Serialize)]
struct Email<'a> {
    from: &'a str,
    to: [&'a str; 1],
    subject: &'a str,
    html: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
struct Tag {
    name: String,
    value: String,
}

/// Makes the bytes Resend gets. The same mail gives the same bytes, as Resend compares them where a
/// key comes twice.
pub fn prepare(mail: &Mail) -> Result<Prepared, String> {
    for (what, text) in [("sender", &mail.from), ("recipient", &mail.to)] {
        if text.trim().is_empty() {
            return Err(format!("the mail has no {what}"));
        }
    }
    let tags = mail.tags.iter().map(|(name, value)| Tag {
        name: plain(name),
        value: plain(value),
    });
    let id = Tag {
        name: SEND_ID.into(),
        value: mail.id.to_string(),
    };
    let tags = tags.filter(|tag| !tag.name.is_empty() && !tag.value.is_empty());
    let tags = std::iter::once(id).chain(tags);
    let email = Email {
        from: &mail.from,
        to: [&mail.to],
        subject: &mail.subject,
        html: &mail.html,
        text: &mail.text,
        reply_to: mail.reply_to.as_deref(),
        headers: mail
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        tags: tags.take(TAGS_MAX).collect(),
    };
    let body = serde_json::to_vec(&email).map_err(|error| error.to_string())?;
    Ok(Prepared {
        content_type: "application/json".into(),
        body: body.into(),
    })
}

fn plain(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let safe = |c: char| if allowed(c) { c } else { '_' };
    text.chars().take(TAG_MAX).map(safe).collect()
}
