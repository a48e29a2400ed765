//! The body of `POST /emails`.

use std::collections::BTreeMap;

use hogsend_plugin_api::{Mail, Prepared};
use serde::Serialize;

/// Resend allows tag names and values of at most 256 of these: letters, digits, `_` and `-`.
const TAG_MAX: usize = 256;

#[derive(Serialize)]
struct Email<'a> {
    from: &'a str,
    to: [&'a str; 1],
    subject: &'a str,
    html: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<&'a str>,
    headers: BTreeMap<&'a str, &'a str>,
    tags: Vec<Tag>,
}

#[derive(Serialize)]
struct Tag {
    name: String,
    value: String,
}

pub fn prepare(mail: &Mail) -> Result<Prepared, String> {
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
        tags: mail
            .tags
            .iter()
            .map(|(name, value)| Tag {
                name: tag(name),
                value: tag(value),
            })
            .collect(),
    };
    let body = serde_json::to_vec(&email).map_err(|error| error.to_string())?;
    Ok(Prepared {
        content_type: "application/json".into(),
        body: body.into(),
    })
}

fn tag(text: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
            c
        } else {
            '_'
        }
    };
    text.chars().take(TAG_MAX).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::tag;

    #[test]
    fn tags_hold_only_what_resend_allows() {
        assert_eq!(tag("journey.wélcome 1"), "journey_w_lcome_1");
        assert_eq!(tag(&"x".repeat(300)).len(), 256);
    }
}
