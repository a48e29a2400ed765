//! Who calls, and what they may do.
//!
//! A gate around a group of routes finds out who calls ([`Gate`]); the handler's [`Caller`] says
//! which scope it takes.

mod address;
mod bearer;
mod caller;
mod cookie;
mod gate;
mod known;
mod origin;
mod scope;

pub use crate::audit::Actor;
pub use address::{client_address, counted};
pub use caller::{Caller, Events, FullAdmin, Ingest, JourneyAdmin, LookUp, Read};
pub use cookie::{no_cookie, session_cookie, session_token};
pub use gate::{Gate, gate, is_known, with_quota};
pub use origin::{is_trusted, origin_is_known, origin_is_trusted};
pub use scope::Scope;
