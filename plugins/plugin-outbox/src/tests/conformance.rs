//! What every delivery plugin promises, read by another library.

use hogsend_plugin_api::kit::delivery::{Provider, Seen, conformance};
use hogsend_plugin_api::{Body, Settings};
use mail_parser::{Addr, Address, MessageParser};

use crate::Outbox;

#[test]
fn the_outbox_keeps_what_every_delivery_plugin_promises() {
    conformance::<Outbox>(&Provider {
        settings: Settings::default(),
        contents: |body| vec![message(body)],
        http: None,
        hooks: None,
    });
}

fn message(body: &Body) -> Seen {
    let message = MessageParser::default().parse(body.as_slice()).unwrap();
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
    let bare = address.address().unwrap_or_default();
    match address.name() {
        Some(name) => format!("{name} <{bare}>"),
        None => bare.to_owned(),
    }
}
