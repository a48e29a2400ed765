//! Calls the plugin as the host does, and parses its messages with another library.

mod conformance;
mod limits;

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{
    Attempt, Capabilities, Idempotency, Prepared, SendOutcome, Settings, StepError,
};
use hogsend_plugin_kit as kit;
use mail_parser::{MessageParser, MimeHeaders as _};
use serde_json::{Value, json};

use crate::Outbox;

fn plugin() -> Box<dyn Instance> {
    kit::start::<Outbox>(&Settings::default()).unwrap()
}

fn mail() -> Value {
    json!({
        "id": "01234567-89ab-7cde-8f01-23456789abcd",
        "from": "Äcme, Inc. <hello@acme.test>",
        "to": "ann@example.com",
        "reply_to": "help@acme.test",
        "subject": "Wélcome to the very long subject line of a mail that has to be folded – 🎉",
        "html": "<p>Hí, this = \"HTML\"</p>\n",
        "text": "Hí\n.\nFrom here on\n",
        "headers": [
            ["List-Unsubscribe", format!("<https://acme.test/u?token={}>", "aB3_".repeat(60))],
            ["List-Unsubscribe-Post", "List-Unsubscribe=One-Click"],
            ["Comments", "grüße"],
        ],
        "date": "2026-03-01T10:00:00+02:00",
        "message_id": "01234567@acme.test",
    })
}

fn prepare(mail: &Value) -> Result<Prepared, String> {
    kit::ask(plugin().as_ref(), method::DELIVERY_PREPARE, mail).unwrap()
}

#[test]
fn another_library_reads_every_part_of_the_message() {
    let mail = mail();
    let prepared = prepare(&mail).unwrap();
    assert_eq!(prepared.content_type, "message/rfc822");
    let bytes = prepared.body.as_slice();
    let message = MessageParser::default().parse(bytes).unwrap();
    let from = message.from().unwrap().first().unwrap();
    assert_eq!(
        (from.name(), from.address()),
        (Some("Äcme, Inc."), Some("hello@acme.test"))
    );
    let to = message.to().unwrap().first().unwrap();
    assert_eq!((to.name(), to.address()), (None, Some("ann@example.com")));
    assert_eq!(
        message.reply_to().unwrap().first().unwrap().address(),
        Some("help@acme.test")
    );
    assert_eq!(message.subject(), mail["subject"].as_str());
    assert_eq!(message.date().unwrap().to_rfc3339(), "2026-03-01T08:00:00Z");
    assert_eq!(message.message_id(), Some("01234567@acme.test"));
    for header in mail["headers"].as_array().unwrap() {
        let name = header[0].as_str().unwrap();
        let value = match message.header(name).unwrap().as_text() {
            Some(text) => text.to_owned(),
            // Parsed as a list of addresses, which a URL is not.
            None => message
                .header_raw(name)
                .unwrap()
                .replace("\r\n", "")
                .trim()
                .to_owned(),
        };
        assert_eq!(Some(value.as_str()), header[1].as_str());
    }
    let lines = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
    assert_eq!(
        lines(&message.body_text(0).unwrap()),
        lines(mail["text"].as_str().unwrap())
    );
    assert_eq!(
        lines(&message.body_html(0).unwrap()),
        lines(mail["html"].as_str().unwrap())
    );
    let kinds: Vec<_> = message
        .parts
        .iter()
        .filter_map(|part| part.content_type()?.subtype())
        .collect();
    // RFC 2046 §5.1.4: the plainest first.
    assert_eq!(kinds, ["alternative", "plain", "html"]);
}

#[test]
fn the_bytes_keep_to_the_format_and_are_always_the_same() {
    let prepared = prepare(&mail()).unwrap();
    assert_eq!(prepare(&mail()).unwrap(), prepared);
    let text = std::str::from_utf8(prepared.body.as_slice()).unwrap();
    assert!(text.is_ascii());
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert_eq!(text.matches('\r').count(), text.matches("\r\n").count());
    assert!(text.split("\r\n").all(|line| line.len() <= 998));
    for name in [
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "MIME-Version",
    ] {
        let lines = text
            .split("\r\n")
            .filter(|line| line.starts_with(&format!("{name}: ")));
        assert_eq!(lines.count(), 1, "{name}");
    }
    let mut other = mail();
    other["id"] = json!("01234567-89ab-7cde-8f01-23456789abce");
    assert_ne!(prepare(&other).unwrap(), prepared);
}

#[test]
fn names_are_read_with_and_without_quotes() {
    for (from, name, address) in [
        ("a@b.co", None, "a@b.co"),
        ("<a@b.co>", None, "a@b.co"),
        ("Ann <a@b.co>", Some("Ann"), "a@b.co"),
        (
            "\"Doe, \\\"Ann\\\"\" <a@b.co>",
            Some("Doe, \"Ann\""),
            "a@b.co",
        ),
        ("Ann < Bea <a@b.co>", Some("Ann < Bea"), "a@b.co"),
        ("日本語 <a@b.co>", Some("日本語"), "a@b.co"),
        ("Acme, Inc. <a@b.co>", Some("Acme, Inc."), "a@b.co"),
        (
            "Größe (Süd), GmbH: <a@b.co>",
            Some("Größe (Süd), GmbH:"),
            "a@b.co",
        ),
        (r#""a \\ b" <a@b.co>"#, Some(r"a \ b"), "a@b.co"),
    ] {
        let mut one = mail();
        one["from"] = json!(from);
        let prepared = prepare(&one).unwrap();
        let message = MessageParser::default()
            .parse(prepared.body.as_slice())
            .unwrap();
        let found = message.from().unwrap().first().unwrap();
        assert_eq!(
            (found.name(), found.address()),
            (name, Some(address)),
            "{from}"
        );
    }
}

#[test]
fn what_cannot_be_written_is_named() {
    for (field, value, words) in [
        (
            "to",
            json!("nobody"),
            "the recipient of the mail is not an email address: 'nobody'",
        ),
        (
            "from",
            json!("x\r\nBcc: evil@example.com\r\n <a@b.co>"),
            "the sender of the mail contains a line break",
        ),
        (
            "reply_to",
            json!("x\nBcc: evil@example.com <a@b.co>"),
            "the reply-to of the mail contains a line break",
        ),
        ("to", json!("a@b.co, c@d.co"), "the recipient"),
        ("from", json!(""), "the sender"),
        ("reply_to", json!("Help <help>"), "the reply-to"),
        ("message_id", json!(""), "'' is not a message id"),
        (
            "message_id",
            json!("1@acme.test>\r\nBcc: x"),
            "'1@acme.test>\\r\\nBcc: x' is not a message id",
        ),
        (
            "headers",
            json!([["X-A: b\r\nBcc", "x"]]),
            "'X-A: b\\r\\nBcc' is not a header name",
        ),
    ] {
        let mut bad = mail();
        bad[field] = value;
        let error = prepare(&bad).unwrap_err();
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn no_value_begins_another_header() {
    let evil = "x\r\nBcc: evil@example.com\r\n\r\n<script>";
    for (field, value) in [
        ("subject", json!(evil)),
        (
            "headers",
            json!([["X-One", evil], ["X-Two", format!("ü{evil}")]]),
        ),
    ] {
        let mut bad = mail();
        bad[field] = value;
        let prepared = prepare(&bad).unwrap();
        let message = MessageParser::default()
            .parse(prepared.body.as_slice())
            .unwrap();
        assert!(
            message.bcc().is_none(),
            "{field}: {}",
            prepared.body.text_lossy()
        );
        assert_eq!(message.parts.len(), 3, "{field}");
    }
}

fn attempt(key: &str, number: u32) -> Attempt {
    Attempt::new(key, prepare(&mail()).unwrap(), kit::beginning(), number)
}

#[test]
fn a_mail_is_one_file_however_often_it_is_tried() {
    for (key, name) in [
        ("0198-a-3", "20260101T000000Z-0198-a-3.eml"),
        ("../a/b\\c\0 d.é", "20260101T000000Z-___a_b_c__d__.eml"),
    ] {
        for number in 1..=2 {
            let attempt = attempt(key, number);
            let body = json!(attempt.prepared.body);
            let outcome: SendOutcome =
                kit::call(plugin().as_ref(), method::DELIVERY_SEND, attempt, |asked| {
                    assert_eq!(asked.kind, "file_put");
                    assert_eq!(asked.args, json!({ "name": name, "body": body }));
                    Ok(Value::Null)
                })
                .unwrap();
            assert_eq!(outcome, SendOutcome::accepted(name));
        }
    }
    let long = attempt(&"k".repeat(1_000), 1);
    assert!(crate::file_name(&long).len() <= 200);
}

#[test]
fn a_full_disk_is_tried_again() {
    let full = |_: &_| {
        Err(StepError::new(
            "file_failed",
            "cannot write into outbox: disk full",
        ))
    };
    let outcome: SendOutcome = kit::call(
        plugin().as_ref(),
        method::DELIVERY_SEND,
        attempt("k", 1),
        full,
    )
    .unwrap();
    assert_eq!(
        outcome,
        SendOutcome::retry("cannot write into outbox: disk full")
    );
}

#[test]
fn a_repeat_is_always_the_same_mail() {
    let capabilities: Capabilities =
        kit::ask(plugin().as_ref(), method::DELIVERY_CAPABILITIES, &()).unwrap();
    assert_eq!(capabilities.idempotency, Idempotency::Forever);
}
