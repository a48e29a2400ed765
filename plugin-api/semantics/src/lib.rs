//! The rules shared by the host and the simulator, independent of how data is stored.
//!
//! A simulated journey cannot differ from a real one in these decisions: who may enter, whether two
//! addresses are the same mailbox, when a step is due, when a frequency cap applies.

pub mod address;
pub mod digest;
pub mod guard;
pub mod hosts;
pub mod identity;
pub mod manifest;
pub mod name;
pub mod own_address;
pub mod pace;
pub mod plugin_id;
pub mod strangers;
pub mod variant;
pub mod when;
pub mod zone;

/// The host refuses the 16th journey in a chain of journeys that trigger each other.
pub const MAX_DEPTH: i16 = 16;

/// The category whose mails are also sent to unsubscribed people, ignore send windows and frequency
/// caps, and have no unsubscribe header.
pub const TRANSACTIONAL: &str = "transactional";

/// Whether a person gets mails of a category. Without a preference (`subscribed` is `None`) they are
/// subscribed.
pub fn wants(unsubscribed_all: bool, subscribed: Option<bool>, category: &str) -> bool {
    category == TRANSACTIONAL || !unsubscribed_all && subscribed.unwrap_or(true)
}
