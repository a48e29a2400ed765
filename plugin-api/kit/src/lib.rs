//! Runs a plugin in a test as the host would, without network, database or clock.
//!
//! [`start`] makes an instance, [`ask`] and [`call`] use its methods, [`Run`] takes a journey from
//! step to step. These make every call more than once: a plugin that answers the same input in two
//! ways fails its test here instead of parking someone's run later. [`delivery`] holds a delivery
//! plugin against what all of them promise. [`Sim`] is a world of people and journeys with a clock of
//! its own, and [`render`] makes mails of templates as the host does.

mod call;
pub mod delivery;
mod http;
mod run;
pub mod sim;

pub use call::{ask, call, start};
pub use hogsend_render as render;
pub use http::{request, response};
pub use run::{Run, user};
pub use sim::Sim;

use chrono::{DateTime, Utc};

/// When everything in the kit begins: 2026-01-01, 00:00 UTC.
pub fn beginning() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_454)
}
