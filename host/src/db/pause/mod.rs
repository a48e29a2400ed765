//! Pauses, the runs and mails put aside while one lasts, the entries that are held, and how many enter.

mod aside;
mod entered;
mod held;
mod row;

pub use aside::{
    Aside, aside_count, aside_names, aside_release, runs_put_aside, sends_journeys, sends_put_aside,
};
pub use entered::{Entered, journey_usual, journeys_crowded};
pub use held::{HeldEntry, NameAfter, exits_since, held_counts, held_insert, held_of, held_take};
pub use row::{
    PauseRow, category_has_mails, guard_quiet, journey_has_runs, journeys_paused, pause_begin,
    pause_end, pause_restored, pause_restored_end, pause_restored_lasts, pauses,
};
