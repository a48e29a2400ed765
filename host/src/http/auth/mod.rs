//! Authentication and authorisation.
//!
//! A [`Gate`] around a group of routes identifies the caller. The [`Caller`] parameter of a handler
//! declares the scope the handler requires.

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
pub use bearer::bears;
pub use caller::{Caller, Events, FullAdmin, Ingest, JourneyAdmin, LookUp, Read};
pub use cookie::{no_cookie, session_cookie, session_token};
pub use gate::{Gate, gate, is_known, with_quota};
pub use origin::{is_trusted, origin_is_known, origin_is_trusted};
pub use scope::Scope;
