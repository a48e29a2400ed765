//! Mails as messages of RFC 5322, for providers that take them whole.

use mail_builder::MessageBuilder;
use mail_builder::headers::HeaderType;
use mail_builder::headers::address::Address;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::date::Date;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use mail_builder::mime::MimePart;

use crate::Mail;

/// Builds a message (RFC 5322) whose text and HTML are alternatives (RFC 2046 §5.1.4). The same
/// mail gives the same bytes.
pub fn message(mail: &Mail) -> Result<Vec<u8>, String> {
    let graphic = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !graphic(&mail.message_id) || mail.message_id.contains(['<', '>']) {
        return Err(format!(
            "'{}' is no message id",
            mail.message_id.escape_debug()
        ));
    }
    let mut message = MessageBuilder::new()
        .from(address("sender", &mail.from)?)
        .to(address("recipient", &mail.to)?)
        .subject(mail.subject.as_str())
        .date(Date::new(mail.date.timestamp()))
        .message_id(mail.message_id.as_str())
        .body(alternatives(mail));
    if let Some(reply_to) = &mail.reply_to {
        message = message.reply_to(address("reply-to", reply_to)?);
    }
    for (name, value) in &mail.headers {
        if !graphic(name) || name.contains(':') {
            return Err(format!("'{}' is no name of a header", name.escape_debug()));
        }
        message = message.header(name.as_str(), header(value));
    }
    message.write_to_vec().map_err(|error| error.to_string())
}

fn alternatives(mail: &Mail) -> MimePart<'_> {
    // Random otherwise: every attempt would be another message.
    let boundary = format!("=_{}", mail.id.simple());
    let kind = ContentType::new("multipart/alternative").attribute("boundary", boundary);
    let text = MimePart::new("text/plain", mail.text.as_str());
    let html = MimePart::new("text/html", mail.html.as_str());
    MimePart::new(kind, vec![text, html])
}

/// ASCII stays as it is, so that programs find URLs in it; anything else is encoded (RFC 2047).
fn header(value: &str) -> HeaderType<'_> {
    if value.is_ascii() {
        Raw::new(value).into()
    } else {
        Text::new(value).into()
    }
}

/// `Name <local@domain>` or a bare address.
fn address<'a>(what: &str, text: &'a str) -> Result<Address<'a>, String> {
    let (name, _) = split(text);
    let bare = bare_address(what, text)?;
    Ok(Address::new_address(
        name.map(unquote).filter(|name| !name.is_empty()),
        bare,
    ))
}

fn split(text: &str) -> (Option<&str>, &str) {
    let text = text.trim();
    match text
        .strip_suffix('>')
        .and_then(|text| text.rsplit_once('<'))
    {
        Some((name, bare)) => (Some(name.trim()), bare.trim()),
        None => (None, text),
    }
}

/// The `local@domain` of `Name <local@domain>`, its domain in ASCII (RFC 5890 §2.3.2.1); what stands
/// before the `@` stays as it is. The error names `what`, as in "recipient".
pub fn bare_address(what: &str, text: &str) -> Result<String, String> {
    let (_, bare) = split(text);
    let wrong = |why: &str| {
        let shown = text.trim().escape_debug();
        format!("the {what} of the mail is no e-mail address: '{shown}'{why}")
    };
    let (local, domain) = bare.rsplit_once('@').ok_or_else(|| wrong(""))?;
    let stray = |c: char| c.is_control() || ['<', '>', ' ', ','].contains(&c);
    if local.is_empty() || bare.contains(stray) {
        return Err(wrong(""));
    }
    let domain = idna::domain_to_ascii(domain)
        .ok()
        .filter(|domain| !domain.is_empty())
        .ok_or_else(|| wrong(", its domain is no name"))?;
    // RFC 5321 §4.5.3.1.1 and §4.5.3.1.2.
    if local.len() > 64 {
        return Err(wrong(", there are more than 64 octets before the @"));
    }
    if domain.len() > 255 {
        return Err(wrong(", its domain is longer than 255 octets"));
    }
    Ok(format!("{local}@{domain}"))
}

/// A display name without the quotes it may be written in.
fn unquote(name: &str) -> String {
    match name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'))
    {
        Some(quoted) => quoted.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => name.to_owned(),
    }
}
