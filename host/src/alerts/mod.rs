//! Telling administrators that something goes wrong.
//!
//! A rule looks at a figure of the last minutes or days. Where it is past the rule's threshold, an
//! alert is written in the same transaction that keeps the rule silent for a while, and a worker
//! passes it on. The API looks as well, so that somebody notices where no worker is left.

mod check;
mod kind;
mod notify;

pub use check::check_next;
pub use kind::Kind;
pub use notify::notify;

/// What the ledger calls the mail of an alert.
pub const TEMPLATE: &str = "hogsend-alert";
/// What receivers know an alert by.
pub const EVENT_TYPE: &str = "alert.triggered";
