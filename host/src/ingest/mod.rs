//! Ingest: one transaction stores an event, its contact, and everything the event triggers.
//!
//! `http` validates an API event (`validate`) or drops what does not fit from a source's event (`admit`).
//! Concurrent requests share a transaction (`batch`), in which [`store`] does the work. Changes of contacts
//! and consent, enrolment by hand and imports (`people`, `pending`, `consent`, `enrol`, `import`) also call
//! [`store`] for the events that follow.

mod admit;
mod batch;
mod consent;
mod enrol;
mod event;
pub mod import;
mod known;
mod naming;
mod own;
mod pending;
mod people;
mod round;
mod validate;

pub use admit::admit;
pub use batch::{IngestError, Ingestor};
pub use consent::{PreferencesChange, change_consent, set_preferences};
pub use enrol::{Enrolled, enrol};
pub use event::{Ingested, NewEvent};
pub use naming::{Naming, Unheard};
pub use own::{OwnEvent, publish};
pub use pending::{apply_pending, dismiss_pending};
pub use people::{NOT_STORED, Put, create_contact, put, put_contact};
pub use validate::{EVENT_NAME_MAX, Paths, check_event, check_from_outside, check_journey_event};

use chrono::{DateTime, Utc};

use self::round::store_round;
use crate::catalog::Catalog;
use crate::db::{self, Conn};
use crate::enrolment::Entries;

pub use hogsend_semantics::MAX_DEPTH;

/// Stores events and everything they cause, in order, inside the caller's transaction.
///
/// Each event is deduplicated by its source's key, stored with its contact, and offered to the journeys:
/// it ends runs whose exit condition it meets and enrols the contact in journeys it triggers. Events that
/// follow from this (for example `journey.exited`) are stored in the same transaction.
pub async fn store(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    events: Vec<NewEvent>,
) -> db::Result<Stored> {
    let mut stored = Stored::default();
    let mut round = events;
    loop {
        let done = store_round(conn, catalog, now, round).await?;
        if stored.events.is_empty() {
            stored.events = done.results;
        }
        stored.due += done.due;
        stored.entries.add(done.entries);
        if done.follow_ups.is_empty() {
            return Ok(stored);
        }
        round = done.follow_ups;
    }
}

/// Result of storing events.
#[derive(Debug, Default)]
pub struct Stored {
    /// One for each given event, in order.
    pub events: Vec<Ingested>,
    /// How many runs are due now: those that began and those whose wait ended.
    pub due: usize,
    /// What the guards decided.
    pub entries: Entries,
}
