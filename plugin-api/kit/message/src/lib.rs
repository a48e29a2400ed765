//! Parses an RFC 5322 message with another library than the one that writes it.
//!
//! For the conformance tests of delivery plugins whose provider accepts whole messages. It is a crate
//! of its own because the host links the kit, for `hogsend journeys simulate`, and needs no parser.

use hogsend_mime::NameAddr;
use hogsend_plugin_kit::delivery::Seen;
use mail_parser::{Addr, Address, MessageParser};

/// Parses a message, for [`Provider::contents`](hogsend_plugin_kit::delivery::Provider::contents).
///
/// # Panics
///
/// The bytes are not a message, or lack a sender, recipient, subject, HTML or text.
pub fn message(bytes: &[u8]) -> Seen {
    let message = MessageParser::default().parse(bytes).unwrap();
    let one = |all: Option<&Address<'_>>| all.and_then(|all| all.first().map(whole));
    let header = |name: &str| {
        let raw = message.header_raw(name)?;
        Some((name.to_owned(), raw.replace("\r\n", "").trim().to_owned()))
    };
    Seen {
        from: one(message.from()).unwrap(),
        to: one(message.to()).unwrap(),
        reply_to: one(message.reply_to()),
        subject: message.subject().unwrap().to_owned(),
        html: message.body_html(0).unwrap().into_owned(),
        text: message.body_text(0).unwrap().into_owned(),
        headers: ["List-Unsubscribe", "List-Unsubscribe-Post", "List-Id"]
            .into_iter()
            .filter_map(header)
            .collect(),
    }
}

fn whole(address: &Addr<'_>) -> String {
    let mailbox = NameAddr {
        name: address.name().map(str::to_owned),
        address: address.address().unwrap_or_default().to_owned(),
    };
    mailbox.to_string()
}
