//! Logs why webhooks are refused, without a line for each of them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::Webhook;

use crate::telemetry::metrics::WEBHOOKS_REFUSED;

/// How long further refusals of a source are not logged after one was.
const SILENCE: TimeDelta = TimeDelta::minutes(1);
/// Allowed clock difference in seconds, according to the Standard Webhooks specification.
const TOLERANCE: i64 = 300;

/// By source: when a refusal was last logged, and how many were not logged since.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<String, (DateTime<Utc>, u64)>>);

impl Refusals {
    /// Logs why a source's webhook was refused, at most once a minute per source: the plugin's own
    /// reason, or the most likely one.
    pub fn tell(&self, source: &str, webhook: &Webhook, said: Option<String>) {
        WEBHOOKS_REFUSED.add(&[source], 1);
        if let Some(unsaid) = self.turn(source, webhook.received_at) {
            let reason = said.unwrap_or_else(|| reason(webhook));
            tracing::warn!(
                source,
                unsaid,
                "a webhook of '{source}' was refused: {reason}"
            );
        }
    }

    /// How many refusals before this one were not logged; `None` where this one is not to be logged
    /// either.
    fn turn(&self, source: &str, now: DateTime<Utc>) -> Option<u64> {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match logged.get_mut(source) {
            Some((last, unsaid)) if now - *last < SILENCE && now >= *last => {
                *unsaid += 1;
                None
            }
            // Sources are loaded plugins, so the map stays small.
            found => {
                let unsaid = found.map_or(0, |(_, unsaid)| *unsaid);
                logged.insert(source.to_owned(), (now, 0));
                Some(unsaid)
            }
        }
    }
}

/// The most likely cause, derived from what all signature schemes have in common. Never contains a
/// header's value.
fn reason(webhook: &Webhook) -> String {
    let named = |part: &str| webhook.headers.iter().find(|(name, _)| name.contains(part));
    let proof = named("signature").or_else(|| named("secret"));
    let proof = proof.or_else(|| named("authorization"));
    let Some((proof, _)) = proof else {
        return "it has no header with a secret or signature: set the secret at the vendor, and check that \
                no proxy removes headers"
            .to_owned();
    };
    let signed = named("timestamp").and_then(|(_, time)| time.trim().parse::<i64>().ok());
    let apart = signed.and_then(|at| webhook.received_at.timestamp().checked_sub(at));
    match apart {
        Some(apart) if apart > TOLERANCE => format!(
            "it was signed {apart} s ago, more than {TOLERANCE} s: it was delayed or replayed, or \
             this machine's clock is wrong"
        ),
        Some(apart) if apart < -TOLERANCE => {
            let ahead = apart.unsigned_abs();
            format!("it was signed {ahead} s ahead of this machine's clock: set the clock")
        }
        _ => format!(
            "the value of '{proof}' does not match: the secret here is not the one at the vendor, or a proxy \
             changes the body"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(headers: &[(&str, &str)]) -> Webhook {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let received_at = DateTime::from_timestamp(1_000_000, 0).unwrap();
        Webhook::new(headers.iter().map(own).collect(), "", received_at)
    }

    #[test]
    fn the_reason_is_a_missing_header_an_old_timestamp_or_a_mismatch() {
        for (headers, expected) in [
            (&[("content-type", "application/json")][..], "no header"),
            (&[("x-vendor-secret", "hush")], "'x-vendor-secret'"),
            (&[("authorization", "Bearer hush")], "'authorization'"),
            (
                &[("svix-signature", "v1,x"), ("svix-timestamp", "1000000")],
                "'svix-signature'",
            ),
            (
                &[("svix-signature", "v1,x"), ("svix-timestamp", "999000")],
                "1000 s ago",
            ),
            (
                &[("svix-signature", "v1,x"), ("svix-timestamp", "1001000")],
                "1000 s ahead",
            ),
            (
                &[("svix-signature", "v1,x"), ("svix-timestamp", "x")],
                "'svix-signature'",
            ),
            (
                &[
                    ("svix-signature", "v1,x"),
                    ("svix-timestamp", "-9223372036854775808"),
                ],
                "svix",
            ),
        ] {
            let reason = reason(&webhook(headers));
            assert!(reason.contains(expected), "{headers:?}: {reason}");
            assert!(!reason.contains("hush"));
        }
    }

    #[test]
    fn a_source_is_logged_once_a_minute() {
        let refusals = Refusals::default();
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let turns = [0, 1, 59, 60, 61].map(|second| refusals.turn("a", at(second)));
        assert_eq!(turns, [Some(0), None, None, Some(2), None]);
        assert_eq!(refusals.turn("b", at(61)), Some(0));
        // A clock that was set back does not suppress the log forever.
        assert_eq!(refusals.turn("a", at(5)), Some(1));
    }
}
