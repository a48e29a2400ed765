//! How long data is kept.

use chrono::TimeDelta;

use super::reader::Reader;

/// The ages at which data is deleted. `None` means never.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub bodies: Option<TimeDelta>,
    pub visits: Option<TimeDelta>,
    pub logs: Option<TimeDelta>,
    pub deliveries: Option<TimeDelta>,
    pub visitors: Option<TimeDelta>,
    pub events: Option<TimeDelta>,
    pub keys: Option<TimeDelta>,
    pub audit: Option<TimeDelta>,
}

impl Retention {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut days = |name| match reader.number(name, 0, 36_500) {
            0 => None,
            days => Some(TimeDelta::days(days.cast_signed())),
        };
        Self {
            bodies: days("RETENTION_BODIES_DAYS"),
            visits: days("RETENTION_VISITS_DAYS"),
            logs: days("RETENTION_LOGS_DAYS"),
            deliveries: days("RETENTION_DELIVERIES_DAYS"),
            visitors: days("RETENTION_VISITORS_DAYS"),
            events: days("RETENTION_EVENTS_DAYS"),
            keys: days("RETENTION_KEYS_DAYS"),
            audit: days("RETENTION_AUDIT_DAYS"),
        }
    }
}
