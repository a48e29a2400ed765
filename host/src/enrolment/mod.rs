//! Who enters and leaves a journey: the catalog of journeys, the guards before a run, exits, and waits that
//! events satisfy.

mod enrol;
mod exit;
mod happened;
mod wait;

pub use enrol::{Entrant, Reactions, enrol_each, enrolled, offer_again, react};
pub use exit::Exit;
pub use happened::Happened;
pub use wait::{Place, past};
