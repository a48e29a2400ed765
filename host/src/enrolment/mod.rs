//! Enrolment: events begin runs that the guards allow, end runs by exit conditions, and satisfy waits.

mod enrol;
mod happened;
mod wait;

pub use enrol::{Entrant, Reactions, enrol_each, enrolled, offer_again, react};
pub use happened::Happened;
pub use wait::{Place, past};
