//! The message as mail programs read it.

use hogsend_plugin_api::Mail;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::date::Date;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::MimePart;

/// Builds a message (RFC 5322) with a text and an HTML part (RFC 2046 §5.1.4). The same mail gives
/// the same bytes.
pub fn build(mail: &Mail) -> Result<Vec<u8>, String> {
    // Derived from the id: a random boundary would make every attempt another message.
    let boundary = format!("=_{}", mail.id.simple());
    let alternative = MimePart::new(
        mail_builder::headers::content_type::ContentType::new("multipart/alternative")
            .attribute("boundary", boundary),
        vec![
            MimePart::new("text/plain", mail.text.as_str()),
            MimePart::new("text/html", mail.html.as_str()),
        ],
    );
    let mut message = MessageBuilder::new()
        .from(address(&mail.from))
        .to(address(&mail.to))
        .subject(mail.subject.as_str())
        .date(Date::new(mail.date.timestamp()))
        .message_id(mail.message_id.as_str())
        .body(alternative);
    if let Some(reply_to) = &mail.reply_to {
        message = message.reply_to(address(reply_to));
    }
    for (name, value) in &mail.headers {
        message = message.header(name.as_str(), Raw::new(value.as_str()));
    }
    message.write_to_vec().map_err(|error| error.to_string())
}

/// `Name <local@domain>` or a bare address.
fn address(text: &str) -> Address<'_> {
    match text.rsplit_once('<') {
        Some((name, rest)) => {
            let name = name.trim().trim_matches('"');
            Address::new_address(
                (!name.is_empty()).then_some(name),
                rest.trim_end().trim_end_matches('>'),
            )
        }
        None => Address::new_address(None::<&str>, text.trim()),
    }
}
