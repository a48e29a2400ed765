//! The rules for webhooks.

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::{Body, DeliveryReading, Refusal, Webhook};

use super::{Hooks, Subject, call};
use crate::beginning;

type Read = Result<DeliveryReading, Refusal>;

impl Subject<'_> {
    fn read(&self, headers: &[(String, String)], body: &[u8]) -> Read {
        let webhook = Webhook {
            headers: headers.to_vec(),
            body: Body(body.to_vec()),
            received_at: beginning(),
            ..Webhook::default()
        };
        let read = call(self.plugin.as_ref(), method::DELIVERY_READ, &webhook);
        self.holds_no_secret("what is reported of a webhook", &read);
        read
    }

    /// Reads a signed webhook.
    fn genuine(&self, hooks: &Hooks, body: &[u8]) -> Read {
        self.read(&(hooks.sign)(body, beginning()), body)
    }

    pub(super) fn a_webhook_without_its_secret_is_refused(&self, hooks: &Hooks) {
        for body in hooks.known.iter().chain(hooks.unknown).chain(&["", "{"]) {
            let body = body.as_bytes();
            assert_eq!(
                self.read(&[], body),
                Err(Refusal::Unauthorized),
                "a webhook without its secret is refused, whatever it says"
            );
            let proof = (hooks.sign)(body, beginning());
            for place in 0..proof.len() {
                for wrong in [String::new(), format!("{}x", proof[place].1)] {
                    let mut proof = proof.clone();
                    proof[place].1 = wrong;
                    assert_eq!(
                        self.read(&proof, body),
                        Err(Refusal::Unauthorized),
                        "a webhook with a wrong {} is refused",
                        proof[place].0
                    );
                }
            }
        }
    }

    pub(super) fn every_event_has_its_own_dedupe_key(&self, hooks: &Hooks) {
        let mut keys = std::collections::BTreeSet::new();
        for (place, body) in hooks.known.iter().enumerate() {
            // A message id in the headers may depend on the time, so no two webhooks share one.
            let at = beginning() + chrono::TimeDelta::seconds(place as i64);
            let read = self.read(&(hooks.sign)(body.as_bytes(), at), body.as_bytes());
            let Ok(DeliveryReading::Events(events)) = &read else {
                panic!("a webhook about a mail gives events: {body} gave {read:?}");
            };
            assert!(
                !events.is_empty(),
                "a webhook about a mail gives events: {body}"
            );
            for event in events {
                assert!(
                    event.message_id.is_some() || event.send_id.is_some(),
                    "an event names its mail: {event:?}"
                );
                let key = event.dedupe_key.clone();
                let key = key.unwrap_or_else(|| panic!("an event has a dedupe key: {event:?}"));
                assert!(
                    keys.insert(key),
                    "every event has its own dedupe key: {event:?} has that of another"
                );
            }
        }
    }

    pub(super) fn an_unreadable_webhook_is_invalid(&self, hooks: &Hooks) {
        for body in hooks.unknown {
            let read = self.genuine(hooks, body.as_bytes());
            let Ok(DeliveryReading::Skipped { reason }) = &read else {
                panic!("a webhook of an unknown kind is skipped: {body} gave {read:?}");
            };
            assert!(!reason.is_empty(), "a skipped webhook has a reason: {body}");
        }
        let cut = hooks.known.iter().flat_map(|body| {
            let ends = body.char_indices().map(|(end, _)| end);
            ends.map(|end| &body.as_bytes()[..end])
        });
        let garbage: [&[u8]; 4] = [b"{", b"<html>", b"\xff\xfe", b"\"text"];
        for body in garbage.into_iter().chain(cut) {
            let read = self.genuine(hooks, body);
            let shown = String::from_utf8_lossy(body);
            let Err(Refusal::Invalid { details }) = &read else {
                panic!("a webhook that cannot be read is invalid: '{shown}' gave {read:?}");
            };
            assert!(
                !details.is_empty(),
                "an invalid webhook says what to fix: '{shown}'"
            );
        }
        for body in ["null", "7", "[]", "{}", "[null]", "\"text\""] {
            let read = self.genuine(hooks, body.as_bytes());
            assert!(
                !matches!(&read, Ok(DeliveryReading::Events(events)) if !events.is_empty()),
                "a webhook without content gives no events: {body} gave {read:?}"
            );
        }
    }
}
