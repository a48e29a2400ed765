//! The rules for the bytes of a mail.

use crate::with;
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{Mail, Prepared};

use super::{Seen, Test, call, mail};

impl Test<'_> {
    pub(super) fn prepare(&self, mail: &Mail) -> Prepared {
        prepare(self.plugin.as_ref(), mail)
            .unwrap_or_else(|error| panic!("a valid mail can be prepared: {error}"))
    }

    pub(super) fn the_same_mail_gives_the_same_bytes(&self, other: &dyn Instance) {
        let mail = mail(1);
        let prepared = self.prepare(&mail);
        assert!(
            !prepared.content_type.is_empty(),
            "prepared bytes have a content type"
        );
        assert_eq!(
            prepare(other, &mail),
            Ok(prepared.clone()),
            "every instance makes the same bytes from a mail"
        );
        let stored = serde_json::to_string(&prepared).expect("prepared bytes are JSON");
        let back: Prepared = serde_json::from_str(&stored).expect("prepared bytes are JSON");
        assert_eq!(back, prepared, "prepared bytes survive being stored");
        assert_ne!(
            self.prepare(&super::mail(2)),
            prepared,
            "another mail has other bytes"
        );
    }

    pub(super) fn a_mail_from_or_to_nobody_is_refused_by_name(&self) {
        for nobody in ["", " "] {
            for word in ["sender", "recipient"] {
                let mut bad = mail(1);
                let field = match word {
                    "sender" => &mut bad.from,
                    _ => &mut bad.to,
                };
                nobody.clone_into(field);
                let refused = prepare(self.plugin.as_ref(), &bad);
                let Err(sentence) = refused else {
                    panic!("a mail without a {word} is refused before it is sent");
                };
                assert!(
                    sentence.contains(word) && sentence.contains(' '),
                    "a mail without a {word} is refused with a sentence naming it: '{sentence}'"
                );
            }
        }
    }

    pub(super) fn everything_in_a_mail_is_in_what_is_sent(&self) {
        let full = mail(1);
        self.matches(&full, &(self.provider.contents)(&self.prepare(&full).body));
        let bare = with(mail(2), |mail| {
            mail.reply_to = None;
            mail.headers.clear();
            mail.tags.clear();
        });
        let seen = (self.provider.contents)(&self.prepare(&bare).body);
        self.matches(&bare, &seen);
        assert_eq!(
            seen[0].reply_to, None,
            "a mail without a reply-to has none when it is sent"
        );
    }

    /// Providers read mailboxes from text, where a bare comma would begin another one.
    pub(super) fn a_name_with_a_comma_stays_quoted(&self) {
        let named = with(mail(1), |mail| {
            mail.from = r#""Acme, \"the\" Shop" <hello@acme.example>"#.into();
            mail.reply_to = Some(r#""Help; Acme" <help@acme.example>"#.into());
        });
        let seen = (self.provider.contents)(&self.prepare(&named).body);
        let found = [Some(seen[0].from.as_str()), seen[0].reply_to.as_deref()];
        assert_eq!(
            found,
            [Some(named.from.as_str()), named.reply_to.as_deref()],
            "a display name with a comma, a semicolon or quotes stays quoted (RFC 5322 §3.2.4)"
        );
    }

    /// One mail is in the bytes, and it is this one.
    pub(super) fn matches(&self, mail: &Mail, seen: &[Seen]) {
        let [seen] = seen else {
            panic!("a mail's bytes hold one mail, not {}", seen.len());
        };
        same(mail, seen);
    }
}

fn prepare(plugin: &dyn Instance, mail: &Mail) -> Result<Prepared, String> {
    call(plugin, method::DELIVERY_PREPARE, mail)
}

/// Whether what is sent is what was to be sent.
pub(super) fn same(mail: &Mail, seen: &Seen) {
    for (what, address, found) in [
        ("sender", address(&mail.from), Some(seen.from.as_str())),
        ("recipient", mail.to.as_str(), Some(seen.to.as_str())),
        (
            "reply-to",
            mail.reply_to.as_deref().unwrap_or_default(),
            Some(seen.reply_to.as_deref().unwrap_or_default()),
        ),
    ] {
        let found = found.unwrap_or_default();
        assert!(
            found.contains(address),
            "the {what} {address} is sent unchanged, not as '{found}'"
        );
    }
    assert!(
        seen.from.contains("Äcme Söhne"),
        "the sender's name is sent unchanged, not as '{}'",
        seen.from
    );
    assert_eq!(seen.subject, mail.subject, "the subject is sent unchanged");
    for (what, sent, found) in [
        ("HTML", &mail.html, &seen.html),
        ("text", &mail.text, &seen.text),
    ] {
        let plain = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
        assert_eq!(plain(found), plain(sent), "the {what} is sent unchanged");
    }
    for (name, value) in &mail.headers {
        let found = seen.headers.iter();
        let found: Vec<_> = found
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(found, [value], "the header {name} is sent once, unchanged");
    }
}

fn address(text: &str) -> &str {
    text.rsplit_once('<')
        .map_or(text, |(_, rest)| rest.trim_end_matches('>'))
}
