//! What the host and the simulator both decide by, apart from where the facts are kept.
//!
//! A simulated journey cannot differ from a real one in what these functions decide: who may enter,
//! whether two addresses are one mailbox, when a step is due, how many mails are too many.

pub mod address;
pub mod digest;
pub mod guard;
pub mod identity;
pub mod name;
pub mod own_address;
pub mod pace;
pub mod strangers;
pub mod variant;
pub mod when;
pub mod zone;

/// Chains of journeys that trigger each other end here.
pub const MAX_DEPTH: i16 = 16;

/// The category whose mails go to people who unsubscribed, at any hour and above any cap, and carry
/// no unsubscribe header.
pub const TRANSACTIONAL: &str = "transactional";

/// Whether a person gets mails of a category. One they never spoke of counts as wanted.
pub fn wants(unsubscribed_all: bool, subscribed: Option<bool>, category: &str) -> bool {
    category == TRANSACTIONAL || !unsubscribed_all && subscribed.unwrap_or(true)
}
