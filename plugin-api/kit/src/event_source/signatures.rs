//! The rules for what authenticates a webhook.

use chrono::TimeDelta;
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{Reading, Refusal};

use super::{Read, Sample, Signed, Test};
use crate::beginning;
use crate::webhook::other_than;

impl Test<'_> {
    fn refuses(&self, plugin: &dyn Instance, sample: &Sample, signed: &Signed, rule: &str) {
        let read = self.read_by(plugin, sample, signed, beginning());
        is_unauthorized(&read, sample, rule);
    }

    pub(super) fn an_unsigned_webhook_is_refused(&self) {
        assert!(
            self.subject.manifest.webhook_secret.is_some(),
            "a manifest of an event source names the setting of the webhooks' secret"
        );
        let garbage = ["", "{", "[]"].map(Sample::from);
        let all = self.vendor.events.iter().chain(&self.vendor.others);
        for sample in all.chain(&garbage) {
            let bare = Signed::new(Vec::new(), sample.body.as_slice());
            let rule = "a webhook without its secret is refused, whatever it says";
            self.refuses(self.plugin.as_ref(), sample, &bare, rule);
        }
    }

    pub(super) fn a_changed_signature_is_refused(&self) {
        for sample in &self.vendor.events {
            let signed = (self.vendor.sign)(&sample.body, beginning());
            for (place, (name, value)) in signed.headers.iter().enumerate() {
                let rule = format!("a webhook with a wrong {name} is refused");
                for wrong in [String::new(), format!("{value}x"), other_than(value)] {
                    let mut signed = signed.clone();
                    signed.headers[place].1 = wrong;
                    self.refuses(self.plugin.as_ref(), sample, &signed, &rule);
                }
            }
        }
    }

    pub(super) fn a_changed_body_is_refused(&self) {
        let sample = &self.vendor.events[0];
        let signed = (self.vendor.sign)(&sample.body, beginning());
        let changed = [sample.body.as_slice(), b" "].concat();
        let other = (self.vendor.sign)(&changed, beginning());
        // A secret in a header says nothing of the body, and a signature in the body is another body.
        if other.headers == signed.headers || signed.body != sample.body {
            return;
        }
        let forged = Signed::new(signed.headers, changed);
        let rule = "a webhook whose body is not the signed one is refused";
        self.refuses(self.plugin.as_ref(), sample, &forged, rule);
    }

    /// A plugin with another secret refuses the webhook, or does not take the secret for one.
    pub(super) fn another_secret_is_refused(&self) {
        let subject = self.subject;
        let name = subject
            .manifest
            .webhook_secret
            .as_deref()
            .unwrap_or_default();
        let mut settings = subject.settings.clone();
        let Some(secret) = settings.get(name).map(other_than) else {
            panic!("the settings of the test have no {name}, the secret of webhooks");
        };
        settings.insert(name, &secret);
        let Ok(other) = subject.make(&settings) else {
            return;
        };
        for sample in &self.vendor.events {
            let signed = (self.vendor.sign)(&sample.body, beginning());
            let rule = "a webhook signed with another secret is refused";
            self.refuses(other.as_ref(), sample, &signed, rule);
        }
    }

    pub(super) fn an_old_signature_is_refused(&self) {
        let Some(tolerance) = self.vendor.tolerance else {
            return;
        };
        let sample = &self.vendor.events[0];
        let moment = TimeDelta::seconds(1);
        let read = |age: TimeDelta| {
            let signed = (self.vendor.sign)(&sample.body, beginning() - age);
            self.read_by(self.plugin.as_ref(), sample, &signed, beginning())
        };
        let young = read(tolerance - moment);
        assert!(
            matches!(young, Ok(Reading::Events(_))),
            "a signature is accepted for {}: {young:?}",
            seconds(tolerance)
        );
        let rule = format!("a signature older than {} is refused", seconds(tolerance));
        is_unauthorized(&read(tolerance + moment), sample, &rule);
    }
}

fn seconds(span: TimeDelta) -> String {
    format!("{} s", span.num_seconds())
}

fn is_unauthorized(read: &Read, sample: &Sample, rule: &str) {
    assert!(
        matches!(read, Err(Refusal::Unauthorized { .. })),
        "{rule}: '{}' gave {read:?}",
        sample.shown()
    );
}
