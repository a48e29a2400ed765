//! How many events the result of a step may hold.

use hogsend_plugin_api::journey::{Digest, Occurrence};
use hogsend_plugin_api::limits::{DIGEST_EVENTS, OUTPUT_MAX};

/// The most events in one digest; further ones are only counted.
pub const EVENTS_MAX: usize = DIGEST_EVENTS.most;
/// The most bytes of events in one result, as JSON. The rest of the result has 16 KiB.
pub const BYTES_MAX: usize = OUTPUT_MAX - 16 * 1024;

/// The size of an event in a JSON list, in bytes.
fn size(event: &Occurrence) -> usize {
    serde_json::to_vec(event).map_or(BYTES_MAX, |bytes| bytes.len() + 1)
}

/// The leading events that fit into one result; at least the first one.
pub fn fitting(events: impl IntoIterator<Item = Occurrence>) -> Vec<Occurrence> {
    let mut bytes = 0;
    let mut kept = Vec::new();
    for event in events {
        bytes += size(&event);
        if bytes > BYTES_MAX && !kept.is_empty() {
            break;
        }
        kept.push(event);
    }
    kept
}

/// Builds a digest from events that are added newest first.
#[derive(Debug, Default)]
pub struct Gathering {
    newest: Vec<Occurrence>,
    bytes: usize,
    full: bool,
    count: u64,
}

impl Gathering {
    /// Whether further events are only counted.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Adds the next older event.
    pub fn add(&mut self, event: Occurrence) {
        self.count += 1;
        if self.full {
            return;
        }
        let bytes = size(&event);
        if self.bytes + bytes > BYTES_MAX && !self.newest.is_empty() {
            self.full = true;
            return;
        }
        self.bytes += bytes;
        self.newest.push(event);
        self.full = self.newest.len() == EVENTS_MAX;
    }

    /// Counts older events without adding them.
    pub fn count(&mut self, events: u64) {
        self.count += events;
        self.full |= events > 0;
    }

    /// The digest, with its events oldest first.
    pub fn finish(mut self) -> Digest {
        self.newest.reverse();
        Digest::new(self.newest, self.count)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::{BYTES_MAX, EVENTS_MAX, Gathering, fitting};
    use hogsend_plugin_api::journey::{Digest, Occurrence};

    fn event((number, size): (usize, usize)) -> Occurrence {
        let properties = json!({ "n": number, "text": "x".repeat(size) });
        let properties = properties.as_object().cloned().unwrap_or_default();
        Occurrence::new("x", properties, DateTime::UNIX_EPOCH)
    }

    fn gathered(events: impl Iterator<Item = (usize, usize)>) -> Digest {
        let mut gathering = Gathering::default();
        for one in events {
            gathering.add(event(one));
        }
        gathering.finish()
    }

    fn numbers(digest: &Digest) -> Vec<u64> {
        let events = digest.events.iter();
        events
            .filter_map(|one| one.properties["n"].as_u64())
            .collect()
    }

    #[test]
    fn the_newest_are_kept_oldest_first_and_all_are_counted() {
        let few = gathered([3, 2, 1].into_iter().map(|n| (n, 0)));
        assert_eq!((numbers(&few), few.count), (vec![1, 2, 3], 3));
        let many = gathered((0..2_500).rev().map(|n| (n, 0)));
        assert_eq!((many.events.len(), many.count), (EVENTS_MAX, 2_500));
        assert_eq!((numbers(&many)[0], numbers(&many)[999]), (1_500, 2_499));
        let mut counted = Gathering::default();
        counted.count(7);
        assert!(counted.is_full());
        assert_eq!(counted.finish().count, 7);
    }

    #[test]
    fn the_events_of_a_digest_are_bounded_in_bytes() {
        let large = gathered((0..10).rev().map(|n| (n, BYTES_MAX / 4)));
        assert_eq!((numbers(&large), large.count), (vec![7, 8, 9], 10));
        assert_eq!(fitting((0..10).map(|n| event((n, BYTES_MAX / 4)))).len(), 3);
        assert_eq!(fitting([event((1, 2 * BYTES_MAX))]).len(), 1);
        let full = json!(gathered((0..2_000).map(|n| (n, 1_000))));
        assert!(hogsend_plugin_api::limits::size(&full) <= hogsend_plugin_api::limits::OUTPUT_MAX);
        // One is always kept, and no older one replaces a larger newer one.
        let one = gathered([(3, 2 * BYTES_MAX), (2, 1), (1, 1)].into_iter());
        assert_eq!((numbers(&one), one.count), (vec![3], 3));
    }
}
