//! The rules for the meaning of a provider's answers.

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{
    Attempt, BatchAttempt, BatchOutcome, BatchSent, HttpError, HttpErrorKind, HttpRequest,
    HttpResponse, Idempotency, Prepared, SendOutcome, Sent,
};

use super::mails::same;
use super::{Http, Test, mail};
use crate::beginning;
use crate::subject::Answer;

const KEY: &str = "run-0198-step-3";
const BATCH_KEY: &str = "batch-0198-7";
/// The key of another mail or batch.
const OTHER_KEY: &str = "run-0198-step-4";
/// How long a rate limit asks to wait, in seconds.
const WAIT: u64 = 7;

fn attempt(prepared: Prepared, key: &str) -> Attempt {
    Attempt::new(key, prepared, beginning(), 1)
}

fn no_answer(kind: HttpErrorKind) -> HttpError {
    HttpError::new(kind, "no answer")
}

/// An expected outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Retry,
    Pause,
    Blocked,
    Rejected,
    Unknown,
}

fn end(outcome: &SendOutcome) -> Option<End> {
    Some(match outcome {
        SendOutcome::Accepted { .. } => return None,
        SendOutcome::Retry { pause: true, .. } => End::Pause,
        SendOutcome::Retry { .. } => End::Retry,
        SendOutcome::Blocked { .. } => End::Blocked,
        SendOutcome::Rejected { .. } => End::Rejected,
        _ => End::Unknown,
    })
}

fn wait(outcome: &SendOutcome) -> Option<u64> {
    match outcome {
        SendOutcome::Retry { retry_after_ms, .. } | SendOutcome::Blocked { retry_after_ms, .. } => {
            *retry_after_ms
        }
        _ => None,
    }
}

/// An error response, and what it means for a mail.
pub(super) struct Fault {
    pub promise: &'static str,
    status: u16,
    expected: End,
    claim: &'static str,
}

const fn fault(promise: &'static str, status: u16, expected: End, claim: &'static str) -> Fault {
    Fault {
        promise,
        status,
        expected,
        claim,
    }
}

pub(super) const ERRORS: [Fault; 5] = [
    fault(
        "refused-key",
        401,
        End::Blocked,
        "a refused key blocks mails",
    ),
    fault(
        "refused-mail",
        422,
        End::Rejected,
        "a mail the provider refuses is rejected",
    ),
    fault(
        "rate-limit",
        429,
        End::Pause,
        "a rate limit is a pause for every mail",
    ),
    fault(
        "provider-fault",
        500,
        End::Unknown,
        "a fault may have come after acceptance",
    ),
    fault(
        "provider-fault",
        502,
        End::Unknown,
        "a fault of a gateway may have come after acceptance",
    ),
];

/// A request without a response, and what it means for a mail.
pub(super) struct Missing {
    pub promise: &'static str,
    kind: HttpErrorKind,
    expected: End,
    claim: &'static str,
}

pub(super) const MISSING: [Missing; 3] = [
    Missing {
        promise: "lost-answer",
        kind: HttpErrorKind::Lost,
        expected: End::Unknown,
        claim: "a lost answer leaves the mail in doubt",
    },
    Missing {
        promise: "no-connection",
        kind: HttpErrorKind::Connect,
        expected: End::Retry,
        claim: "a refused connection is retried",
    },
    Missing {
        promise: "refused-request",
        kind: HttpErrorKind::Refused,
        expected: End::Blocked,
        claim: "a refused request waits for a fix",
    },
];

impl Test<'_> {
    /// Makes one delivery call.
    fn deliver<I: serde::Serialize, T: serde::de::DeserializeOwned + std::fmt::Debug>(
        &self,
        plugin: &dyn Instance,
        number: u32,
        input: &I,
        answer: Answer<'_>,
    ) -> (T, Vec<HttpRequest>) {
        let called = self.subject.call(plugin, number, input, answer);
        let output = called.value;
        let output =
            output.unwrap_or_else(|error| panic!("a plugin reports how an attempt ended: {error}"));
        (output, called.asked)
    }

    /// The reason with which a plugin that lacks a setting blocks mail, without sending a request.
    pub(super) fn reason_without_asking(&self, plugin: &dyn Instance) -> String {
        let nothing = |request: &HttpRequest| -> Result<HttpResponse, HttpError> {
            panic!(
                "without a required setting nothing is asked of {}",
                request.url
            )
        };
        let attempt = attempt(self.prepare(&mail(1)), KEY);
        let (sent, _): (Sent, _) = self.deliver(plugin, method::DELIVERY_SEND, &attempt, &nothing);
        match sent.outcome {
            SendOutcome::Blocked { reason, .. } => reason,
            other => panic!("without a required setting mails wait: {other:?}"),
        }
    }

    fn send(&self, answer: Answer<'_>) -> (SendOutcome, Vec<HttpRequest>) {
        self.send_under(KEY, answer)
    }

    fn send_under(&self, key: &str, answer: Answer<'_>) -> (SendOutcome, Vec<HttpRequest>) {
        let attempt = attempt(self.prepare(&mail(1)), key);
        let plugin = self.plugin.as_ref();
        let (sent, asked): (Sent, _) =
            self.deliver(plugin, method::DELIVERY_SEND, &attempt, answer);
        (sent.outcome, asked)
    }

    fn send_batch(&self, answer: Answer<'_>) -> (BatchOutcome, Vec<HttpRequest>) {
        self.send_batch_under(BATCH_KEY, answer)
    }

    fn send_batch_under(&self, key: &str, answer: Answer<'_>) -> (BatchOutcome, Vec<HttpRequest>) {
        let mails = [1, 2].map(|number| self.prepare(&mail(number)));
        let batch = BatchAttempt::new(key, mails.into(), 1);
        let plugin = self.plugin.as_ref();
        let (sent, asked): (BatchSent, _) =
            self.deliver(plugin, method::DELIVERY_SEND_BATCH, &batch, answer);
        (sent.outcome, asked)
    }

    /// The request that carries the mails. Others may precede it, for example for a token.
    fn last<'a>(&self, asked: &'a [HttpRequest]) -> &'a HttpRequest {
        asked
            .last()
            .unwrap_or_else(|| panic!("a mail is sent in an HTTP request"))
    }

    pub(super) fn an_accepted_mail_has_the_providers_id(&self, http: &Http) {
        let (outcome, asked) = self.send(&|_| Ok((http.accepted)(&["id-1"])));
        let message_id = "id-1";
        assert_eq!(
            outcome,
            SendOutcome::accepted(message_id),
            "an accepted mail has the provider's id"
        );
        self.matches(&mail(1), &(self.provider.contents)(&self.last(&asked).body));
    }

    /// The same mails under another key make another request. A provider may want keys in a form of
    /// its own, so the key itself need not be in it.
    pub(super) fn the_key_is_sent(&self, http: &Http) {
        if self.capabilities.idempotency == Idempotency::None {
            return;
        }
        let [one, other] =
            [KEY, OTHER_KEY].map(|key| self.send_under(key, &|_| Ok((http.accepted)(&["id-1"]))).1);
        assert_ne!(
            self.last(&one),
            self.last(&other),
            "a plugin that claims idempotency sends the key {KEY}"
        );
        if self.capabilities.batch_max > 1 {
            let [one, other] = [BATCH_KEY, OTHER_KEY].map(|key| {
                self.send_batch_under(key, &|_| Ok((http.accepted)(&["id-1", "id-2"])))
                    .1
            });
            assert_ne!(
                self.last(&one),
                self.last(&other),
                "a plugin that claims idempotency sends the key {BATCH_KEY} of a batch"
            );
        }
    }

    pub(super) fn an_error_means_what_it_says(&self, http: &Http, error: &Fault) {
        let Fault {
            status,
            expected,
            claim,
            ..
        } = *error;
        let (outcome, _) = self.send(&|_| Ok(failure(http, status, "The words.")));
        assert_eq!(end(&outcome), Some(expected), "{claim}: {outcome:?}");
        let reported = format!("{outcome:?}");
        assert!(
            reported.contains("The words"),
            "the provider's explanation of {status} is passed on: {reported}"
        );
        if status == 429 {
            self.waits(&outcome);
        }
        // A refused batch has a rule of its own.
        if self.capabilities.batch_max > 1 && expected != End::Rejected {
            let (outcome, _) = self.send_batch(&|_| Ok(failure(http, status, "The words.")));
            let BatchOutcome::All(outcome) = &outcome else {
                panic!("{claim}, in a batch for all: {outcome:?}");
            };
            assert_eq!(
                end(outcome),
                Some(expected),
                "{claim}, in a batch too: {outcome:?}"
            );
            if status == 429 {
                self.waits(outcome);
            }
        }
    }

    pub(super) fn an_answer_without_id_is_in_doubt(&self) {
        for garbage in ["", "<html>", "{}", "[]", "null"] {
            let (outcome, _) = self.send(&|_| Ok(answer(200, garbage)));
            assert_eq!(
                end(&outcome),
                Some(End::Unknown),
                "200 without an id does not say whether the mail was accepted: {outcome:?}"
            );
        }
    }

    fn waits(&self, outcome: &SendOutcome) {
        assert_eq!(
            wait(outcome),
            Some(WAIT * 1_000),
            "a rate limit with retry-after pauses that long"
        );
    }

    pub(super) fn a_missing_answer_is_judged(&self, missing: &Missing) {
        let Missing {
            kind,
            expected,
            claim,
            ..
        } = *missing;
        let (outcome, _) = self.send(&|_| Err(no_answer(kind)));
        assert_eq!(end(&outcome), Some(expected), "{claim}: {outcome:?}");
        if self.capabilities.batch_max > 1 {
            let (outcome, _) = self.send_batch(&|_| Err(no_answer(kind)));
            let BatchOutcome::All(outcome) = outcome else {
                panic!("{claim}, in a batch for all: {outcome:?}");
            };
            assert_eq!(end(&outcome), Some(expected), "{claim}, in a batch too");
        }
    }

    pub(super) fn secrets_stay_secret_when_the_provider_repeats_them(&self, http: &Http) {
        let (_, asked) = self.send(&|_| Ok((http.accepted)(&["id-1"])));
        // A provider can repeat only what it received: keys and tokens.
        let mut words = String::new();
        for (_, value) in asked.iter().flat_map(|request| &request.headers) {
            words += &format!("{value} ");
        }
        // A truncated reason must not end with a part of a secret.
        for before in [0, 380, 390, 395, 398] {
            let words = format!("{}{words}", "x".repeat(before));
            for status in [400, 401, 403, 404, 409, 413, 422, 429, 500, 503] {
                let (outcome, _) = self.send(&|_| Ok(failure(http, status, &words)));
                self.subject
                    .holds_no_secret("what is reported of a mail", &outcome);
                if self.capabilities.batch_max > 1 {
                    let (outcome, _) = self.send_batch(&|_| Ok(failure(http, status, &words)));
                    self.subject
                        .holds_no_secret("what is reported of a batch", &outcome);
                }
            }
        }
    }

    pub(super) fn a_batch_keeps_its_order(&self, http: &Http) {
        let (outcome, asked) = self.send_batch(&|_| Ok((http.accepted)(&["id-1", "id-2"])));
        let accepted = ["id-1", "id-2"].map(SendOutcome::accepted);
        assert_eq!(
            outcome,
            BatchOutcome::Each(accepted.into()),
            "a batch of two is answered for each, in order"
        );
        let seen = (self.provider.contents)(&self.last(&asked).body);
        assert_eq!(seen.len(), 2, "a batch of two holds two mails");
        for (number, seen) in [1, 2].into_iter().zip(&seen) {
            same(&mail(number), seen);
        }
    }

    pub(super) fn a_refused_batch_goes_apart(&self, http: &Http) {
        let (outcome, _) = self.send_batch(&|_| Ok(failure(http, 422, "The words.")));
        assert!(
            matches!(outcome, BatchOutcome::Apart { .. }),
            "a refused batch goes apart, so that one bad mail does not block the others: {outcome:?}"
        );
    }

    pub(super) fn every_mail_of_a_batch_has_an_id(&self, http: &Http) {
        let few: &[&str] = &["id-1"];
        let many: &[&str] = &["id-1", "id-2", "id-3"];
        for ids in [few, many] {
            let (outcome, _) = self.send_batch(&|_| Ok((http.accepted)(ids)));
            assert!(
                matches!(outcome, BatchOutcome::All(SendOutcome::Unknown { .. })),
                "an answer with {} ids to two mails leaves both in doubt: {outcome:?}",
                ids.len()
            );
        }
    }
}

fn failure(http: &Http, status: u16, words: &str) -> HttpResponse {
    let mut answer = (http.failure)(status, words);
    answer.status = status;
    if status == 429 && answer.header("retry-after").is_none() {
        let header = ("retry-after".to_owned(), WAIT.to_string());
        answer.headers.push(header);
    }
    answer
}

fn answer(status: u16, body: &str) -> HttpResponse {
    HttpResponse::new(status, &[], body)
}
