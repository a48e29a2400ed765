//! Instants that can be stored.

use chrono::{DateTime, Datelike, Utc};

/// Whether databases, charts and JavaScript know the instant: the years 1 to 9999.
pub fn is_storable(at: DateTime<Utc>) -> bool {
    (1..=9999).contains(&at.year())
}

/// When something told of at `received_at` happened: the time its source gives, or the time of its
/// arrival where that lies ahead, before 1970, or is not given. What has arrived has happened.
pub fn arrived(given: Option<DateTime<Utc>>, received_at: DateTime<Utc>) -> DateTime<Utc> {
    match given {
        Some(at) if at >= DateTime::UNIX_EPOCH && at <= received_at => at,
        _ => received_at,
    }
}
