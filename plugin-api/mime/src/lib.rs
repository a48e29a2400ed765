//! Writes mails as RFC 5322 messages, for providers that accept whole messages, and parses addresses
//! with display names.

mod name_addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hogsend_plugin_api::Mail;
use mail_builder::MessageBuilder;
use mail_builder::headers::HeaderType;
use mail_builder::headers::address::Address;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::date::Date;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use mail_builder::mime::MimePart;

pub use name_addr::{NameAddr, NameAddrError};

/// The most characters of an invalid address that its error shows.
const SHOWN_MAX: usize = 100;
/// The longest word of a header: a line has at most 998 octets (RFC 5322 §2.1.1), its name included.
const WORD_MAX: usize = 900;
/// Headers that the message builds from a mail's own fields.
const OWN_HEADERS: [&str; 10] = [
    "from",
    "to",
    "cc",
    "bcc",
    "sender",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "mime-version",
];

/// Builds a message (RFC 5322) with the text and the HTML as alternatives (RFC 2046 §5.1.4). The same
/// mail gives the same bytes.
///
/// # Errors
///
/// A sentence that names the field of the mail that is invalid.
pub fn message(mail: &Mail) -> Result<Vec<u8>, String> {
    let id = mail.message_id.as_str();
    if !graphic(id) || id.contains(['<', '>']) || id.len() > WORD_MAX {
        return Err(format!("'{}' is not a message id", id.escape_debug()));
    }
    let mut message = MessageBuilder::new()
        .from(address("sender", &mail.from)?)
        .to(address("recipient", &mail.to)?)
        .header("Subject", text(&mail.subject))
        .date(Date::new(mail.date.timestamp()))
        .message_id(id)
        .body(alternatives(mail));
    if let Some(reply_to) = &mail.reply_to {
        message = message.reply_to(address("reply-to", reply_to)?);
    }
    for (name, value) in &mail.headers {
        if !graphic(name) || name.contains(':') {
            return Err(format!("'{}' is not a header name", name.escape_debug()));
        }
        let lower = name.to_ascii_lowercase();
        if OWN_HEADERS.contains(&lower.as_str()) || lower.starts_with("content-") {
            return Err(format!(
                "the header '{name}' is written from the mail's own fields: leave it out"
            ));
        }
        message = message.header(name.as_str(), header(name, value)?);
    }
    message.write_to_vec().map_err(|error| error.to_string())
}

fn graphic(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn alternatives(mail: &Mail) -> MimePart<'_> {
    // A random boundary would make every attempt a different message.
    let boundary = format!("=_{}", mail.id.simple());
    let kind = ContentType::new("multipart/alternative").attribute("boundary", boundary);
    let text = MimePart::new("text/plain", lines(&mail.text));
    let html = MimePart::new("text/html", lines(&mail.html));
    MimePart::new(kind, vec![text, html])
}

/// Line feeds only; the message builder writes CRLF. A bare CR is not allowed (RFC 5321 §2.3.8).
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// ASCII stays unencoded, so that programs find URLs in it; anything else is encoded.
fn header<'a>(name: &str, value: &'a str) -> Result<HeaderType<'a>, String> {
    if !value.is_ascii() {
        return Ok(text(value));
    }
    if value.split(' ').any(|word| word.len() > WORD_MAX) {
        return Err(format!(
            "the header '{name}' has a word of more than {WORD_MAX} characters, too long for a line"
        ));
    }
    Ok(Raw::new(value).into())
}

/// Text for people (RFC 2047). Text that merely looks encoded is encoded, or mail clients would
/// decode it.
fn text(value: &str) -> HeaderType<'_> {
    let long = value.split(' ').any(|word| word.len() > WORD_MAX);
    if value.is_ascii() && (value.contains("=?") || long) {
        // Encoded words have at most 75 characters each (RFC 2047 §2).
        let words: Vec<String> = value
            .as_bytes()
            .chunks(45)
            .map(|part| format!("=?utf-8?B?{}?=", STANDARD.encode(part)))
            .collect();
        return Raw::new(words.join(" ")).into();
    }
    Text::new(value).into()
}

/// `Name <local@domain>` or a bare address, for a header.
fn address(what: &str, text: &str) -> Result<Address<'static>, String> {
    let NameAddr { name, address } = name_addr(what, text)?;
    Ok(Address::new_address(name, address))
}

/// Parses one address with or without a display name.
///
/// # Errors
///
/// A sentence that names `what`, for example "recipient", and the text.
pub fn name_addr(what: &str, text: &str) -> Result<NameAddr, String> {
    text.parse().map_err(|error: NameAddrError| {
        let shown: String = text.trim().escape_debug().take(SHOWN_MAX).collect();
        format!("the {what} of the mail {error}: '{shown}'")
    })
}

/// The `local@domain` of `Name <local@domain>`, with the domain in ASCII (RFC 5890 §2.3.2.1) and the
/// local part unchanged.
///
/// # Errors
///
/// A sentence that names `what`, for example "recipient", and the text.
pub fn bare_address(what: &str, text: &str) -> Result<String, String> {
    Ok(name_addr(what, text)?.address)
}
