//! What became of the events of a backfill.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::enrolment::Entries;

/// Counts of events. Stored with the backfill, so each field has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Events that were not known.
    pub new: u64,
    /// Of these, events that happened more than 24 hours ago.
    pub late: u64,
    /// Events that were received before.
    pub known: u64,
    /// Events that cannot be used: without an id of their own or of a person, or of a reserved name.
    pub unusable: u64,
    /// Events that the store refused; the log names their errors.
    pub failed: u64,
    /// Events so old that their keys are deleted, so that a duplicate could not be told.
    pub too_old: u64,
    /// What the guards of journeys decided on the new events.
    pub entries: Entries,
}

impl Tally {
    /// All events that the source gave.
    pub fn read(&self) -> u64 {
        self.new + self.known + self.unusable + self.failed + self.too_old
    }

    pub(super) fn add(&mut self, other: Self) {
        self.new += other.new;
        self.late += other.late;
        self.known += other.known;
        self.unusable += other.unusable;
        self.failed += other.failed;
        self.too_old += other.too_old;
        self.entries.add(other.entries);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events read: {} new ({} of them late), {} known already",
            self.read(),
            self.new,
            self.late,
            self.known
        )?;
        for (count, what) in [
            (self.unusable, "unusable"),
            (self.failed, "refused by the store, see the log"),
            (self.too_old, "older than the keys that are kept"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        write!(f, "; {} entered a journey", self.entries.entered)?;
        if self.entries.held > 0 {
            write!(f, ", {} held for a paused journey", self.entries.held)?;
        }
        for (reason, count) in &self.entries.refused {
            write!(f, ", {count} {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Entries, Tally};

    #[test]
    fn a_tally_says_what_became_of_every_event() {
        let tally = Tally {
            new: 3,
            late: 2,
            known: 1,
            failed: 1,
            entries: Entries {
                entered: 1,
                held: 0,
                refused: [("late_event".to_owned(), 2)].into(),
            },
            ..Tally::default()
        };
        assert_eq!(
            tally.to_string(),
            "5 events read: 3 new (2 of them late), 1 known already, 1 refused by the store, see the log; \
             1 entered a journey, 2 late_event"
        );
    }

    #[test]
    fn a_tally_of_an_earlier_version_is_read() {
        assert_eq!(
            serde_json::from_str::<Tally>("{}").unwrap(),
            Tally::default()
        );
    }
}
