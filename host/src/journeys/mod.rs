//! Journeys: who enters, who leaves, and what a run does next.

pub mod admin;
mod advance;
mod catalog;
mod enrol;
mod journal;
mod person;
mod step;
mod wait;

pub use advance::{Advanced, advance, unrecorded};
pub use catalog::{Catalog, CatalogError, JourneyEntry};
pub use enrol::{Entrant, Happened, Reactions, enrol_each, offer_again, react};
