//! Enrolment: events begin runs that the guards allow, end runs by exit conditions, and satisfy waits.
//! Administrators switch journeys on and off, and replay stored events. Entries into a paused journey are
//! held and offered again.

mod changes;
mod enrol;
mod exit;
mod happened;
mod held;
mod people;
mod replay;
mod switch;
mod wait;

pub use changes::enrolled;
pub use enrol::{Entrant, Entries, Reactions, enrol_each, offer_again, react};
pub use exit::Exit;
pub use happened::Happened;
pub use held::offer_held;
pub use replay::{Replay, replay};
pub use switch::switch;
pub use wait::{Place, past};
