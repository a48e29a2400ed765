//! Pauses, the runs and mails put aside while one lasts, and the entries that are held.

mod aside;
mod held;
mod row;

pub use aside::{
    Aside, aside_count, aside_names, aside_release, runs_put_aside, sends_journeys, sends_put_aside,
};
pub use held::{HeldEntry, NameAfter, exits_since, held_counts, held_insert, held_of, held_take};
pub use row::{
    PauseRow, category_has_mails, journey_has_runs, journeys_paused, pause_begin, pause_end, pauses,
};
