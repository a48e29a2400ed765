//! Instants that can be stored.

use chrono::{DateTime, Datelike, Utc};

/// Whether databases, charts and JavaScript support the instant: the years 1 to 9999.
pub fn is_storable(at: DateTime<Utc>) -> bool {
    (1..=9999).contains(&at.year())
}

/// When an event that arrived at `received_at` occurred: the time its source gives, or the time of
/// arrival if that is in the future, before 1970, or missing.
pub fn arrived(given: Option<DateTime<Utc>>, received_at: DateTime<Utc>) -> DateTime<Utc> {
    match given {
        Some(at) if at >= DateTime::UNIX_EPOCH && at <= received_at => at,
        _ => received_at,
    }
}
