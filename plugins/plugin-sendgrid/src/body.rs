//! The body of `POST /v3/mail/send`
//! (<https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send>).

use std::collections::BTreeMap;

use hogsend_mime::{self as mime, NameAddr};
use hogsend_plugin_api::{Mail, Prepared};
use serde::Serialize;
use uuid::Uuid;

/// SendGrid allows at most this many categories.
const CATEGORIES_MAX: usize = 10;
/// The longest category, in characters.
const CATEGORY_MAX: usize = 255;
/// Headers that SendGrid refuses: it writes them itself, or has fields for them.
const RESERVED: [&str; 10] = [
    "bcc",
    "cc",
    "content-transfer-encoding",
    "content-type",
    "dkim-signature",
    "from",
    "received",
    "reply-to",
    "subject",
    "to",
];

/// The pools of IP addresses
/// (<https://www.twilio.com/docs/sendgrid/api-reference/ip-pools>). Each has a reputation of its own.
pub struct Pools {
    pub lifecycle: Option<String>,
    pub transactional: Option<String>,
}

#[derive(Serialize)]
struct Email<'a> {
    personalizations: [Personalization<'a>; 1],
    from: Mailbox,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<Mailbox>,
    subject: &'a str,
    content: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_pool_name: Option<&'a str>,
    tracking_settings: Tracking,
}

#[derive(Serialize)]
struct Personalization<'a> {
    to: [Mailbox; 1],
    custom_args: CustomArgs<'a>,
}

/// SendGrid returns them at the top level of events, and keeps them in clear: no personal data.
#[derive(Serialize)]
struct CustomArgs<'a> {
    /// Identifies the mail even where SendGrid's acceptance was lost.
    hs_id: &'a Uuid,
}

#[derive(Serialize)]
struct Mailbox {
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Serialize)]
struct Content<'a> {
    r#type: &'static str,
    value: &'a str,
}

/// The host tracks opens and clicks itself, and SendGrid would rewrite its links. Its subscription
/// tracking would add a second unsubscribe link.
#[derive(Default, Serialize)]
struct Tracking {
    click_tracking: ClickTracking,
    open_tracking: Off,
    subscription_tracking: Off,
    ganalytics: Off,
}

#[derive(Default, Serialize)]
struct ClickTracking {
    enable: bool,
    enable_text: bool,
}

#[derive(Default, Serialize)]
struct Off {
    enable: bool,
}

/// Builds the request body.
pub fn prepare(pools: &Pools, mail: &Mail) -> Result<Prepared, String> {
    let mailbox = |what: &str, text: &str| {
        let NameAddr { name, address } = mime::name_addr(what, text)?;
        Ok::<_, String>(Mailbox {
            email: address,
            name,
        })
    };
    for (name, _) in &mail.headers {
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str()) || lower.starts_with("x-sg-") {
            return Err(format!(
                "SendGrid does not accept the header '{name}': leave it out"
            ));
        }
    }
    let email = Email {
        personalizations: [Personalization {
            to: [mailbox("recipient", &mail.to)?],
            custom_args: CustomArgs { hs_id: &mail.id },
        }],
        from: mailbox("sender", &mail.from)?,
        reply_to: mail
            .reply_to
            .as_deref()
            .map(|text| mailbox("reply-to", text))
            .transpose()?,
        subject: &mail.subject,
        content: content(mail),
        headers: mail
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        categories: categories(mail),
        ip_pool_name: match mail.is_transactional() {
            true => pools.transactional.as_deref(),
            false => pools.lifecycle.as_deref(),
        },
        tracking_settings: Tracking::default(),
    };
    let body = serde_json::to_vec(&email).map_err(|error| error.to_string())?;
    Ok(Prepared::new("application/json", body))
}

/// The parts, plain text first, as SendGrid requires. It refuses an empty one.
fn content(mail: &Mail) -> Vec<Content<'_>> {
    let parts = [("text/plain", &mail.text), ("text/html", &mail.html)];
    let parts = parts.into_iter().filter(|(_, value)| !value.is_empty());
    parts
        .map(|(r#type, value)| Content { r#type, value })
        .collect()
}

/// The mail's labels, such as `template:welcome`. SendGrid refuses a repeated one.
fn categories(mail: &Mail) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (name, value) in mail.tags.iter().filter(|(_, value)| !value.is_empty()) {
        let plain = |c: char| if c.is_ascii_graphic() { c } else { '_' };
        let text = format!("{name}:{value}");
        let text = text.chars().take(CATEGORY_MAX).map(plain).collect();
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all.truncate(CATEGORIES_MAX);
    all
}
