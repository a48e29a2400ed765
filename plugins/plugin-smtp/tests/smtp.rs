//! Mail through a real server, and the outcomes with a scripted one.

mod scripted;

use std::fs;
use std::path::PathBuf;

use hogsend_plugin_api::call::{Ask, Reply, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{Attempt, BounceType, Prepared, SendOutcome, Sent, Settings};
use hogsend_plugin_kit::{self as kit, beginning};
use hogsend_plugin_smtp::Smtp;
use mail_parser::{MessageParser, MimeHeaders as _};
use scripted::Scripted;
use serde_json::{Value, json};

/// The server `cargo xtask test` starts.
struct Server {
    starttls: String,
    implicit: String,
    ca: String,
    mail: PathBuf,
}

fn server() -> Server {
    let place = std::env::var("HOGSEND_TEST_SMTP")
        .expect("no SMTP server: run the tests with `cargo xtask test`, which starts one");
    let place: Value = serde_json::from_str(&place).unwrap();
    let text = |name: &str| place[name].as_str().unwrap().to_owned();
    Server {
        starttls: place["starttls"].to_string(),
        implicit: place["implicit"].to_string(),
        ca: text("ca"),
        mail: text("mail").into(),
    }
}

fn plugin(pairs: &[(&str, &str)]) -> Box<dyn Instance> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    kit::start::<Smtp>(&pairs.iter().map(own).collect::<Settings>()).unwrap()
}

fn account(server: &Server, port: &str, mode: &str, password: &str) -> Box<dyn Instance> {
    plugin(&[
        ("SMTP_HOST", "localhost"),
        ("SMTP_PORT", port),
        ("SMTP_TLS", mode),
        ("SMTP_CA_FILE", &server.ca),
        ("SMTP_USERNAME", "ann"),
        ("SMTP_PASSWORD", password),
    ])
}

fn mail(to: &str, subject: &str) -> Value {
    json!({
        "id": "01234567-89ab-7cde-8f01-23456789abcd",
        "from": "Äcme <hello@bücher.example>",
        "to": to,
        "subject": subject,
        "html": "<p>Hí</p>\n",
        "text": "Hí\n.\n..\n.A line that begins with a dot\n",
        "headers": [
            ["List-Unsubscribe", "<https://acme.test/u?token=x>"],
            ["List-Unsubscribe-Post", "List-Unsubscribe=One-Click"],
        ],
        "date": "2026-03-01T10:00:00Z",
        "message_id": "01234567@acme.test",
    })
}

/// Sends once: the kit repeats each call, which would send two mails here.
fn send(plugin: &dyn Instance, mail: &Value) -> SendOutcome {
    send_within(plugin, mail, None)
}

fn send_within(plugin: &dyn Instance, mail: &Value, deadline_ms: Option<u64>) -> SendOutcome {
    let prepared: Result<Prepared, String> =
        kit::ask(plugin, method::DELIVERY_PREPARE, mail).unwrap();
    let attempt = Attempt::new("key", prepared.unwrap(), beginning(), 1);
    let attempt = kit::with(attempt, |attempt| attempt.deadline_ms = deadline_ms);
    let ask = Ask::new(attempt, beginning());
    let input = serde_json::to_vec(&ask).unwrap();
    let output = plugin.call(method::DELIVERY_SEND, &input).unwrap();
    let reply: Reply<Sent> = serde_json::from_slice(&output).unwrap();
    match reply.done {
        Some(sent) => sent.outcome,
        None => panic!("asks the host: {:?}", reply.ask),
    }
}

/// The server's file of the mail with this subject.
fn kept(server: &Server, subject: &str) -> Option<Vec<u8>> {
    let files = fs::read_dir(&server.mail).ok()?;
    let bytes = files.flatten().map(|file| fs::read(file.path()).unwrap());
    let mut found = bytes.filter(|bytes| {
        let message = MessageParser::default().parse(bytes.as_slice()).unwrap();
        message.subject() == Some(subject)
    });
    found.next()
}

/// The server writes the file shortly after its answer.
fn arrived(server: &Server, subject: &str) -> Vec<u8> {
    for _ in 0..400 {
        if let Some(bytes) = kept(server, subject) {
            return bytes;
        }
        scripted::pause(25);
    }
    panic!("'{subject}' did not arrive");
}

#[test]
fn a_mail_arrives_whole_over_either_encryption() {
    let server = server();
    for (mode, port) in [
        ("starttls", &server.starttls),
        ("implicit", &server.implicit),
    ] {
        let subject = format!("Wélcome by {mode} 🎉");
        let plugin = account(&server, port, mode, "hush");
        let outcome = send(plugin.as_ref(), &mail("bob+news@bücher.example", &subject));
        let message_id = "01234567@acme.test".to_owned();
        assert_eq!(outcome, SendOutcome::accepted(message_id), "{mode}");
        let bytes = arrived(&server, &subject);
        let message = MessageParser::default().parse(&bytes).unwrap();
        let from = message.from().unwrap().first().unwrap();
        assert_eq!(
            (from.name(), from.address()),
            (Some("Äcme"), Some("hello@xn--bcher-kva.example"))
        );
        let to = message.to().unwrap().first().unwrap();
        assert_eq!(to.address(), Some("bob+news@xn--bcher-kva.example"));
        let text = message.body_text(0).unwrap().replace("\r\n", "\n");
        assert_eq!(text, "Hí\n.\n..\n.A line that begins with a dot\n");
        assert_eq!(
            message.parts[1].content_type().unwrap().subtype(),
            Some("plain")
        );
        assert!(message.body_html(0).unwrap().contains("<p>Hí</p>"));
        let raw = String::from_utf8_lossy(&bytes);
        assert!(
            raw.contains("List-Unsubscribe: <https://acme.test/u?token=x>"),
            "{raw}"
        );
        assert!(raw.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"));
        // The envelope differs from the headers: the server records it.
        assert!(
            raw.contains("Return-path: <hello@xn--bcher-kva.example>")
                || raw.contains("for bob+news@xn--bcher-kva.example"),
            "{raw}"
        );
    }
}

#[test]
fn an_address_with_letters_beyond_ascii_goes_to_a_server_that_takes_it() {
    let server = server();
    let plugin = account(&server, &server.starttls, "starttls", "hush");
    let outcome = send(plugin.as_ref(), &mail("дарья@acme.test", "SMTPUTF8"));
    assert!(
        matches!(outcome, SendOutcome::Accepted { .. }),
        "{outcome:?}"
    );
    arrived(&server, "SMTPUTF8");
}

#[test]
fn a_wrong_password_keeps_the_mail_and_names_the_settings() {
    let server = server();
    let plugin = account(&server, &server.starttls, "starttls", "wrong-secret");
    let outcome = send(plugin.as_ref(), &mail("bob@acme.test", "wrong password"));
    let SendOutcome::Blocked { reason, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(
        reason.contains("SMTP_USERNAME and SMTP_PASSWORD"),
        "{reason}"
    );
    assert!(!reason.contains("wrong-secret"), "{reason}");
}

#[test]
fn a_server_that_cannot_prove_who_it_is_gets_nothing() {
    let server = server();
    for (mode, port) in [
        ("starttls", &server.starttls),
        ("implicit", &server.implicit),
    ] {
        let plugin = plugin(&[
            ("SMTP_HOST", "localhost"),
            ("SMTP_PORT", port),
            ("SMTP_TLS", mode),
            ("SMTP_USERNAME", "ann"),
            ("SMTP_PASSWORD", "hush"),
        ]);
        let outcome = send(plugin.as_ref(), &mail("bob@acme.test", "untrusted"));
        let SendOutcome::Blocked { reason, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert!(reason.contains("SMTP_CA_FILE"), "{reason}");
    }
    assert!(kept(&server, "untrusted").is_none());
}

#[test]
fn a_refused_recipient_is_reported_in_the_servers_words() {
    let server = server();
    let plugin = account(&server, &server.starttls, "starttls", "hush");
    let outcome = send(plugin.as_ref(), &mail("refused@acme.test", "refused"));
    let SendOutcome::Rejected { reason, bounce, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("no such person here"), "{reason}");
    assert_eq!(
        bounce,
        Some(BounceType::Permanent),
        "the only bounce there is"
    );
    let outcome = send(plugin.as_ref(), &mail("later@acme.test", "later"));
    assert!(
        matches!(outcome, SendOutcome::Retry { pause: false, .. }),
        "{outcome:?}"
    );
}

#[test]
fn nothing_listening_is_a_reason_to_try_again() {
    let plugin = plugin(&[
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", "1"),
        ("SMTP_TLS", "none"),
    ]);
    let outcome = send(plugin.as_ref(), &mail("bob@acme.test", "x"));
    assert!(
        matches!(outcome, SendOutcome::Retry { pause: false, .. }),
        "{outcome:?}"
    );
}

/// The outcome of each command's answer; `None` where the server closes instead of answering.
#[test]
fn the_moment_of_a_failure_decides_what_it_means() {
    let ok = Some("250 fine");
    let go_on = Some("354 go on");
    for (name, hello, script, expected) in [
        ("all is well", "", [ok, ok, go_on, ok], "accepted"),
        (
            "it asks for a login",
            "",
            [Some("530 log in"), ok, go_on, ok],
            "blocked",
        ),
        (
            "the mail is too large",
            "",
            [Some("552 too large"), ok, go_on, ok],
            "rejected",
        ),
        (
            "it does not ask for the message",
            "",
            [ok, ok, ok, ok],
            "retry",
        ),
        (
            "the sender is refused",
            "",
            [Some("550 not you"), ok, go_on, ok],
            "blocked",
        ),
        (
            "the sender is put off",
            "",
            [Some("451 wait"), ok, go_on, ok],
            "retry",
        ),
        (
            "the recipient is refused",
            "",
            [ok, Some("550 gone"), go_on, ok],
            "rejected",
        ),
        (
            "the recipient is put off",
            "",
            [ok, Some("451 wait"), go_on, ok],
            "retry",
        ),
        (
            "data is put off",
            "",
            [ok, ok, Some("451 wait"), ok],
            "retry",
        ),
        (
            "the message is refused",
            "",
            [ok, ok, go_on, Some("554 spam")],
            "rejected",
        ),
        (
            "the message is put off",
            "",
            [ok, ok, go_on, Some("452 full")],
            "retry",
        ),
        (
            "it closes before the message",
            "",
            [ok, None, go_on, ok],
            "retry",
        ),
        (
            "it closes after the message",
            "",
            [ok, ok, go_on, None],
            "unknown",
        ),
        (
            "it answers nonsense",
            "",
            [ok, ok, go_on, Some("what?")],
            "unknown",
        ),
        (
            "it turns everybody away",
            "554 closed",
            [ok, ok, go_on, ok],
            "blocked",
        ),
        ("it is busy", "421 busy", [ok, ok, go_on, ok], "retry"),
    ] {
        let server = Scripted::start(hello, script);
        let port = server.port.to_string();
        let plugin = plugin(&[
            ("SMTP_HOST", "127.0.0.1"),
            ("SMTP_PORT", &port),
            ("SMTP_TLS", "none"),
        ]);
        let outcome = send(plugin.as_ref(), &mail("bob@acme.test", "x"));
        let found = match &outcome {
            SendOutcome::Accepted { .. } => "accepted",
            SendOutcome::Retry { .. } => "retry",
            SendOutcome::Blocked { .. } => "blocked",
            SendOutcome::Rejected { .. } => "rejected",
            _ => "unknown",
        };
        assert_eq!(found, expected, "{name}: {outcome:?}");
    }
}

#[test]
fn a_server_without_starttls_or_smtputf8_is_not_given_what_needs_them() {
    let server = Scripted::start(
        "",
        [
            Some("250 fine"),
            Some("250 fine"),
            Some("354 go"),
            Some("250 fine"),
        ],
    );
    let port = server.port.to_string();
    let clear = [("SMTP_HOST", "127.0.0.1"), ("SMTP_PORT", port.as_str())];
    let outcome = send(plugin(&clear).as_ref(), &mail("bob@acme.test", "x"));
    let SendOutcome::Blocked { reason, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(
        reason.contains("STARTTLS") && reason.contains("SMTP_TLS=implicit"),
        "{reason}"
    );
    let none = [clear[0], clear[1], ("SMTP_TLS", "none")];
    let outcome = send(plugin(&none).as_ref(), &mail("дарья@acme.test", "x"));
    assert!(
        matches!(outcome, SendOutcome::Rejected { .. }),
        "{outcome:?}"
    );
}

/// A server may be slow, send no text, or use an old encoding: its digits count.
#[test]
fn only_the_digits_of_a_reply_count() {
    const LONG: &str = concat!(
        "250 0123456789012345678901234567890123456789012345678901234567890123456789",
        "0123456789012345678901234567890123456789012345678901234567890123456789"
    );
    for (script, expected) in [
        (
            [Some("250"), Some("250"), Some("354"), Some("250")],
            "accepted",
        ),
        (
            [
                Some("250 "),
                Some("250-a\r\n250"),
                Some("354-\r\n354 "),
                Some(LONG),
            ],
            "accepted",
        ),
        (
            [
                Some("250"),
                Some("250"),
                Some("354"),
                Some("550 no such user"),
            ],
            "rejected",
        ),
        (
            [Some("250"), Some("451"), Some("354"), Some("250")],
            "later",
        ),
        (
            [Some("250"), Some("250"), Some("354"), Some("454")],
            "later",
        ),
    ] {
        let server = Scripted::start("", script);
        let port = server.port.to_string();
        let plugin = plugin(&[
            ("SMTP_HOST", "127.0.0.1"),
            ("SMTP_PORT", &port),
            ("SMTP_TLS", "none"),
        ]);
        let found = match send(plugin.as_ref(), &mail("bob@acme.test", "x")) {
            SendOutcome::Accepted { .. } => "accepted",
            SendOutcome::Rejected { .. } => "rejected",
            SendOutcome::Retry {
                retry_after_ms: Some(300_000),
                ..
            } => "later",
            other => panic!("{script:?}: {other:?}"),
        };
        assert_eq!(found, expected, "{script:?}");
    }
}

#[test]
fn latin_1_and_endless_words_are_words() {
    for (answer, word) in [
        (
            b"550 bo\xeete inconnue, no such user\r\n".to_vec(),
            "rejected",
        ),
        (
            [b"250 ".as_slice(), &[b'x'; 200_000], b"\r\n"].concat(),
            "accepted",
        ),
        (b"250 taken".to_vec(), "accepted"),
    ] {
        let server = Scripted::raw(answer);
        let port = server.port.to_string();
        let plugin = plugin(&[
            ("SMTP_HOST", "127.0.0.1"),
            ("SMTP_PORT", &port),
            ("SMTP_TLS", "none"),
        ]);
        let found = match send(plugin.as_ref(), &mail("bob@acme.test", "x")) {
            SendOutcome::Accepted { .. } => "accepted",
            SendOutcome::Rejected { .. } => "rejected",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, word);
    }
}

/// The host's deadline limits everything; the outcome of a message sent by then is unknown.
#[test]
fn an_attempt_ends_before_the_hosts_deadline() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let plugin = plugin(&[
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", &port),
        ("SMTP_TLS", "none"),
    ]);
    // No greeting: nothing was sent.
    let outcome = send_within(plugin.as_ref(), &mail("bob@acme.test", "x"), Some(400));
    assert!(matches!(outcome, SendOutcome::Retry { .. }), "{outcome:?}");

    let silent = Scripted::silent_at_the_end();
    let port = silent.port.to_string();
    let plugin = self::plugin(&[
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", &port),
        ("SMTP_TLS", "none"),
    ]);
    let outcome = send_within(plugin.as_ref(), &mail("bob@acme.test", "x"), Some(2_000));
    assert!(
        matches!(outcome, SendOutcome::Unknown { .. }),
        "{outcome:?}"
    );
}
