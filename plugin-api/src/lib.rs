//! The contract between Hogsend and its plugins.
//!
//! A plugin is a struct that implements [`Plugin`] and one trait per ability it has
//! ([`EventSource`], [`Delivery`], [`Analytics`], [`Journeys`]), plus one [`export_plugin!`]
//! line. The same source links into the host or loads from a shared library.
//!
//! A plugin leaves I/O to the host, unless the host does not speak its protocol
//! ([`Manifest::blocking()`]). Where it needs the outside world it asks the [`Host`] and awaits the
//! answer; the host performs the request and calls the plugin again with the answer recorded.
//! Code between two `.await`s may therefore run more than once and has to be deterministic.
//!
//! The crate is what a plugin is compiled against and nothing more. `hogsend-plugin-kit` has the test
//! kit and the simulator, `hogsend-mime` writes messages for delivery plugins, `hogsend-semantics` is
//! what the host decides by.

pub mod abi;
mod analytics;
mod body;
pub mod call;
mod delivery;
mod event_source;
pub mod export;
mod guard;
mod host;
pub mod journey;
pub mod json;
pub mod limits;
mod manifest;
mod replay;
mod step;
mod trust;

pub use analytics::{Analytics, Capture, Captured, RefusedCapture};
pub use body::Body;
pub use delivery::{
    Attempt, BatchAttempt, BatchOutcome, BatchSent, BlockScope, BounceType, Capabilities, Delivery,
    DeliveryEvent, DeliveryEventKind, DeliveryReading, Idempotency, Mail, Prepared, Rate,
    RejectFault, RetryFault, SendOutcome, Sent,
};
pub use event_source::{EventSource, Reading, Refusal, SourceEvent, Webhook};
pub use host::{Host, HttpError, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse, ask};
pub use journey::{Journeys, Template};
pub use manifest::{Kind, Manifest, Setting, Settings};
pub use step::{Command, Step, StepError, StepState};
pub use trust::Trust;

/// A JSON object: event properties, contact properties, template values.
pub type Properties = serde_json::Map<String, serde_json::Value>;

/// What every plugin is: a description, and a way to make one from its settings.
pub trait Plugin: Sized + Send + Sync + 'static {
    /// Who the plugin is and which settings it reads. Called before [`Plugin::new`], so the host
    /// can report a missing setting before anything starts.
    fn manifest() -> Manifest;

    /// Makes the one instance of this process. `settings` holds just the settings the manifest
    /// declares. The error is shown to the operator: it names the setting and the mend, never a
    /// secret value.
    fn new(settings: &Settings) -> Result<Self, String>;
}
