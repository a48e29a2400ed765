//! Which gaps are read at start.

use chrono::TimeDelta;

use super::reader::Reader;

/// Reading what sources kept while this installation was away.
#[derive(Clone, Debug)]
pub struct Backfill {
    /// The sources that workers read when they start.
    pub on_start: Vec<String>,
    /// How far back they read at most.
    pub max: TimeDelta,
    /// Names of events as vendors spell them; empty means all.
    pub events: Vec<String>,
}

impl Backfill {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let hours = reader.number("BACKFILL_MAX_HOURS", 1, 8_760);
        Self {
            on_start: reader.words("BACKFILL_ON_START"),
            max: TimeDelta::hours(hours.cast_signed()),
            events: reader.words("BACKFILL_EVENTS"),
        }
    }
}
