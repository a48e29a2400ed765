//! Claims about webhooks.

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
        self.holds_no_secret("what is told of a webhook", &read);
        read
    }

    /// A webhook with its proof.
    fn genuine(&self, hooks: &Hooks, body: &[u8]) -> Read {
        self.read(&(hooks.sign)(body, beginning()), body)
    }

    pub(super) fn a_webhook_without_its_secret_is_turned_away(&self, hooks: &Hooks) {
        for body in hooks.known.iter().chain(hooks.unknown).chain(&["", "{"]) {
            let body = body.as_bytes();
            assert_eq!(
                self.read(&[], body),
                Err(Refusal::Unauthorized),
                "a webhook without its secret is turned away, whatever it says"
            );
            let proof = (hooks.sign)(body, beginning());
            for place in 0..proof.len() {
                for wrong in [String::new(), format!("{}x", proof[place].1)] {
                    let mut proof = proof.clone();
                    proof[place].1 = wrong;
                    assert_eq!(
                        self.read(&proof, body),
                        Err(Refusal::Unauthorized),
                        "a webhook with a wrong {} is turned away",
                        proof[place].0
                    );
                }
            }
        }
    }

    pub(super) fn what_a_webhook_tells_of_a_mail_can_be_told_apart(&self, hooks: &Hooks) {
        let mut keys = std::collections::BTreeSet::new();
        for (place, body) in hooks.known.iter().enumerate() {
            // Where the id of the message is in the headers, no two of them are the same.
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
                let key = key
                    .unwrap_or_else(|| panic!("an event has a key to know it again by: {event:?}"));
                assert!(
                    keys.insert(key),
                    "two events have two keys: {event:?} has that of another"
                );
            }
        }
    }

    pub(super) fn what_is_no_webhook_is_named_so(&self, hooks: &Hooks) {
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
            let told = String::from_utf8_lossy(body);
            let Err(Refusal::Invalid { details }) = &read else {
                panic!("a webhook that cannot be read is invalid: '{told}' gave {read:?}");
            };
            assert!(
                !details.is_empty(),
                "an invalid webhook says what to mend: '{told}'"
            );
        }
        for body in ["null", "7", "[]", "{}", "[null]", "\"text\""] {
            let read = self.genuine(hooks, body.as_bytes());
            assert!(
                !matches!(&read, Ok(DeliveryReading::Events(events)) if !events.is_empty()),
                "a webhook without content tells nothing: {body} gave {read:?}"
            );
        }
    }
}
