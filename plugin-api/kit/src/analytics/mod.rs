//! The conformance test of analytics plugins.
//!
//! Describe the product with [`Product`] and call [`conformance`]. It checks [`PROMISES`] and those of
//! [every plugin](crate::PROMISES), and panics with all that are broken:
//!
//! ```ignore
//! #[test]
//! fn keeps_what_every_analytics_plugin_promises() {
//!     conformance::<Collector>(&Product {
//!         settings: Settings::from([("COLLECTOR_KEY", "hush-0123")]),
//!         captures: Some(Captures {
//!             event: "email.sent",
//!             updates: true,
//!             contents: |request| { /* find id, event and so on in the body */ },
//!             accepted: |_| HttpResponse::new(200, &[], "{}"),
//!             failure: |status, words| HttpResponse::new(status, &[], words),
//!         }),
//!         people: None,
//!     });
//! }
//! ```

mod captures;
mod outcomes;
mod people;
mod promises;

use hogsend_plugin_api::export::{Exported, Instance};
use hogsend_plugin_api::{HttpRequest, HttpResponse, Properties, Settings};

use crate::subject::Subject;
pub use promises::PROMISES;

/// An analytics plugin's settings and its product, as the test needs them.
pub struct Product {
    /// The settings, as in production; defaults of the manifest apply. Secrets have at least 8
    /// characters that appear nowhere else.
    pub settings: Settings,
    /// How the product takes captures. `None` for a plugin that sends none.
    pub captures: Option<Captures>,
    /// How the product answers requests for person properties. `None` for a plugin that reads none.
    pub people: Option<People>,
}

/// How a product takes captures.
pub struct Captures {
    /// The name of an event that the plugin sends with these settings.
    pub event: &'static str,
    /// Whether the plugin sends updates of person properties, which are captures without an event.
    pub updates: bool,
    /// Parses the captures in a request, in order.
    pub contents: fn(&HttpRequest) -> Vec<Seen>,
    /// The response to captures that the product accepts.
    pub accepted: fn(&HttpRequest) -> HttpResponse,
    /// An error response: 400 for a batch that cannot be taken, 401 for a refused key, 429 for a rate
    /// limit, 500 for a fault. `words` is the text with which the product explains the error.
    pub failure: fn(status: u16, words: &str) -> HttpResponse,
}

/// A capture parsed from a request. `None` is not compared, for a product that has no such field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Contains [`Capture::id`](hogsend_plugin_api::Capture::id).
    pub id: Option<String>,
    /// The product's id of the person.
    pub distinct_id: Option<String>,
    /// The name of the event; empty for an update of the person's properties.
    pub event: Option<String>,
    /// The properties of the capture, and whatever the plugin adds to them.
    pub properties: Option<Properties>,
}

/// How a product answers requests for person properties.
pub struct People {
    /// The response for a person with these properties.
    pub known: fn(&Properties) -> HttpResponse,
    /// The response for an unknown person.
    pub unknown: fn() -> HttpResponse,
}

/// The plugin under test.
struct Test<'a> {
    subject: &'a Subject<'a>,
    plugin: Box<dyn Instance>,
}

/// Checks that a plugin keeps the promises of every analytics plugin.
///
/// # Panics
///
/// With every promise that the plugin breaks.
pub fn conformance<P: Exported>(product: &Product) {
    let subject = Subject::of::<P>(&product.settings, "an analytics plugin", &PROMISES);
    if let Some(plugin) = subject.begin() {
        let test = Test {
            subject: &subject,
            plugin,
        };
        subject
            .verdict
            .check("missing-settings", || subject.missing_settings_are_named());
        if let Some(captures) = &product.captures {
            test.check_captures(captures);
        }
        if let Some(people) = &product.people {
            test.check_people(people);
        }
        subject.verdict.check("person-without-settings", || {
            test.without_settings_nobody_is_asked();
        });
    }
    subject.verdict.end();
}
