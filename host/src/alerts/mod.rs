//! Alerts administrators to problems.
//!
//! A rule watches a figure of the last minutes or days. If it exceeds the rule's threshold, an alert is
//! stored in the transaction that starts the rule's cooldown, and a worker sends it. The API checks
//! rules as well, so that an alert is raised even if no worker runs.

mod check;
mod kind;
pub mod manage;
mod notify;
mod rules;
mod spike;

pub use check::check_next;
pub use kind::Kind;
pub use notify::notify;
pub use rules::{CHANNELS, RuleChange};
pub use spike::SpikeGuard;

/// The template key of an alert's mail.
pub const TEMPLATE: &str = "hogsend-alert";
/// The event type that webhooks get.
pub const EVENT_TYPE: &str = "alert.triggered";
