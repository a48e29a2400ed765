//! The contract between Hogsend and its plugins.
//!
//! A plugin is a struct that implements [`Plugin`] and one trait per plugin kind
//! ([`EventSource`], [`Delivery`], [`Analytics`], [`Journeys`]), plus one [`export_plugin!`]
//! line. The same source can be linked into the host or loaded from a shared library.
//!
//! A plugin leaves I/O to the host, unless it speaks a protocol the host does not support
//! ([`Manifest::blocking()`]). For a request to the outside world it calls the [`Host`] and awaits
//! the answer; the host performs the request and calls the plugin again with the recorded answer.
//! Code between two `.await`s may therefore run more than once and must be deterministic.
//!
//! This crate holds the contract only. `hogsend-plugin-kit` has the test kit and the simulator,
//! `hogsend-mime` writes RFC 5322 messages for delivery plugins, and `hogsend-semantics` holds the
//! rules shared by the host and the simulator.

pub mod abi;
mod analytics;
mod body;
pub mod call;
mod delivery;
pub mod described;
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
pub use host::{
    Host, HttpError, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse, ask, retry_after_ms,
};
pub use journey::{Journeys, Template};
pub use manifest::{Kind, Manifest, Setting, Settings};
pub use step::{Command, Step, StepError, StepState};
pub use trust::Trust;

/// A JSON object: event properties, contact properties or template values.
pub type Properties = serde_json::Map<String, serde_json::Value>;

/// What every plugin implements: its description and its constructor.
pub trait Plugin: Sized + Send + Sync + 'static {
    /// The plugin's id, version and the settings it reads. Called before [`Plugin::new`], so the
    /// host can report a missing setting before anything starts.
    fn manifest() -> Manifest;

    /// Creates the plugin's only instance in this process. `settings` holds the settings that the
    /// manifest declares and no others.
    ///
    /// # Errors
    ///
    /// A message for the operator: it names the setting and how to fix it, never a secret value.
    fn new(settings: &Settings) -> Result<Self, String>;
}
