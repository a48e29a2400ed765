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
mod check;
mod connect;
mod delivery;
pub mod described;
mod event_source;
pub mod export;
pub mod feature;
mod guard;
mod host;
pub mod journey;
pub mod json;
pub mod limits;
mod manifest;
mod past;
mod print;
mod replay;
mod settings;
mod step;
mod trust;
pub mod wire;

// They are in the public API: a plugin uses these and needs none of its own.
pub use {chrono, serde_json, uuid};

pub use analytics::{Analytics, Capture, Captured, RefusedCapture};
pub use body::Body;
pub use check::{CheckResult, Checked, SetupItem};
pub use connect::{ConnectIn, Connected};
pub use delivery::{
    Attempt, BatchAttempt, BatchOutcome, BatchSent, BlockScope, BounceType, Capabilities, Declined,
    Delivery, DeliveryEvent, DeliveryEventKind, DeliveryReading, Idempotency, Mail, Prepared, Rate,
    RejectFault, RetryFault, SendOutcome, Sent, first_phrase,
};
pub use event_source::{EventSource, Reading, Refusal, SourceEvent, Webhook};
pub use host::{
    Host, HttpError, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse, LogLevel, LogLine, ask,
    retry_after_ms,
};
pub use journey::{Journeys, Template};
pub use manifest::{Kind, Manifest, Setting};
pub use past::{Past, PastIn, PastPage};
pub use settings::{HostInfo, Settings};
#[doc(hidden)]
pub use step::draft_print;
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
    /// manifest declares and no others, and what the host says of itself ([`Settings::host`]).
    ///
    /// # Errors
    ///
    /// A message for the operator: it names the setting and how to fix it, never a secret value.
    fn new(settings: &Settings) -> Result<Self, String>;

    /// Tries out the set-up, for an operator who asks whether it works: a request for each key that
    /// changes nothing at the vendor. Default: nothing is checked.
    fn check(&self, host: &Host) -> impl Future<Output = Vec<Checked>> {
        let _ = host;
        std::future::ready(Vec::new())
    }

    /// What to enter at the vendor, with the plugin's settings: the URL of its webhooks, the events to
    /// choose. Default: nothing.
    fn setup(&self) -> Vec<SetupItem> {
        Vec::new()
    }

    /// Enters at the vendor, through its API, what [`setup`](Self::setup) lists, for `hogsend connect`. A
    /// second call finds what the first one made, and corrects what differs. Default:
    /// [`Connected::Unsupported`].
    fn connect(&self, host: &Host, wanted: &ConnectIn) -> impl Future<Output = Connected> {
        let _ = (host, wanted);
        std::future::ready(Connected::Unsupported)
    }
}
