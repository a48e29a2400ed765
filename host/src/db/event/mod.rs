//! Events.

mod history;
mod insert;
mod list;

pub use history::{
    History, PageEnd, PastEvent, Since, history_count, history_email, history_event,
    history_events, history_journey, history_page,
};
pub use insert::{
    EventRow, KnownEvent, event_insert, event_insert_known, event_key_claim, events_stored,
};
pub use list::{EVENTS_COUNTED, EventFilter, EventStory, event_count, event_stories, event_story};

pub(in crate::db) use history::EventOfPast;
