//! The body of `POST /emails`.

use std::collections::BTreeMap;

use hogsend_mime as mime;
use hogsend_plugin_api::{Mail, Prepared};
use serde::Serialize;

/// Resend allows tag names and values of at most 256 letters, digits, `_` and `-`.
const TAG_MAX: usize = 256;
/// Resend allows at most this many tags.
const TAGS_MAX: usize = 75;
/// The tag that identifies the mail in webhooks, even where Resend's acceptance was lost.
pub const SEND_ID: &str = "send_id";

#[derive(Serialize)]
struct Email<'a> {
    from: String,
    to: [String; 1],
    subject: &'a str,
    html: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
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

/// Builds the request body. The same mail must give the same bytes, because Resend compares them when
/// a key is used again.
pub fn prepare(mail: &Mail) -> Result<Prepared, String> {
    let mailbox =
        |what: &str, text: &str| Ok::<_, String>(mime::name_addr(what, text)?.to_string());
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
        from: mailbox("sender", &mail.from)?,
        to: [mailbox("recipient", &mail.to)?],
        subject: &mail.subject,
        html: &mail.html,
        text: &mail.text,
        reply_to: mail
            .reply_to
            .as_deref()
            .map(|text| mailbox("reply-to", text))
            .transpose()?,
        headers: mail
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        tags: tags.take(TAGS_MAX).collect(),
    };
    let body = serde_json::to_vec(&email).map_err(|error| error.to_string())?;
    Ok(Prepared::new("application/json", body))
}

fn plain(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let safe = |c: char| if allowed(c) { c } else { '_' };
    text.chars().take(TAG_MAX).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::Mail;
    use serde_json::{Value, json};

    fn body(from: &str, reply_to: &str) -> Result<Value, String> {
        let mail: Mail = serde_json::from_value(json!({
            "id": uuid_of_nothing(), "from": from, "to": "ann@example.com", "reply_to": reply_to,
            "subject": "s", "html": "h", "text": "t", "date": "2026-03-02T09:00:00Z",
            "message_id": "1@acme.example",
        }))
        .unwrap();
        let prepared = super::prepare(&mail)?;
        Ok(serde_json::from_slice(prepared.body.as_slice()).unwrap())
    }

    fn uuid_of_nothing() -> &'static str {
        "00000000-0000-0000-0000-000000000000"
    }

    #[test]
    fn names_are_quoted_where_a_reader_would_split_them() {
        let sent = body(
            "Acme, Inc. <hello@acme.example>",
            "Help: Acme <h@acme.example>",
        )
        .unwrap();
        assert_eq!(sent["from"], "\"Acme, Inc.\" <hello@acme.example>");
        assert_eq!(sent["reply_to"], "\"Help: Acme\" <h@acme.example>");
        let sent = body("Äcme <hello@bücher.example>", "h@acme.example").unwrap();
        assert_eq!(sent["from"], "Äcme <hello@xn--bcher-kva.example>");
    }

    #[test]
    fn what_is_no_mailbox_is_refused() {
        for (from, reply_to, words) in [
            (
                "foo",
                "h@acme.example",
                "the sender of the mail is not an email",
            ),
            (
                "a@acme.example",
                "x\r\nBcc: y <h@acme.example>",
                "the reply-to",
            ),
        ] {
            assert!(body(from, reply_to).unwrap_err().starts_with(words));
        }
    }
}
