//! Enrolment: events begin runs that the guards allow, end runs by exit conditions, and satisfy waits.

mod enrol;
mod exit;
mod happened;
mod wait;

pub use enrol::{Entrant, Reactions, enrol_each, enrolled, offer_again, react};
pub use exit::Exit;
pub use happened::Happened;
pub use wait::{Place, past};
