//! The rules for captures.

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{
    Capture, Captured, HttpError, HttpErrorKind, HttpRequest, HttpResponse, Properties,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::outcomes::{Case, End, MISSING, STATUSES};
use super::{Captures, Seen, Test};
use crate::subject::Answer;
use crate::{beginning, with};

/// How long a rate limit asks to wait, in seconds.
const WAIT: u64 = 7;
/// The most captures that the host hands over at once.
const BATCH: u32 = 500;

impl Test<'_> {
    pub(super) fn check_captures(&self, captures: &Captures) {
        let verdict = &self.subject.verdict;
        verdict.check("whole-batch", || self.a_batch_is_sent_whole(captures));
        verdict.check("same-ids", || self.a_repeat_has_the_same_ids(captures));
        verdict.check("unconfigured", || {
            self.without_its_setting_nothing_is_sent(captures);
        });
        verdict.check("empty-batch", || {
            let (outcome, _) = self.send(&[], &|request| Ok((captures.accepted)(request)));
            assert!(
                matches!(outcome, Captured::Taken | Captured::Unwanted),
                "an empty batch is taken or unwanted: {outcome:?}"
            );
        });
        verdict.check("every-capture-once", || {
            self.a_large_batch_is_sent_once(captures);
        });
        verdict.check("odd-captures", || self.odd_captures_end_somehow(captures));
        for case in &STATUSES {
            verdict.check(case.promise, || self.a_status_means(captures, case));
        }
        for case in &MISSING {
            verdict.check(case.promise, || self.a_missing_answer_means(captures, case));
        }
        verdict.check("secrets", || self.repeated_secrets_stay_secret(captures));
    }

    fn send(&self, batch: &[Capture], answer: Answer<'_>) -> (Captured, Vec<HttpRequest>) {
        self.send_by(self.plugin.as_ref(), batch, answer)
    }

    fn send_by(
        &self,
        plugin: &dyn Instance,
        batch: &[Capture],
        answer: Answer<'_>,
    ) -> (Captured, Vec<HttpRequest>) {
        let called =
            self.subject
                .call::<_, Captured>(plugin, method::ANALYTICS_CAPTURE, &batch, answer);
        let outcome = called.value;
        let outcome =
            outcome.unwrap_or_else(|error| panic!("a plugin reports how a batch ended: {error}"));
        let reason = match &outcome {
            Captured::Blocked { reason, .. }
            | Captured::Retry { reason, .. }
            | Captured::Rejected { reason, .. } => reason,
            _ => "none",
        };
        assert!(
            !reason.trim().is_empty(),
            "an outcome has a reason: {outcome:?}"
        );
        (outcome, called.asked)
    }

    fn small_batch(captures: &Captures) -> Vec<Capture> {
        let mut batch = vec![capture(1, captures.event), capture(2, captures.event)];
        if captures.updates {
            batch.push(with(capture(3, ""), |update| update.event = None));
        }
        batch
    }

    fn a_batch_is_sent_whole(&self, captures: &Captures) {
        let batch = Self::small_batch(captures);
        let (outcome, asked) = self.send(&batch, &|request| Ok((captures.accepted)(request)));
        assert_eq!(outcome, Captured::Taken, "an accepted batch is taken");
        let seen: Vec<Seen> = asked.iter().flat_map(captures.contents).collect();
        assert_eq!(
            seen.len(),
            batch.len(),
            "every capture of a batch is sent, and nothing else: {seen:?}"
        );
        for (capture, seen) in batch.iter().zip(&seen) {
            same(capture, seen);
        }
    }

    fn a_repeat_has_the_same_ids(&self, captures: &Captures) {
        let batch = Self::small_batch(captures);
        let ids = || {
            let (_, asked) = self.send(&batch, &|request| Ok((captures.accepted)(request)));
            let seen = asked.iter().flat_map(captures.contents);
            seen.map(|seen| seen.id).collect::<Vec<_>>()
        };
        let first = ids();
        assert_eq!(first, ids(), "a batch that is sent again has the same ids");
        let mut known: Vec<_> = first.into_iter().flatten().collect();
        let all = known.len();
        known.sort();
        known.dedup();
        assert_eq!(known.len(), all, "each capture has an id of its own");
    }

    fn without_its_setting_nothing_is_sent(&self, captures: &Captures) {
        let Some(name) = &self.subject.manifest.captures_with else {
            return;
        };
        let mut settings = self.subject.settings.clone();
        settings.remove(name);
        let Ok(plugin) = self.subject.make(&settings) else {
            return;
        };
        let batch = Self::small_batch(captures);
        let (outcome, asked) = self.send_by(plugin.as_ref(), &batch, &|request| {
            Ok((captures.accepted)(request))
        });
        assert!(
            outcome == Captured::Unwanted && asked.is_empty(),
            "without {name} captures are unwanted and nothing is sent: {outcome:?} after {} requests",
            asked.len()
        );
    }

    /// Halves a batch as the host does where the plugin rejects it.
    fn a_large_batch_is_sent_once(&self, captures: &Captures) {
        let batch: Vec<Capture> = (1..=BATCH).map(|n| capture(n, captures.event)).collect();
        let mut sent = Vec::new();
        let mut open = vec![batch.as_slice()];
        while let Some(part) = open.pop() {
            let (outcome, asked) = self.send(part, &|request| Ok((captures.accepted)(request)));
            match outcome {
                Captured::Taken => sent.extend(asked.iter().flat_map(captures.contents)),
                Captured::Rejected { .. } if part.len() > 1 && asked.is_empty() => {
                    let (first, second) = part.split_at(part.len() / 2);
                    open.extend([second, first]);
                }
                other => panic!(
                    "a batch of {} captures is taken, or rejected before anything is sent: {other:?} after {} requests",
                    part.len(),
                    asked.len()
                ),
            }
        }
        assert_eq!(
            sent.len(),
            batch.len(),
            "every capture of a large batch is sent once"
        );
        for (capture, seen) in batch.iter().zip(&sent) {
            same(capture, seen);
        }
    }

    fn odd_captures_end_somehow(&self, captures: &Captures) {
        let change =
            |number: u32, change: fn(&mut Capture)| with(capture(number, captures.event), change);
        let odd = [
            change(11, |one| one.distinct_id = String::new()),
            change(12, |one| one.distinct_id = "é\u{202e} \"'<>\\".into()),
            change(13, |one| one.properties = Properties::new()),
            change(14, |one| {
                one.properties
                    .insert("long".into(), "x".repeat(100_000).into());
            }),
            change(15, |one| {
                let deep = (0..30).fold(json!(1), |inner, _| json!({ "x": [inner] }));
                one.properties.insert("deep".into(), deep);
            }),
            change(16, |one| {
                one.properties
                    .insert("\u{1f980} $set.x".into(), Value::Null);
            }),
        ];
        for one in &odd {
            let batch = [
                capture(1, captures.event),
                one.clone(),
                capture(2, captures.event),
            ];
            let (outcome, asked) = self.send(&batch, &|request| Ok((captures.accepted)(request)));
            let seen = asked.iter().flat_map(captures.contents).count();
            match &outcome {
                Captured::Taken => assert_eq!(
                    seen, 3,
                    "a batch that is taken was sent whole: {seen} of 3 captures were sent"
                ),
                Captured::Partly { refused, .. } => {
                    assert!(
                        refused
                            .iter()
                            .all(|refused| refused.id == one.id && !refused.reason.is_empty()),
                        "only the capture at fault is refused, with a reason: {refused:?}"
                    );
                    assert_eq!(
                        seen + refused.len(),
                        3,
                        "what is not refused is sent: {seen} captures were sent"
                    );
                }
                Captured::Rejected { .. } => {}
                other => panic!("a capture that the product cannot take is refused: {other:?}"),
            }
        }
    }

    fn a_status_means(&self, captures: &Captures, case: &Case<u16>) {
        let Case {
            answer: status,
            expected,
            claim,
            ..
        } = *case;
        let batch = Self::small_batch(captures);
        let (outcome, _) = self.send(&batch, &|_| Ok(failure(captures, status, "The words.")));
        assert!(
            expected.fits(&outcome),
            "{claim}: {status} gave {outcome:?}"
        );
        if let Captured::Retry { retry_after_ms, .. } = outcome
            && status == 429
        {
            assert_eq!(
                retry_after_ms,
                Some(WAIT * 1_000),
                "a rate limit with retry-after waits that long"
            );
        }
    }

    fn a_missing_answer_means(&self, captures: &Captures, case: &Case<HttpErrorKind>) {
        let batch = Self::small_batch(captures);
        let (outcome, _) = self.send(&batch, &|_| Err(HttpError::new(case.answer, "no answer")));
        let expected: End = case.expected;
        assert!(expected.fits(&outcome), "{}: {outcome:?}", case.claim);
    }

    fn repeated_secrets_stay_secret(&self, captures: &Captures) {
        let batch = Self::small_batch(captures);
        let (_, asked) = self.send(&batch, &|request| Ok((captures.accepted)(request)));
        // A product can repeat only what it received.
        let mut words = String::new();
        for request in &asked {
            words += &format!("{} {} ", request.url, request.body.text_lossy());
            for (_, value) in &request.headers {
                words += &format!("{value} ");
            }
        }
        // A truncated reason must not end with a part of a secret.
        for before in [0, 85, 95, 98] {
            let words = format!("{}{words}", "x".repeat(before));
            for status in [200, 302, 400, 401, 403, 404, 413, 422, 429, 500, 503] {
                self.send(&batch, &|_| Ok(failure(captures, status, &words)));
            }
        }
    }
}

/// Whether what is sent is the capture.
fn same(capture: &Capture, seen: &Seen) {
    let id = capture.id.to_string();
    let bare = id.replace('-', "");
    if let Some(found) = &seen.id {
        assert!(
            found.contains(&id) || found.contains(&bare),
            "a capture is sent with its id {id}, not '{found}'"
        );
    }
    if let Some(found) = &seen.distinct_id {
        assert_eq!(
            found, &capture.distinct_id,
            "a capture is sent with its person"
        );
    }
    if let Some(found) = &seen.event {
        assert_eq!(
            found.as_str(),
            capture.event.as_deref().unwrap_or_default(),
            "a capture is sent with its name, an update without one"
        );
    }
    if let Some(found) = &seen.properties {
        for (name, value) in &capture.properties {
            assert_eq!(
                found.get(name),
                Some(value),
                "a capture is sent with its property {name}"
            );
        }
    }
}

/// A capture with every field set; `number` distinguishes it from others.
fn capture(number: u32, event: &str) -> Capture {
    let id = 0x0198_0000_0000_7000_8000_0000_0000_0000 + u128::from(number);
    let person = format!("user-{number}");
    let capture = Capture::new(
        Uuid::from_u128(id),
        person,
        Some(event.to_owned()),
        beginning(),
    );
    with(capture, |capture| {
        let properties =
            json!({ "plan": "pro", "count": number, "nested": { "ünïcode": [1, null] } });
        if let Value::Object(properties) = properties {
            capture.properties = properties;
        }
    })
}

fn failure(captures: &Captures, status: u16, words: &str) -> HttpResponse {
    let mut answer = (captures.failure)(status, words);
    answer.status = status;
    if status == 429 && answer.header("retry-after").is_none() {
        answer
            .headers
            .push(("retry-after".to_owned(), WAIT.to_string()));
    }
    answer
}
