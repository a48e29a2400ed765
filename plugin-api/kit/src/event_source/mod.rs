//! The conformance test of event sources.
//!
//! Describe the vendor with [`Vendor`] and call [`conformance`]. It checks [`PROMISES`] and those of
//! [every plugin](crate::PROMISES), and panics with all that are broken:
//!
//! ```ignore
//! #[test]
//! fn keeps_what_every_event_source_promises() {
//!     conformance::<Shop>(&Vendor {
//!         settings: Settings::from([("SHOP_SECRET", "whisper-0123")]),
//!         sign: |body, at| Signed::new(/* the headers that prove a webhook */, body),
//!         tolerance: Some(TimeDelta::minutes(5)),
//!         events: vec![r#"{"id":"1","type":"order.placed","email":"ann@example.com"}"#.into()],
//!         others: vec![r#"{"id":"2","type":"shop.renamed"}"#.into()],
//!         gives_ids: true,
//!         host: no_host,
//!     });
//! }
//! ```

mod bodies;
mod promises;
mod signatures;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::described::Described;
use hogsend_plugin_api::export::{Exported, Instance};
use hogsend_plugin_api::{HttpRequest, HttpResponse, Reading, Refusal, Settings, Webhook};

use crate::beginning;
use crate::subject::Subject;
pub use crate::webhook::{Headers, Signed, no_host};
pub use promises::PROMISES;

/// An event source's settings and its vendor, as the test needs them.
pub struct Vendor {
    /// The settings, as in production; defaults of the manifest apply. Secrets have at least 8
    /// characters that appear nowhere else.
    pub settings: Settings,
    /// Signs a webhook with the secret in [`Vendor::settings`], at this time. A body that cannot be
    /// signed, because it is not what the vendor sends, is returned unsigned.
    pub sign: fn(body: &[u8], at: DateTime<Utc>) -> Signed,
    /// How long a signature is valid, where the vendor signs the time.
    pub tolerance: Option<TimeDelta>,
    /// Webhooks with at least one event, before they are signed.
    pub events: Vec<Sample>,
    /// Webhooks with nothing to store, before they are signed.
    pub others: Vec<Sample>,
    /// Whether the vendor gives its events ids, which are the `dedupe_key`s.
    pub gives_ids: bool,
    /// Answers what the plugin asks the host while it reads a webhook, for example for a certificate.
    /// [`no_host`] for a plugin that asks for nothing.
    pub host: fn(&HttpRequest) -> HttpResponse,
}

/// A webhook before it is signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    body: Vec<u8>,
    headers: Headers,
    query: String,
}

impl Sample {
    /// A webhook with this body.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// Adds a header that authenticates nothing, such as the name of the event. The name is in lower
    /// case.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the query of the URL, without its question mark.
    pub fn query(mut self, query: &str) -> Self {
        self.query = query.into();
        self
    }

    fn with_body(&self, body: &[u8]) -> Self {
        Self {
            body: body.to_vec(),
            ..self.clone()
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.body)
            .chars()
            .take(300)
            .collect()
    }
}

impl From<&str> for Sample {
    fn from(body: &str) -> Self {
        Self::new(body)
    }
}

type Read = Result<Reading, Refusal>;

/// The source under test and its vendor.
struct Test<'a> {
    subject: &'a Subject<'a>,
    vendor: &'a Vendor,
    plugin: Box<dyn Instance>,
}

/// Checks that a plugin keeps the promises of every event source.
///
/// # Panics
///
/// With every promise that the plugin breaks.
pub fn conformance<P: Exported>(vendor: &Vendor) {
    judge(
        Subject::of::<P>(&vendor.settings, "an event source", &PROMISES),
        vendor,
    );
}

/// Checks that a described source keeps the promises of every event source.
///
/// # Panics
///
/// With every promise that the source breaks.
pub fn described(source: &Described, vendor: &Vendor) {
    judge(
        Subject::described(source, &vendor.settings, "an event source", &PROMISES),
        vendor,
    );
}

fn judge(subject: Subject<'_>, vendor: &Vendor) {
    assert!(
        !vendor.events.is_empty(),
        "a test of an event source has at least one webhook with an event"
    );
    if let Some(plugin) = subject.begin() {
        let test = Test {
            subject: &subject,
            vendor,
            plugin,
        };
        test.check();
    }
    subject.verdict.end();
}

impl Test<'_> {
    fn check(&self) {
        let verdict = &self.subject.verdict;
        verdict.check("missing-settings", || {
            self.subject.missing_settings_are_named();
        });
        verdict.check("unsigned", || self.an_unsigned_webhook_is_refused());
        verdict.check("changed-signature", || {
            self.a_changed_signature_is_refused();
        });
        verdict.check("changed-body", || self.a_changed_body_is_refused());
        verdict.check("other-secret", || self.another_secret_is_refused());
        verdict.check("old-signature", || self.an_old_signature_is_refused());
        verdict.check("events", || self.every_event_is_about_somebody());
        verdict.check("event-keys", || self.every_event_has_its_own_key());
        verdict.check("same-again", || self.a_repeat_gives_the_same_events());
        verdict.check("other-webhooks", || self.another_webhook_is_skipped());
        verdict.check("unreadable", || self.an_unreadable_webhook_is_invalid());
        verdict.check("odd-values", || self.odd_values_are_survived());
        verdict.check("sample-webhook", || {
            self.the_sample_of_the_manifest_is_read();
        });
    }

    /// Reads a webhook that arrives at this time.
    fn read_by(
        &self,
        plugin: &dyn Instance,
        sample: &Sample,
        signed: &Signed,
        at: DateTime<Utc>,
    ) -> Read {
        let mut headers = sample.headers.clone();
        headers.extend(signed.headers.iter().cloned());
        let mut webhook = Webhook::new(headers, signed.body.clone(), at);
        webhook.path = format!("/v1/webhooks/{}", self.subject.manifest.id);
        webhook.query.clone_from(&sample.query);
        let called =
            self.subject
                .call::<_, Read>(plugin, method::EVENT_SOURCE_READ, &webhook, &|request| {
                    Ok((self.vendor.host)(request))
                });
        called.value.unwrap_or_else(|error| {
            let shown = String::from_utf8_lossy(&signed.body);
            panic!("a plugin reads every webhook: '{shown}' gave {error}")
        })
    }

    /// Reads a signed webhook.
    fn genuine(&self, sample: &Sample) -> Read {
        let signed = (self.vendor.sign)(&sample.body, beginning());
        self.read_by(self.plugin.as_ref(), sample, &signed, beginning())
    }
}
