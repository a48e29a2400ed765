//! What steps and guards mean, apart from where their facts are kept.
//!
//! The host and the simulator both decide by these functions, so a simulated journey cannot differ
//! from a real one in them.

pub mod guard;
pub mod pace;
pub mod variant;
pub mod when;
pub mod zone;

/// Chains of journeys that trigger each other end here.
pub const MAX_DEPTH: i16 = 16;
