//! What steps and guards mean, apart from where their facts are kept.
//!
//! The host and the simulator both decide by these functions, so a simulated journey cannot differ
//! from a real one in them.

pub mod digest;
pub mod guard;
pub mod identity;
pub mod name;
pub mod pace;
pub mod variant;
pub mod when;
pub mod zone;

pub use crate::address;
pub use crate::Trust;

/// Chains of journeys that trigger each other end here.
pub const MAX_DEPTH: i16 = 16;

/// The category whose mails go to people who unsubscribed, at any hour and above any cap, and carry
/// no unsubscribe header.
pub const TRANSACTIONAL: &str = "transactional";

/// Whether a person gets mails of a category. One they never spoke of counts as wanted.
pub fn wants(unsubscribed_all: bool, subscribed: Option<bool>, category: &str) -> bool {
    category == TRANSACTIONAL || !unsubscribed_all && subscribed.unwrap_or(true)
}
