//! The body of `POST /email` (<https://postmarkapp.com/developer/api/email-api>).

use hogsend_mime as mime;
use hogsend_plugin_api::{Mail, Prepared};
use serde::Serialize;
use uuid::Uuid;

/// The longest tag Postmark accepts, in characters.
const TAG_MAX: usize = 1_000;

/// The message streams. Postmark separates broadcast and transactional mail to protect the delivery
/// of the latter.
pub struct Streams {
    pub lifecycle: String,
    pub transactional: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Email<'a> {
    from: String,
    to: String,
    subject: &'a str,
    html_body: &'a str,
    text_body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
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

/// Postmark returns it in webhooks.
#[derive(Serialize)]
struct Metadata {
    /// Identifies a mail even where Postmark's acceptance was lost.
    send_id: Uuid,
}

/// Builds the request body.
pub fn prepare(streams: &Streams, mail: &Mail) -> Result<Prepared, String> {
    let mailbox =
        |what: &str, text: &str| Ok::<_, String>(mime::name_addr(what, text)?.to_string());
    let email = Email {
        from: mailbox("sender", &mail.from)?,
        to: mailbox("recipient", &mail.to)?,
        subject: &mail.subject,
        html_body: &mail.html,
        text_body: &mail.text,
        reply_to: mail
            .reply_to
            .as_deref()
            .map(|text| mailbox("reply-to", text))
            .transpose()?,
        headers: mail
            .headers
            .iter()
            .map(|(name, value)| Header { name, value })
            .collect(),
        message_stream: match mail.is_transactional() {
            true => &streams.transactional,
            false => &streams.lifecycle,
        },
        tag: mail
            .tag("template")
            .map(|name| name.chars().take(TAG_MAX).collect()),
        metadata: Metadata { send_id: mail.id },
        // The host tracks opens and clicks itself, and Postmark would rewrite its links.
        track_opens: false,
        track_links: "None",
    };
    let body = serde_json::to_vec(&email).map_err(|error| error.to_string())?;
    Ok(Prepared::new("application/json", body))
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
        let prepared = super::prepare(
            &super::Streams {
                lifecycle: "b".into(),
                transactional: "o".into(),
            },
            &mail,
        )?;
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
        assert_eq!(sent["From"], "\"Acme, Inc.\" <hello@acme.example>");
        assert_eq!(sent["ReplyTo"], "\"Help: Acme\" <h@acme.example>");
        let sent = body("Äcme <hello@bücher.example>", "h@acme.example").unwrap();
        assert_eq!(sent["From"], "Äcme <hello@xn--bcher-kva.example>");
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
