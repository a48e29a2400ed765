//! Who calls, and what they may do.
//!
//! A gate around a group of routes finds out who calls ([`Gate`]); the handler's [`Caller`] says
//! which scope it takes.

mod actor;
mod bearer;
mod caller;
mod gate;
mod scope;

pub use actor::Actor;
pub use caller::{Caller, FullAdmin, Ingest, JourneyAdmin, Read};
pub use gate::{Gate, gate};
pub use scope::Scope;
