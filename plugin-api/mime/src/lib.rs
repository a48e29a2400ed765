//! Mails as messages of RFC 5322, for providers that take them whole, and addresses with names as
//! their headers have them.

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

/// Characters of an unreadable address that its error shows.
const SHOWN_MAX: usize = 100;
/// The longest word of a header: a line has at most 998 octets (RFC 5322 §2.1.1), its name included.
const WORD_MAX: usize = 900;
/// Headers a message makes of a mail's own fields.
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

/// Builds a message (RFC 5322) whose text and HTML are alternatives (RFC 2046 §5.1.4). The same
/// mail gives the same bytes. The error names what in the mail is unacceptable.
pub fn message(mail: &Mail) -> Result<Vec<u8>, String> {
    let id = mail.message_id.as_str();
    if !graphic(id) || id.contains(['<', '>']) || id.len() > WORD_MAX {
        return Err(format!("'{}' is no message id", id.escape_debug()));
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
            return Err(format!("'{}' is no name of a header", name.escape_debug()));
        }
        let lower = name.to_ascii_lowercase();
        if OWN_HEADERS.contains(&lower.as_str()) || lower.starts_with("content-") {
            return Err(format!(
                "the header '{name}' is made of the mail's own fields: leave it out"
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
    // Random otherwise: every attempt would be another message.
    let boundary = format!("=_{}", mail.id.simple());
    let kind = ContentType::new("multipart/alternative").attribute("boundary", boundary);
    let text = MimePart::new("text/plain", lines(&mail.text));
    let html = MimePart::new("text/html", lines(&mail.html));
    MimePart::new(kind, vec![text, html])
}

/// A carriage return stands before a line feed and nowhere else (RFC 5321 §2.3.8).
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// ASCII stays as it is, so that programs find URLs in it; anything else is encoded.
fn header<'a>(name: &str, value: &'a str) -> Result<HeaderType<'a>, String> {
    if !value.is_ascii() {
        return Ok(text(value));
    }
    if value.split(' ').any(|word| word.len() > WORD_MAX) {
        return Err(format!(
            "the header '{name}' has a word of more than {WORD_MAX} characters, which fits no line"
        ));
    }
    Ok(Raw::new(value).into())
}

/// Text for people (RFC 2047). What only looks encoded is encoded, or readers would decode it.
fn text(value: &str) -> HeaderType<'_> {
    let long = value.split(' ').any(|word| word.len() > WORD_MAX);
    if value.is_ascii() && (value.contains("=?") || long) {
        // At most 75 characters each, in words of their own.
        let words: Vec<String> = value
            .as_bytes()
            .chunks(45)
            .map(|part| format!("=?utf-8?B?{}?=", STANDARD.encode(part)))
            .collect();
        return Raw::new(words.join(" ")).into();
    }
    Text::new(value).into()
}

/// `Name <local@domain>` or a bare address, as a header has it.
fn address(what: &str, text: &str) -> Result<Address<'static>, String> {
    let NameAddr { name, address } = name_addr(what, text)?;
    Ok(Address::new_address(name, address))
}

/// Reads one address with or without a name. The error is a sentence and names `what`, as in "recipient".
pub fn name_addr(what: &str, text: &str) -> Result<NameAddr, String> {
    text.parse().map_err(|error: NameAddrError| {
        let shown: String = text.trim().escape_debug().take(SHOWN_MAX).collect();
        format!("the {what} of the mail {error}: '{shown}'")
    })
}

/// The `local@domain` of `Name <local@domain>`, its domain in ASCII (RFC 5890 §2.3.2.1); what stands
/// before the `@` stays as it is. The error names `what`, as in "recipient".
pub fn bare_address(what: &str, text: &str) -> Result<String, String> {
    Ok(name_addr(what, text)?.address)
}
