//! The conformance test of delivery plugins.
//!
//! Describe the provider with [`Provider`] and call [`conformance`]. It checks [`PROMISES`] and those of
//! [every plugin](crate::PROMISES), and panics with all that are broken:
//!
//! ```ignore
//! #[test]
//! fn keeps_what_every_delivery_plugin_promises() {
//!     conformance::<Courier>(&Provider {
//!         settings: Settings::from([("COURIER_KEY", "hush"), ("COURIER_SECRET", "whisper")]),
//!         contents: |body| { /* find sender, subject and so on in the bytes */ },
//!         http: Some(Http {
//!             accepted: |ids| { /* the response to accepted mails */ },
//!             failure: |status, words| { /* an error response */ },
//!         }),
//!         hooks: Some(Hooks {
//!             sign: |body, at| Signed::new(/* the headers that prove a webhook */, body),
//!             known: &[r#"{"kind":"delivered","id":"1"}"#],
//!             unknown: &[r#"{"kind":"domain.created"}"#],
//!             host: no_host,
//!         }),
//!     });
//! }
//! ```

mod answers;
mod hooks;
mod mails;
mod promises;
mod summary;

pub use summary::summary;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::{Exported, Instance};
use hogsend_plugin_api::{
    Body, Capabilities, HttpRequest, HttpResponse, Idempotency, Mail, Settings,
};
use serde_json::json;
use uuid::Uuid;

use super::subject::Subject;
use super::webhook::other_than;
pub use super::webhook::{Headers, Signed, no_host};
use super::{ask, beginning, with};
pub use promises::PROMISES;

/// A delivery plugin's settings and its provider, as the test needs them.
pub struct Provider {
    /// The settings, as in production; defaults of the manifest apply. Secrets have at least 8
    /// characters that appear nowhere else.
    pub settings: Settings,
    /// Parses the mails in the bytes to send, in order: one in [`Prepared::body`] and in the request
    /// of a mail, several in the request of a batch.
    pub contents: fn(&Body) -> Vec<Seen>,
    /// The provider's responses. `None` for a plugin that sends no HTTP requests: it opens its own
    /// connections, or writes files.
    pub http: Option<Http>,
    /// The provider's webhooks, where it sends any.
    pub hooks: Option<Hooks>,
}

/// A mail parsed from the bytes to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// `Name <address>` or a bare address. The name is written as in a message: quoted where it
    /// contains a comma or another special character (RFC 5322 §3.2.4).
    pub from: String,
    /// The recipient's address.
    pub to: String,
    /// `Name <address>` or a bare address.
    pub reply_to: Option<String>,
    /// Decoded.
    pub subject: String,
    /// The HTML part, decoded.
    pub html: String,
    /// The text part, decoded.
    pub text: String,
    /// The further headers.
    pub headers: Headers,
}

/// A provider's responses.
pub struct Http {
    /// The response to accepted mails, with the ids the provider gives them: one id for a single
    /// mail, several for a batch.
    pub accepted: fn(ids: &[&str]) -> HttpResponse,
    /// An error response: 401 for a refused key, 422 for a mail that cannot be sent, 429 for a rate
    /// limit, 500 for a fault. `words` is the text with which the provider explains the error.
    pub failure: fn(status: u16, words: &str) -> HttpResponse,
}

/// A provider's webhooks.
pub struct Hooks {
    /// Signs a webhook with the secret in [`Provider::settings`], at this time. A body that cannot be
    /// signed, because it is not what the provider sends, is returned unsigned.
    pub sign: fn(body: &[u8], at: DateTime<Utc>) -> Signed,
    /// Bodies about a mail, before they are signed.
    pub known: &'static [&'static str],
    /// Bodies about something else, before they are signed.
    pub unknown: &'static [&'static str],
    /// Answers what the plugin asks the host while it reads a webhook, for example for a certificate.
    /// [`no_host`] for a plugin that asks for nothing.
    pub host: fn(&HttpRequest) -> HttpResponse,
}

/// The plugin under test and its provider.
struct Test<'a> {
    subject: &'a Subject<'a>,
    provider: &'a Provider,
    plugin: Box<dyn Instance>,
    capabilities: Capabilities,
}

/// Checks that a plugin keeps the promises of every delivery plugin.
///
/// # Panics
///
/// With every promise that the plugin breaks.
pub fn conformance<P: Exported>(provider: &Provider) {
    let subject = Subject::of::<P>(&provider.settings, "a delivery plugin", &PROMISES);
    if let Some(plugin) = subject.begin() {
        check(&subject, provider, plugin);
    }
    subject.verdict.end();
}

fn check(subject: &Subject<'_>, provider: &Provider, plugin: Box<dyn Instance>) {
    let verdict = &subject.verdict;
    let mut capabilities = Capabilities::new(Idempotency::None);
    verdict.check("capabilities", || {
        capabilities = call(plugin.as_ref(), method::DELIVERY_CAPABILITIES, &());
        make_sense(capabilities);
        assert_eq!(
            capabilities,
            call(subject.start().as_ref(), method::DELIVERY_CAPABILITIES, &()),
            "capabilities are the same for every instance"
        );
    });
    let test = Test {
        subject,
        provider,
        plugin,
        capabilities,
    };
    verdict.check("same-bytes", || {
        test.the_same_mail_gives_the_same_bytes(subject.start().as_ref());
    });
    verdict.check("sender-and-recipient", || {
        test.a_mail_from_or_to_nobody_is_refused_by_name();
    });
    verdict.check("whole-mail", || {
        test.everything_in_a_mail_is_in_what_is_sent();
    });
    verdict.check("quoted-names", || test.a_name_with_a_comma_stays_quoted());
    if let Some(http) = &provider.http {
        test.check_answers(http);
        verdict.check("missing-settings", || {
            test.without_required_settings_nothing_is_asked();
        });
    }
    if let Some(hooks) = &provider.hooks {
        test.check_hooks(hooks);
    }
}

fn make_sense(said: Capabilities) {
    assert!(said.batch_max >= 1, "a request holds at least one mail");
    if let Some(rate) = said.rate {
        assert!(
            rate.requests > 0 && rate.per_ms > 0,
            "a rate allows at least one request: {rate:?}"
        );
    }
    if let Idempotency::ForSeconds(window) = said.idempotency {
        assert!(window > 0, "an idempotency window is not empty");
    }
}

impl Test<'_> {
    fn check_answers(&self, http: &Http) {
        let verdict = &self.subject.verdict;
        verdict.check("accepted", || {
            self.an_accepted_mail_has_the_providers_id(http);
        });
        verdict.check("idempotency-key", || self.the_key_is_sent(http));
        for error in &answers::ERRORS {
            verdict.check(error.promise, || {
                self.an_error_means_what_it_says(http, error);
            });
        }
        verdict.check("answer-without-id", || {
            self.an_answer_without_id_is_in_doubt();
        });
        for missing in &answers::MISSING {
            verdict.check(missing.promise, || self.a_missing_answer_is_judged(missing));
        }
        verdict.check("secrets", || {
            self.secrets_stay_secret_when_the_provider_repeats_them(http);
        });
        if self.capabilities.batch_max > 1 {
            verdict.check("batch-order", || self.a_batch_keeps_its_order(http));
            verdict.check("refused-batch", || self.a_refused_batch_goes_apart(http));
            verdict.check("batch-ids", || self.every_mail_of_a_batch_has_an_id(http));
        }
    }

    fn check_hooks(&self, hooks: &Hooks) {
        let verdict = &self.subject.verdict;
        verdict.check("unsigned-webhook", || {
            assert!(
                self.subject.manifest.webhook_secret.is_some(),
                "a manifest of a plugin that reads webhooks names the setting of their secret"
            );
            self.a_webhook_without_its_secret_is_refused(hooks);
        });
        verdict.check("other-secret", || {
            self.a_webhook_signed_with_another_secret_is_refused(hooks);
        });
        verdict.check("event-keys", || {
            self.every_event_has_its_own_dedupe_key(hooks);
        });
        verdict.check("other-webhooks", || {
            self.an_unknown_webhook_is_skipped(hooks);
        });
        verdict.check("unreadable-webhook", || {
            self.an_unreadable_webhook_is_invalid(hooks);
        });
    }

    /// A plugin whose required settings are missing says so, at the start or for each mail.
    fn without_required_settings_nothing_is_asked(&self) {
        let subject = self.subject;
        for setting in subject.manifest.settings.iter().filter(|one| one.required) {
            let mut settings = subject.settings.clone();
            settings.remove(&setting.name);
            let reason = match subject.make(&settings) {
                Err(error) => error.message,
                Ok(plugin) => self.reason_without_asking(plugin.as_ref()),
            };
            assert!(
                reason.contains(&setting.name),
                "without {} a plugin names it: '{reason}'",
                setting.name
            );
        }
    }

    /// A plugin with another secret refuses the webhook, or does not take the secret for one.
    fn a_webhook_signed_with_another_secret_is_refused(&self, hooks: &Hooks) {
        let subject = self.subject;
        let name = subject
            .manifest
            .webhook_secret
            .as_deref()
            .unwrap_or_default();
        let mut settings = subject.settings.clone();
        let Some(secret) = settings.get(name).map(other_than) else {
            panic!("the settings of the test have no {name}, the secret of webhooks");
        };
        settings.insert(name, &secret);
        let Ok(other) = subject.make(&settings) else {
            return;
        };
        for body in hooks.known {
            let signed = (hooks.sign)(body.as_bytes(), beginning());
            self.refuses(
                other.as_ref(),
                hooks,
                &signed,
                "a webhook signed with another secret is refused",
            );
        }
    }
}

/// A mail with every field set; `number` distinguishes it from others.
fn mail(number: u32) -> Mail {
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let id = Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0000 + u128::from(number));
    let to = format!("ann+{number}@example.com");
    let mail = Mail::new(id, "Äcme Söhne <hello@acme.example>", &to, beginning());
    with(mail, |mail| {
        mail.reply_to = Some("help+ann@acme.example".into());
        mail.subject = format!("Wélcome {number}, \"Ann\" – 日本語 🎉");
        mail.html = format!("<p>Hí Ann, mail {number} &amp; more</p>\n");
        mail.text = format!("Hí Ann, mail {number} & more\n");
        mail.headers = [
            ("List-Unsubscribe", "<https://acme.example/u?token=aB3_-.x>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            ("List-Id", "<lifecycle.acme.example>"),
        ]
        .map(own)
        .into();
        mail.tags = [("template", "welcome"), ("category", "lifecycle")]
            .map(own)
            .into();
        mail.message_id = format!("{number}@acme.example");
    })
}

fn call<I: serde::Serialize, T: serde::de::DeserializeOwned>(
    plugin: &dyn Instance,
    number: u32,
    input: &I,
) -> T {
    ask(plugin, number, input)
        .unwrap_or_else(|error| panic!("a plugin answers {}: {error}", json!(input)))
}
