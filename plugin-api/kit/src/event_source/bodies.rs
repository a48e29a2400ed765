//! The rules for what webhooks say.

use std::collections::BTreeSet;

use chrono::{SecondsFormat, TimeDelta};
use hogsend_plugin_api::{Reading, Refusal, SourceEvent};
use serde_json::{Value, json};

use super::{Read, Sample, Signed, Test};
use crate::beginning;

/// The most characters of an event's name and of its key, by the host.
const NAME_MAX: usize = 200;
const KEY_MAX: usize = 256;
/// The most values of a sample that are replaced.
const PLACES_MAX: usize = 200;

impl Test<'_> {
    /// The events of a webhook that has some.
    fn events(&self, sample: &Sample) -> Vec<SourceEvent> {
        match self.genuine(sample) {
            Ok(Reading::Events(events)) if !events.is_empty() => events,
            read => panic!(
                "this webhook gives events: '{}' gave {read:?}",
                sample.shown()
            ),
        }
    }

    pub(super) fn every_event_is_about_somebody(&self) {
        for sample in &self.vendor.events {
            for event in self.events(sample) {
                let name = &event.name;
                assert!(
                    !name.trim().is_empty() && name.chars().count() <= NAME_MAX,
                    "an event has a name of at most {NAME_MAX} characters: '{name}'"
                );
                let given = [&event.user_id, &event.email, &event.anonymous_id];
                let given = given.into_iter().flatten();
                let values = event.identities.iter().map(|(_, value)| value);
                let ids: Vec<&String> = given.chain(values).collect();
                assert!(
                    !ids.is_empty(),
                    "an event names its contact by an id or an address: {event:?}"
                );
                assert!(
                    ids.iter().all(|id| !id.trim().is_empty()),
                    "an id or address that is empty is left out: {event:?}"
                );
                is_storable(&event);
            }
        }
    }

    pub(super) fn every_event_has_its_own_key(&self) {
        let mut keys = BTreeSet::new();
        for (place, sample) in self.vendor.events.iter().enumerate() {
            // An id in the headers may depend on the time, so no two webhooks share one.
            let at = beginning() + TimeDelta::seconds(place as i64);
            let signed = (self.vendor.sign)(&sample.body, at);
            let read = self.read_by(self.plugin.as_ref(), sample, &signed, at);
            let Ok(Reading::Events(events)) = read else {
                continue;
            };
            for event in events {
                let Some(key) = event.dedupe_key.clone() else {
                    assert!(
                        !self.vendor.gives_ids,
                        "an event has the vendor's id as its dedupe key: {event:?}"
                    );
                    continue;
                };
                assert!(
                    !key.trim().is_empty() && key.chars().count() <= KEY_MAX,
                    "a dedupe key has 1 to {KEY_MAX} characters: '{key}'"
                );
                assert!(
                    keys.insert(key),
                    "every event has its own dedupe key: {event:?} has that of another"
                );
            }
        }
    }

    pub(super) fn a_repeat_gives_the_same_events(&self) {
        let later = beginning() + TimeDelta::seconds(90);
        for sample in &self.vendor.events {
            let first = self.genuine(sample);
            let signed = (self.vendor.sign)(&sample.body, beginning());
            let again = self.read_by(self.plugin.as_ref(), sample, &signed, later);
            assert!(
                first == again,
                "a webhook that arrives again, 90 s later, gives the same events: {first:?}, then {again:?}"
            );
        }
    }

    pub(super) fn another_webhook_is_skipped(&self) {
        for sample in &self.vendor.others {
            match self.genuine(sample) {
                Ok(Reading::Skipped { reason, .. }) => assert!(
                    !reason.trim().is_empty(),
                    "a skipped webhook has a reason: '{}'",
                    sample.shown()
                ),
                Ok(Reading::Challenge { .. } | Reading::Answer { .. }) => {}
                read => panic!(
                    "a webhook with nothing to store is skipped: '{}' gave {read:?}",
                    sample.shown()
                ),
            }
        }
    }

    pub(super) fn an_unreadable_webhook_is_invalid(&self) {
        for sample in &self.vendor.events {
            if !is_json(&sample.body) {
                continue;
            }
            let text = String::from_utf8_lossy(&sample.body);
            let text = text.trim_end();
            let ends = text.char_indices().map(|(end, _)| end);
            let cut = ends.map(|end| &text.as_bytes()[..end]);
            let garbage: [&[u8]; 4] = [b"{", b"<html>", b"\xff\xfe", b"\"text"];
            for body in garbage.into_iter().chain(cut) {
                self.is_invalid(&sample.with_body(body));
            }
            for body in ["null", "7", "[]", "{}", "[null]", "\"text\""] {
                let read = self.genuine(&sample.with_body(body.as_bytes()));
                assert!(
                    !matches!(&read, Ok(Reading::Events(events)) if !events.is_empty()),
                    "a webhook without content gives no events: {body} gave {read:?}"
                );
            }
        }
    }

    fn is_invalid(&self, sample: &Sample) {
        let signed = (self.vendor.sign)(&sample.body, beginning());
        let read = self.read_by(self.plugin.as_ref(), sample, &signed, beginning());
        let details = match &read {
            Err(Refusal::Invalid { details, .. }) => details,
            Err(Refusal::Unauthorized { .. }) if is_unsigned(&signed, sample) => return,
            _ => panic!(
                "a webhook that cannot be read is invalid: '{}' gave {read:?}",
                sample.shown()
            ),
        };
        assert!(
            !details.trim().is_empty(),
            "an invalid webhook says what to fix: '{}'",
            sample.shown()
        );
    }

    pub(super) fn odd_values_are_survived(&self) {
        for sample in &self.vendor.events {
            let Ok(body) = serde_json::from_slice::<Value>(&sample.body) else {
                continue;
            };
            let mut places = Vec::new();
            pointers(&body, String::new(), &mut places);
            for place in places.iter().take(PLACES_MAX) {
                for odd in odd_values() {
                    let mut changed = body.clone();
                    if let Some(value) = changed.pointer_mut(place) {
                        *value = odd.clone();
                    }
                    let sample = sample.with_body(changed.to_string().as_bytes());
                    let signed = (self.vendor.sign)(&sample.body, beginning());
                    let read = self.read_by(self.plugin.as_ref(), &sample, &signed, beginning());
                    self.is_sound(&read, &sample, &signed, place, &odd);
                }
            }
        }
    }

    fn is_sound(&self, read: &Read, sample: &Sample, signed: &Signed, place: &str, odd: &Value) {
        match read {
            Ok(Reading::Events(events)) => events.iter().for_each(is_storable),
            Ok(_) | Err(Refusal::Invalid { .. }) => {}
            Err(Refusal::Unauthorized { .. }) if is_unsigned(signed, sample) => {}
            _ => {
                let odd: String = odd.to_string().chars().take(40).collect();
                panic!("a genuine webhook with {odd} at {place} is read or invalid, not {read:?}");
            }
        }
    }

    pub(super) fn the_sample_of_the_manifest_is_read(&self) {
        let Some(sample) = &self.subject.manifest.sample_webhook else {
            return;
        };
        let now = beginning().to_rfc3339_opts(SecondsFormat::Millis, true);
        let body = sample
            .replace("{uuid}", "0198c1de-0000-7000-8000-000000000001")
            .replace("{now}", &now);
        assert!(!body.contains('\n'), "the sample webhook is on one line");
        let mut sample = self.vendor.events[0].with_body(body.as_bytes());
        sample.headers.clear();
        self.events(&sample);
    }
}

/// A vendor that signs inside the body cannot sign this one.
fn is_unsigned(signed: &Signed, sample: &Sample) -> bool {
    signed.headers.is_empty() && signed.body == sample.body
}

fn is_json(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{") || body.trim_ascii_start().starts_with(b"[")
}

/// Postgres stores no U+0000.
fn is_storable(event: &SourceEvent) {
    let text = json!(event).to_string();
    assert!(
        !text.contains("\\u0000"),
        "what cannot be stored is not in an event; read bodies with `hogsend_plugin_api::json`: {text}"
    );
}

/// The places of all values in a body, as JSON pointers (RFC 6901).
fn pointers(value: &Value, place: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(value, format!("{place}/{name}"), all);
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                pointers(value, format!("{place}/{at}"), all);
            }
        }
        _ => {}
    }
    if !place.is_empty() {
        all.push(place);
    }
}

fn odd_values() -> [Value; 12] {
    [
        Value::Null,
        json!(true),
        json!(-7),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("   "),
        json!("x\u{0}y"),
        json!("é".repeat(3_000)),
        json!([]),
        json!([null, { "x": [] }]),
        json!({}),
    ]
}
