//! The conformance test of delivery plugins.
//!
//! Describe the provider with [`Provider`] and call [`conformance`]. It panics with the first rule
//! that the plugin breaks:
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
mod summary;

pub use summary::summary;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::{Exported, Instance, manifest};
use hogsend_plugin_api::{
    Body, Capabilities, HttpRequest, HttpResponse, Idempotency, Mail, Manifest, Prepared, Settings,
};
use serde_json::json;
use uuid::Uuid;

use super::{ask, beginning, start, with};

/// A delivery plugin's settings and its provider, as the test needs them.
pub struct Provider {
    /// Every setting the plugin reads, as in production; the kit does not apply defaults.
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

/// Names and values.
pub type Headers = Vec<(String, String)>;

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

/// A webhook as its provider sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The headers that authenticate the webhook, and no others. Names in lower case.
    pub headers: Headers,
    /// The body; it differs from the unsigned one where the provider signs inside it.
    pub body: Vec<u8>,
}

impl Signed {
    /// A webhook that these headers authenticate.
    pub fn new(headers: Headers, body: impl Into<Vec<u8>>) -> Self {
        Self {
            headers,
            body: body.into(),
        }
    }
}

/// [`Hooks::host`] of a plugin that asks for nothing while it reads a webhook.
///
/// # Panics
///
/// Always: the plugin asked for something.
pub fn no_host(request: &HttpRequest) -> HttpResponse {
    panic!(
        "reading a webhook sends a request to {}: answer it in `Hooks::host`",
        request.url
    );
}

/// The plugin under test.
struct Subject<'a> {
    provider: &'a Provider,
    plugin: Box<dyn Instance>,
    capabilities: Capabilities,
    /// The values of the settings the manifest calls secret.
    secrets: Vec<String>,
}

/// Checks that a plugin follows the rules of every delivery plugin.
///
/// # Panics
///
/// With the rule that the plugin breaks.
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
            "a manifest names the hosts its plugin sends requests to"
        );
        subject.an_accepted_mail_has_the_providers_id(http);
        subject.an_answer_means_what_it_says_of_the_mail(http);
        subject.a_missing_answer_is_judged_by_how_far_the_request_got();
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
        subject.a_webhook_without_its_secret_is_refused(hooks);
        a_webhook_signed_with_another_secret_is_refused::<P>(&subject, &manifest, hooks);
        subject.every_event_has_its_own_dedupe_key(hooks);
        subject.an_unreadable_webhook_is_invalid(hooks);
    }
}

/// A plugin whose required settings are missing says so, at the start or for each mail.
fn without_required_settings_nothing_is_asked<P: Exported>(provider: &Provider) {
    for setting in manifest::<P>().settings.iter().filter(|one| one.required) {
        let mut settings = provider.settings.clone();
        settings.remove(&setting.name);
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

/// A plugin with another secret refuses the webhook, or does not take the secret for one.
fn a_webhook_signed_with_another_secret_is_refused<P: Exported>(
    subject: &Subject<'_>,
    manifest: &Manifest,
    hooks: &Hooks,
) {
    let name = manifest.webhook_secret.as_deref().unwrap_or_default();
    let mut settings = subject.provider.settings.clone();
    let Some(secret) = settings.get(name).map(other_than) else {
        panic!("the settings of the test have no {name}, the secret of webhooks");
    };
    settings.insert(name, &secret);
    let Ok(other) = start::<P>(&settings) else {
        return;
    };
    for body in hooks.known {
        let signed = (hooks.sign)(body.as_bytes(), beginning());
        subject.refuses(
            other.as_ref(),
            hooks,
            &signed,
            "a webhook signed with another secret is refused",
        );
    }
}

/// A secret of the same form: one letter or digit in its middle is another.
fn other_than(secret: &str) -> String {
    let middle = secret.len() / 2;
    let mut changed = false;
    let change = |(at, c): (usize, char)| {
        if changed || at < middle || !c.is_ascii_alphanumeric() {
            return c;
        }
        changed = true;
        match c {
            'z' | 'Z' | '9' => (c as u8 - 1) as char,
            _ => (c as u8 + 1) as char,
        }
    };
    secret.char_indices().map(change).collect()
}

fn start_or_panic<P: Exported>(provider: &Provider) -> Box<dyn Instance> {
    start::<P>(&provider.settings).unwrap_or_else(|error| panic!("{error}"))
}

impl Subject<'_> {
    fn capabilities_make_sense(&self) {
        let said = self.capabilities;
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

    /// No output contains a secret, nor its beginning, which a truncated reason could leave.
    fn holds_no_secret(&self, what: &str, output: &impl std::fmt::Debug) {
        let output = format!("{output:?}");
        for secret in &self.secrets {
            let beginning: String = secret.chars().take(8).collect();
            assert!(
                !output.contains(&beginning),
                "a secret setting stays out of {what}"
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
