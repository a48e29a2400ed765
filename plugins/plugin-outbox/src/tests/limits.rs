//! For any mail, the message respects the limits of RFC 5322 and has the same content.

use hogsend_mime as mime;
use hogsend_plugin_api::Mail;
use mail_parser::MessageParser;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const LETTERS: [&str; 24] = [
    "a",
    "B",
    "7",
    " ",
    " ",
    "  ",
    ".",
    ",",
    ":",
    ";",
    "=",
    "?",
    "=?utf-8?Q?x?=",
    "<",
    ">",
    "\"",
    "\\",
    "@",
    "é",
    "ß",
    "漢字",
    "🎉",
    "\u{200d}",
    "word",
];

fn text(rng: &mut StdRng, most: usize, more: &[&str]) -> String {
    let count = rng.random_range(0..most);
    (0..count)
        .map(|_| {
            let at = rng.random_range(0..LETTERS.len() + more.len());
            *LETTERS.get(at).unwrap_or_else(|| &more[at - LETTERS.len()])
        })
        .collect()
}

fn one_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.trim_end_matches('\n').to_owned()
}

#[test]
fn any_text_fits_its_lines_and_reads_back() {
    let mut rng = StdRng::seed_from_u64(7);
    for round in 0..1_500 {
        let line_ends = ["\n", "\r\n", "\r", "\n.\n", "\nFrom x\n", "\t"];
        let mut mail = Mail::new(
            uuid::Uuid::from_u128(round),
            "Acme <hello@acme.test>",
            "ann+x@example.com",
            chrono::DateTime::UNIX_EPOCH,
        );
        mail.subject = text(&mut rng, 120, &[]);
        mail.html = text(&mut rng, 900, &line_ends);
        mail.text = text(&mut rng, 900, &line_ends);
        mail.headers = vec![("Comments".into(), text(&mut rng, 60, &[]))];
        mail.message_id = "1@acme.test".into();
        let bytes = mime::message(&mail).unwrap();
        let wire = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(
            wire.matches('\r').count(),
            wire.matches("\r\n").count(),
            "{round}"
        );
        assert_eq!(
            wire.matches('\n').count(),
            wire.matches("\r\n").count(),
            "{round}"
        );
        let longest = wire.split("\r\n").map(str::len).max().unwrap();
        assert!(longest <= 998, "{round}: {longest}");
        let message = MessageParser::default().parse(&bytes).unwrap();
        let subject = message.subject().unwrap_or_default();
        assert_eq!(one_space(subject), one_space(&mail.subject), "{round}");
        assert_eq!(
            lines(&message.body_text(0).unwrap()),
            lines(&mail.text),
            "{round}"
        );
        assert_eq!(
            lines(&message.body_html(0).unwrap()),
            lines(&mail.html),
            "{round}"
        );
        assert_eq!(message.parts.len(), 3, "{round}");
    }
}

#[test]
fn what_would_break_a_message_is_refused_by_name() {
    let mail = |headers: &[(&str, &str)]| {
        let id = uuid::Uuid::nil();
        let at = chrono::DateTime::UNIX_EPOCH;
        let mut mail = Mail::new(id, "hello@acme.test", "ann@example.com", at);
        mail.subject = "x".into();
        mail.headers = headers
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        mail.message_id = "1@acme.test".into();
        mail
    };
    let long = format!("<https://acme.test/{}>", "x".repeat(1_200));
    for (name, value) in [
        ("From", "x@y.z"),
        ("bcc", "x@y.z"),
        ("Content-Type", "text/x"),
        ("List-Unsubscribe", &long),
    ] {
        let refused = mime::message(&mail(&[(name, value)])).unwrap_err();
        assert!(refused.contains(name), "{refused}");
    }
    for bad in [
        "a@exa(mple.com",
        "a@b..c",
        "a@-b.c",
        "a;b@c.d",
        "x@example.com.",
        "a..b@c.d",
        ".a@c.d",
        "a b@c.d",
        "@c.d",
        "a@",
        "a@b_c.d",
        "a,b@c.d",
    ] {
        assert!(mime::bare_address("recipient", bad).is_err(), "{bad}");
    }
    let local = format!("{}@c.d", "x".repeat(65));
    assert!(
        mime::bare_address("recipient", &local)
            .unwrap_err()
            .contains("64 octets")
    );
    for (given, expected) in [
        ("Ann <a+b@Example.com>", "a+b@example.com"),
        ("дарья@bücher.example", "дарья@xn--bcher-kva.example"),
        ("o'neil!#$%&@a-b.c", "o'neil!#$%&@a-b.c"),
        ("root@localhost", "root@localhost"),
    ] {
        assert_eq!(
            mime::bare_address("recipient", given).as_deref(),
            Ok(expected)
        );
    }
}
