//! Events.

mod backfill;
mod history;
mod insert;
mod known;
mod list;

pub use backfill::{
    BackfillProgress, BackfillRow, backfill_begin, backfill_get, backfill_hold, backfill_progress,
    backfill_release, backfill_take, event_last_received, keys_complete_since,
};
pub use history::{
    History, PageEnd, PastEvent, Since, history_count, history_email, history_event,
    history_events, history_journey, history_page,
};
pub use insert::{EventRow, event_insert, event_key_claim, events_stored};
pub use known::{KnownEvent, event_insert_known, event_insert_known_once};
pub use list::{EVENTS_COUNTED, EventFilter, EventStory, event_count, event_stories, event_story};
