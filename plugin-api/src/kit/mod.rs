//! Runs a plugin in a test as the host would, without network, database or clock.
//!
//! [`start`] makes an instance, [`ask`] and [`call`] use its methods, [`Run`] takes a journey from
//! step to step. Every call is made more than once: a plugin that answers the same input in two
//! ways fails its test here instead of parking someone's run later.

mod call;
mod http;
mod run;

pub use call::{ask, call, start};
pub use http::{request, response};
pub use run::{Run, user};

use chrono::{DateTime, Utc};

/// When everything in the kit begins: 2026-01-01, 00:00 UTC.
pub fn beginning() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_454)
}
