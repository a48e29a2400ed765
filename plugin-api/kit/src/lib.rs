//! Runs a plugin in a test as the host would, without network, database or clock.
//!
//! [`start`] creates an instance, [`ask`] and [`call`] call its methods, and [`Run`] advances a run of
//! a journey step by step. They repeat every call: a plugin that answers the same input in two ways
//! fails its test instead of breaking a run in production. [`event_source`], [`delivery`],
//! [`analytics`] and [`journeys`] have a conformance test each. [`Sim`] simulates people and journeys with
//! its own clock, and [`render`] renders templates as the host does.

pub mod analytics;
mod call;
pub mod delivery;
pub mod event_source;
mod http;
pub mod journeys;
mod promise;
mod run;
pub mod sim;
mod subject;
mod webhook;

pub use call::{ask, call, no_requests, start};
pub use hogsend_render as render;
pub use http::{request, response};
pub use promise::Promise;
pub use run::{Run, user};
pub use sim::Sim;
pub use subject::PROMISES;

use chrono::{DateTime, Utc};

/// A value, changed: `with(Mail::new(…), |mail| mail.subject = "Hi".into())`. The types of plugin-api
/// cannot be written as literals, so that later versions can add fields.
pub fn with<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut value);
    value
}

/// The start of the kit's clock: 2026-01-01, 00:00 UTC.
pub fn beginning() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_454)
}
