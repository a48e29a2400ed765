//! What every delivery plugin promises, as one test.
//!
//! Describe the provider with [`Provider`] and call [`conformance`]. It panics with the claim that
//! does not hold:
//!
//! ```ignore
//! #[test]
//! fn keeps_what_every_delivery_plugin_promises() {
//!     conformance::<Courier>(&Provider {
//!         settings: Settings::from([("COURIER_KEY", "hush"), ("COURIER_SECRET", "whisper")]),
//!         contents: |body| { /* find sender, subject and so on in the bytes */ },
//!         http: Some(Http {
//!             accepted: |ids| { /* the answer to mails that were taken */ },
//!             failure: |status, words| { /* an error's answer */ },
//!         }),
//!         hooks: Some(Hooks {
//!             sign: |body, at| { /* the headers that prove a webhook */ },
//!             known: &[r#"{"kind":"delivered","id":"1"}"#],
//!             unknown: &[r#"{"kind":"domain.created"}"#],
//!         }),
//!     });
//! }
//! ```

mod answers;
mod hooks;
mod mails;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::{Exported, Instance, manifest};
use hogsend_plugin_api::{Body, Capabilities, HttpResponse, Idempotency, Mail, Prepared, Settings};
use serde_json::json;
use uuid::Uuid;

use super::{ask, beginning, start};

/// A delivery plugin and its provider, as the claims need to know them.
pub struct Provider {
    /// Every setting the plugin reads, as in production; the kit fills in no defaults.
    pub settings: Settings,
    /// Finds the mails in the bytes that go out, in order: one in [`Prepared::body`] and in the
    /// request of a mail, several in the request of a batch.
    pub contents: fn(&Body) -> Vec<Seen>,
    /// What the provider answers. None for a plugin that sends no HTTP requests: it keeps its
    /// connection itself, or writes files.
    pub http: Option<Http>,
    /// The provider's webhooks, where it sends any.
    pub hooks: Option<Hooks>,
}

/// A mail as it stands in the bytes that go out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// With or without a name, a name as a message has it: quoted where it holds a comma or another
    /// special (RFC 5322 §3.2.4).
    pub from: String,
    pub to: String,
    pub reply_to: Option<String>,
    pub subject: String,
    pub html: String,
    pub text: String,
    /// The further ones.
    pub headers: Headers,
}

/// What a provider answers.
pub struct Http {
    /// The answer to mails that were taken, with the ids the provider gave them: one id for a mail
    /// alone, several for a batch.
    pub accepted: fn(ids: &[&str]) -> HttpResponse,
    /// The answer of an error: 401 for a refused key, 422 for a mail that cannot be sent, 429 for a
    /// rate limit, 500 for a fault. `words` stand where the provider explains itself.
    pub failure: fn(status: u16, words: &str) -> HttpResponse,
}

/// Names and values.
pub type Headers = Vec<(String, String)>;

/// A provider's webhooks.
pub struct Hooks {
    /// The headers that prove a webhook, and no others, made with the secret in
    /// [`Provider::settings`]. Names in lower case.
    pub sign: fn(body: &[u8], at: DateTime<Utc>) -> Headers,
    /// Bodies that tell of a mail.
    pub known: &'static [&'static str],
    /// Bodies that tell of something else.
    pub unknown: &'static [&'static str],
}

/// The plugin under test.
struct Subject<'a> {
    provider: &'a Provider,
    plugin: Box<dyn Instance>,
    capabilities: Capabilities,
    /// The values of the settings the manifest calls secret.
    secrets: Vec<String>,
}

/// Holds a plugin against what every delivery plugin promises.
///
/// # Panics
///
/// With the claim that does not hold.
pub fn conformance<P: Exported>(provider: &Provider) {
    let manifest = manifest::<P>();
    let make = || {
        start::<P>(&provider.settings)
            .unwrap_or_else(|error| panic!("a plugin starts with the settings given: {error}"))
    };
    let plugin = make();
    let capabilities = call(plugin.as_ref(), method::DELIVERY_CAPABILITIES, &());
    assert_eq!(
        capabilities,
        call(make().as_ref(), method::DELIVERY_CAPABILITIES, &()),
        "capabilities are the same for every instance"
    );
    let secret = manifest.settings.iter().filter(|setting| setting.secret);
    let subject = Subject {
        provider,
        plugin,
        capabilities,
        secrets: secret
            .filter_map(|setting| provider.settings.get(&setting.name))
            .map(str::to_owned)
            .collect(),
    };
    subject.capabilities_make_sense();
    subject.the_same_mail_gives_the_same_bytes(make().as_ref());
    subject.a_mail_from_or_to_nobody_is_refused_by_name();
    subject.everything_in_a_mail_is_in_what_is_sent();
    subject.a_name_with_a_comma_stays_quoted();
    if let Some(http) = &provider.http {
        assert!(
            !manifest.http_hosts.is_empty(),
            "a manifest names the hosts its plugin asks"
        );
        subject.an_accepted_mail_has_the_providers_id(http);
        subject.an_answer_means_what_it_says_of_the_mail(http);
        subject.no_answer_is_judged_by_how_far_the_request_came();
        subject.secrets_stay_secret_when_the_provider_repeats_them(http);
        if subject.capabilities.batch_max > 1 {
            subject.a_batch_keeps_its_order(http);
            subject.a_batch_ends_as_its_answer_says(http);
        }
        without_required_settings_nothing_is_asked::<P>(provider);
    }
    if let Some(hooks) = &provider.hooks {
        assert!(
            manifest.webhook_secret.is_some(),
            "a manifest of a plugin that reads webhooks names the setting of their secret"
        );
        subject.a_webhook_without_its_secret_is_turned_away(hooks);
        subject.what_a_webhook_tells_of_a_mail_can_be_told_apart(hooks);
        subject.what_is_no_webhook_is_named_so(hooks);
    }
}

/// A plugin whose required settings are missing says so, at the start or for each mail.
fn without_required_settings_nothing_is_asked<P: Exported>(provider: &Provider) {
    for setting in manifest::<P>().settings.iter().filter(|one| one.required) {
        let mut settings = provider.settings.clone();
        settings.0.remove(&setting.name);
        let reason = match start::<P>(&settings) {
            Err(error) => error.message,
            Ok(plugin) => {
                let whole = call::<_, Result<Prepared, String>>(
                    start_or_panic::<P>(provider).as_ref(),
                    method::DELIVERY_PREPARE,
                    &mail(1),
                );
                answers::reason_without_asking(plugin.as_ref(), whole)
            }
        };
        assert!(
            reason.contains(&setting.name),
            "without {} a plugin names it: '{reason}'",
            setting.name
        );
    }
}

fn start_or_panic<P: Exported>(provider: &Provider) -> Box<dyn Instance> {
    start::<P>(&provider.settings).unwrap_or_else(|error| panic!("{error}"))
}

impl Subject<'_> {
    fn capabilities_make_sense(&self) {
        let said = self.capabilities;
        assert!(said.batch_max >= 1, "a request holds a mail at least");
        if let Some(rate) = said.rate {
            assert!(
                rate.requests > 0 && rate.per_ms > 0,
                "a rate lets something through: {rate:?}"
            );
        }
        if let Idempotency::ForSeconds(window) = said.idempotency {
            assert!(window > 0, "an idempotency window is longer than nothing");
        }
    }

    /// Nothing that is told holds a secret, nor its beginning, as where a reason is cut.
    fn holds_no_secret(&self, what: &str, told: &impl std::fmt::Debug) {
        let told = format!("{told:?}");
        for secret in &self.secrets {
            let beginning: String = secret.chars().take(8).collect();
            assert!(
                !told.contains(&beginning),
                "a secret setting stays out of {what}"
            );
        }
    }
}

/// A mail that has everything, `number` telling it from others.
fn mail(number: u32) -> Mail {
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Mail {
        id: Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0000 + u128::from(number)),
        from: "Äcme Söhne <hello@acme.example>".into(),
        to: format!("ann+{number}@example.com"),
        reply_to: Some("help+ann@acme.example".into()),
        subject: format!("Wélcome {number}, \"Ann\" – 日本語 🎉"),
        html: format!("<p>Hí Ann, mail {number} &amp; more</p>\n"),
        text: format!("Hí Ann, mail {number} & more\n"),
        headers: [
            ("List-Unsubscribe", "<https://acme.example/u?token=aB3_-.x>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            ("List-Id", "<lifecycle.acme.example>"),
        ]
        .map(own)
        .into(),
        tags: [("template", "welcome"), ("category", "lifecycle")]
            .map(own)
            .into(),
        date: beginning(),
        message_id: format!("{number}@acme.example"),
    }
}

fn call<I: serde::Serialize, T: serde::de::DeserializeOwned>(
    plugin: &dyn Instance,
    number: u32,
    input: &I,
) -> T {
    ask(plugin, number, input)
        .unwrap_or_else(|error| panic!("a plugin answers {}: {error}", json!(input)))
}
