//! Who enters and leaves a journey: the catalog of journeys, the guards before a run, exits, and waits that
//! events satisfy.

mod catalog;
mod enrol;
mod wait;

pub use catalog::{Catalog, CatalogError, JourneyEntry};
pub use enrol::{Happened, Reactions, enrol_one, offer_again, react};
pub use wait::{Place, past};
