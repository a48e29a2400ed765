//! The body of `POST /v3/smtp/email`
//! (<https://developers.brevo.com/reference/sendtransacemail>).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hogsend_mime::{self as mime, NameAddr};
use hogsend_plugin_api::{Body, Mail, Prepared};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// The header that Brevo returns in webhooks. The recipient can read it.
pub const SEND_ID: &str = "X-Mailin-custom";
/// The most octets of UTF-8 in one encoded word, which has at most 75 characters (RFC 2047 §2).
const WORD_MAX: usize = 45;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Email<'a> {
    sender: Mailbox,
    to: [Mailbox; 1],
    subject: &'a str,
    html_content: &'a str,
    text_content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<Mailbox>,
    headers: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

#[derive(Serialize)]
struct Mailbox {
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// Builds the request body.
pub fn prepare(mail: &Mail) -> Result<Prepared, String> {
    let mailbox = |what: &str, text: &str| {
        let NameAddr { name, address } = mime::name_addr(what, text)?;
        Ok::<_, String>(Mailbox {
            email: address,
            name: name.map(display),
        })
    };
    // Identifies the mail even where Brevo's acceptance was lost.
    let mut headers = BTreeMap::from([(SEND_ID, mail.id.to_string())]);
    for (name, value) in &mail.headers {
        // Brevo sends other characters as raw octets, which is no valid header (RFC 5322 §2.2).
        if !value.is_ascii() {
            return Err(format!(
                "the header '{name}' has characters that are not ASCII, which Brevo sends unencoded: leave them out"
            ));
        }
        headers.insert(name, value.clone());
    }
    let labels = mail.tags.iter().filter(|(_, value)| !value.is_empty());
    let email = Email {
        sender: mailbox("sender", &mail.from)?,
        to: [mailbox("recipient", &mail.to)?],
        subject: &mail.subject,
        html_content: &mail.html,
        text_content: &mail.text,
        reply_to: mail
            .reply_to
            .as_deref()
            .map(|text| mailbox("reply-to", text))
            .transpose()?,
        headers,
        tags: labels
            .map(|(name, value)| format!("{name}:{value}"))
            .collect(),
    };
    let body = serde_json::to_vec(&email).map_err(|error| error.to_string())?;
    Ok(Prepared::new("application/json", body))
}

/// The body with the idempotency key, which Brevo takes among the headers of the mail. The same body
/// and key give the same bytes.
pub fn under_key(prepared: &Prepared, key: Uuid) -> Result<Body, String> {
    let mut body: Value = serde_json::from_slice(prepared.body.as_slice())
        .map_err(|error| format!("the stored mail is not JSON: {error}"))?;
    if !body.is_object() {
        return Err("the stored mail is not a JSON object".into());
    }
    if !body["headers"].is_object() {
        body["headers"] = json!({});
    }
    body["headers"]["idempotencyKey"] = json!(key);
    Ok(body.to_string().into())
}

/// Brevo loses a name with both a comma and characters that are not ASCII, unless it is encoded.
fn display(name: String) -> String {
    if name.is_ascii() || !name.contains(',') {
        return name;
    }
    let mut words = vec![String::new()];
    for c in name.chars() {
        let last = words.last().map_or(0, String::len);
        if last + c.len_utf8() > WORD_MAX {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    let encoded = words
        .iter()
        .map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
    encoded.collect::<Vec<_>>().join(" ")
}
