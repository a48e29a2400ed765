//! The rules for webhooks.

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{Body, DeliveryReading, Refusal, Webhook};

use super::{Hooks, Signed, Test};
use crate::beginning;

type Read = Result<DeliveryReading, Refusal>;

impl Test<'_> {
    fn read(&self, hooks: &Hooks, signed: &Signed) -> Read {
        self.read_by(self.plugin.as_ref(), hooks, signed)
    }

    /// Reads a webhook with the host's answers scripted.
    fn read_by(&self, plugin: &dyn Instance, hooks: &Hooks, signed: &Signed) -> Read {
        let body = Body(signed.body.clone());
        let webhook = Webhook::new(signed.headers.clone(), body, beginning());
        let called = self.subject.call::<_, Read>(
            plugin,
            method::DELIVERY_READ_WEBHOOK,
            &webhook,
            &|request| Ok((hooks.host)(request)),
        );
        called.value.unwrap_or_else(|error| {
            let shown = String::from_utf8_lossy(&signed.body);
            panic!("a plugin reads every webhook: '{shown}' gave {error}")
        })
    }

    /// Reads a signed webhook.
    fn genuine(&self, hooks: &Hooks, body: &[u8]) -> Read {
        self.read(hooks, &(hooks.sign)(body, beginning()))
    }

    pub(super) fn refuses(
        &self,
        plugin: &dyn Instance,
        hooks: &Hooks,
        signed: &Signed,
        rule: &str,
    ) {
        let read = self.read_by(plugin, hooks, signed);
        let shown = String::from_utf8_lossy(&signed.body);
        assert!(
            matches!(read, Err(Refusal::Unauthorized { .. })),
            "{rule}: '{shown}' gave {read:?}"
        );
    }

    pub(super) fn a_webhook_without_its_secret_is_refused(&self, hooks: &Hooks) {
        let plugin = self.plugin.as_ref();
        for body in hooks.known.iter().chain(hooks.unknown).chain(&["", "{"]) {
            let body = body.as_bytes();
            let bare = Signed::new(Vec::new(), body);
            let rule = "a webhook without its secret is refused, whatever it says";
            self.refuses(plugin, hooks, &bare, rule);
            let signed = (hooks.sign)(body, beginning());
            for place in 0..signed.headers.len() {
                let (name, value) = &signed.headers[place];
                let rule = format!("a webhook with a wrong {name} is refused");
                for wrong in [String::new(), format!("{value}x")] {
                    let mut signed = signed.clone();
                    signed.headers[place].1 = wrong;
                    self.refuses(plugin, hooks, &signed, &rule);
                }
            }
        }
    }

    pub(super) fn every_event_has_its_own_dedupe_key(&self, hooks: &Hooks) {
        let mut keys = std::collections::BTreeSet::new();
        for (place, body) in hooks.known.iter().enumerate() {
            // A message id in the headers may depend on the time, so no two webhooks share one.
            let at = beginning() + chrono::TimeDelta::seconds(place as i64);
            let read = self.read(hooks, &(hooks.sign)(body.as_bytes(), at));
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

    pub(super) fn an_unknown_webhook_is_skipped(&self, hooks: &Hooks) {
        for body in hooks.unknown {
            let read = self.genuine(hooks, body.as_bytes());
            let Ok(DeliveryReading::Skipped { reason, .. }) = &read else {
                panic!("a webhook of an unknown kind is skipped: {body} gave {read:?}");
            };
            assert!(!reason.is_empty(), "a skipped webhook has a reason: {body}");
        }
    }

    pub(super) fn an_unreadable_webhook_is_invalid(&self, hooks: &Hooks) {
        let cut = hooks.known.iter().flat_map(|body| {
            let ends = body.char_indices().map(|(end, _)| end);
            ends.map(|end| &body.as_bytes()[..end])
        });
        let garbage: [&[u8]; 4] = [b"{", b"<html>", b"\xff\xfe", b"\"text"];
        for body in garbage.into_iter().chain(cut) {
            let signed = (hooks.sign)(body, beginning());
            let read = self.read(hooks, &signed);
            let shown = String::from_utf8_lossy(body);
            let details = match &read {
                Err(Refusal::Invalid { details, .. }) => details,
                // A provider that signs inside the body cannot sign this one.
                Err(Refusal::Unauthorized { .. }) if signed == Signed::new(Vec::new(), body) => {
                    continue;
                }
                _ => panic!("a webhook that cannot be read is invalid: '{shown}' gave {read:?}"),
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
