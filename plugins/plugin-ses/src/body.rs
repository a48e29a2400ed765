//! The body of `POST /v2/email/outbound-emails`
//! (<https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>).
//!
//! Every mail is sent as a whole message (`Raw`). As `Simple`, SES accepts at most 15 further headers
//! and only printable ASCII in them, and leaves the encoding of names to its caller.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hogsend_mime as mime;
use hogsend_plugin_api::{Mail, Prepared};
use serde::{Deserialize, Serialize};

/// The tag that identifies the mail in events, even where the acceptance was lost.
pub const SEND_ID: &str = "send_id";
/// The header that does so in feedback notifications, which have no tags.
pub const SEND_ID_HEADER: &str = "X-Hogsend-Send-Id";
/// SES allows tag names and values of at most 256 letters, digits, `_` and `-`.
const TAG_MAX: usize = 256;
/// SES allows at most this many tags.
const TAGS_MAX: usize = 50;

/// The configuration sets. Each can have its own pool of IP addresses and its own reputation metrics.
pub struct ConfigurationSets {
    pub lifecycle: Option<String>,
    pub transactional: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Email<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration_set_name: Option<&'a str>,
    /// Replaces the recipients of the message. The sender and the reply-to are those of the message.
    destination: Destination,
    content: Content,
    email_tags: Vec<Tag>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Destination {
    to_addresses: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    raw: Raw,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Raw {
    /// The message in Base64.
    data: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    name: String,
    value: String,
}

/// Builds the request body.
pub fn prepare(sets: &ConfigurationSets, mail: &Mail) -> Result<Prepared, String> {
    let to = ascii("recipient", &mail.to)?;
    ascii("sender", &mail.from)?;
    if let Some(reply_to) = &mail.reply_to {
        ascii("reply-to", reply_to)?;
    }
    let set = match mail.is_transactional() {
        true => &sets.transactional,
        false => &sets.lifecycle,
    };
    let mut mail = mail.clone();
    mail.headers
        .push((SEND_ID_HEADER.into(), mail.id.to_string()));
    let email = Email {
        configuration_set_name: set.as_deref(),
        destination: Destination {
            to_addresses: vec![to],
        },
        content: Content {
            raw: Raw {
                data: STANDARD.encode(mime::message(&mail)?),
            },
        },
        email_tags: tags(&mail),
    };
    let body = serde_json::to_vec(&email).map_err(|error| error.to_string())?;
    Ok(Prepared::new("application/json", body))
}

/// The recipient of a prepared mail.
pub fn recipient(prepared: &Prepared) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Sent {
        destination: Destination,
    }
    let sent: Sent = serde_json::from_slice(prepared.body.as_slice()).ok()?;
    sent.destination.to_addresses.into_iter().next()
}

/// The address alone. SES does not support letters outside ASCII before the `@` (RFC 6531).
fn ascii(what: &str, text: &str) -> Result<String, String> {
    let address = mime::bare_address(what, text)?;
    if address.is_ascii() {
        Ok(address)
    } else {
        Err(format!(
            "the {what} of the mail has other letters than ASCII before the @, which Amazon SES does not deliver: '{address}'"
        ))
    }
}

fn tags(mail: &Mail) -> Vec<Tag> {
    let id = Tag {
        name: SEND_ID.into(),
        value: mail.id.to_string(),
    };
    let tags = mail.tags.iter().map(|(name, value)| Tag {
        name: plain(name),
        value: plain(value),
    });
    // A name may occur once.
    let mut all = vec![id];
    for tag in tags.filter(|tag| !tag.name.is_empty() && !tag.value.is_empty()) {
        if all.len() < TAGS_MAX && all.iter().all(|known| known.name != tag.name) {
            all.push(tag);
        }
    }
    all
}

fn plain(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let safe = |c: char| if allowed(c) { c } else { '_' };
    text.chars().take(TAG_MAX).map(safe).collect()
}
