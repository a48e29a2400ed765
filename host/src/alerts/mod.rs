//! Alerts to administrators.
//!
//! A rule watches a figure over a period of minutes or days. Where it exceeds the rule's threshold,
//! one transaction writes an alert and starts the rule's cooldown, and a worker sends the alert.
//! The API process does the same, so that missing workers are noticed.

mod check;
mod kind;
mod notify;

pub use check::check_next;
pub use kind::Kind;
pub use notify::notify;

/// Template key of alert mails in the ledger.
pub const TEMPLATE: &str = "hogsend-alert";
/// Event type of alerts sent as webhooks.
pub const EVENT_TYPE: &str = "alert.triggered";
