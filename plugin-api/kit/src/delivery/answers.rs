//! The rules for the meaning of a provider's answers.

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{
    Attempt, BatchAttempt, BatchOutcome, BatchSent, Command, HttpError, HttpErrorKind, HttpRequest,
    HttpResponse, Idempotency, Prepared, SendOutcome, Sent, ask,
};
use serde_json::{Value, json};

use super::mails::same;
use super::{Http, Subject, mail};
use crate::{beginning, call as converse, request};

const KEY: &str = "run-0198-step-3";
const BATCH_KEY: &str = "batch-0198-7";
/// The key of another mail or batch.
const OTHER_KEY: &str = "run-0198-step-4";
/// How long a rate limit asks to wait, in seconds.
const WAIT: u64 = 7;

type Answer<'a> = &'a dyn Fn(&HttpRequest) -> Result<HttpResponse, HttpError>;

fn attempt(prepared: Prepared, key: &str) -> Attempt {
    Attempt::new(key, prepared, beginning(), 1)
}

/// Makes one delivery call. Requests other than HTTP get null as their answer, so caches are empty.
fn deliver<I: serde::Serialize, T: serde::de::DeserializeOwned>(
    plugin: &dyn Instance,
    number: u32,
    input: I,
    answer: Answer<'_>,
) -> (T, Vec<HttpRequest>) {
    let mut asked = Vec::new();
    let output = converse(plugin, number, input, |command: &Command| {
        if command.kind != ask::HTTP {
            return Ok(Value::Null);
        }
        let request = request(command);
        let answered = answer(&request).map_err(HttpError::into_step_error);
        asked.push(request);
        answered.map(|response| json!(response))
    });
    let output =
        output.unwrap_or_else(|error| panic!("a plugin reports how an attempt ended: {error}"));
    (output, asked)
}

/// The reason with which a plugin that lacks a setting blocks mail, without sending a request.
pub(super) fn reason_without_asking(
    plugin: &dyn Instance,
    prepared: Result<Prepared, String>,
) -> String {
    let prepared = prepared.unwrap_or_else(|error| panic!("{error}"));
    let nothing = |request: &HttpRequest| -> Result<HttpResponse, HttpError> {
        panic!(
            "without a required setting nothing is asked of {}",
            request.url
        )
    };
    let sent: (Sent, _) = deliver(
        plugin,
        method::DELIVERY_SEND,
        attempt(prepared, KEY),
        &nothing,
    );
    match sent.0.outcome {
        SendOutcome::Blocked { reason, .. } => reason,
        other => panic!("without a required setting mails wait: {other:?}"),
    }
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

/// Errors, and what they mean for a mail.
const ERRORS: [(u16, End, &str); 5] = [
    (401, End::Blocked, "a refused key blocks mails"),
    (
        422,
        End::Rejected,
        "a mail the provider refuses is rejected",
    ),
    (429, End::Pause, "a rate limit is a pause for every mail"),
    (500, End::Unknown, "a fault may have come after acceptance"),
    (
        502,
        End::Unknown,
        "a fault of a gateway may have come after acceptance",
    ),
];

impl Subject<'_> {
    fn send(&self, answer: Answer<'_>) -> (SendOutcome, Vec<HttpRequest>) {
        self.send_under(KEY, answer)
    }

    fn send_under(&self, key: &str, answer: Answer<'_>) -> (SendOutcome, Vec<HttpRequest>) {
        let attempt = attempt(self.prepare(&mail(1)), key);
        let plugin = self.plugin.as_ref();
        let (sent, asked): (Sent, _) = deliver(plugin, method::DELIVERY_SEND, attempt, answer);
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
            deliver(plugin, method::DELIVERY_SEND_BATCH, batch, answer);
        (sent.outcome, asked)
    }

    /// The request that carries the mails. Others may precede it, for example for a token. `other` are
    /// the requests of the same mails under another key. A provider may want keys in a form of its
    /// own, so the key itself need not be in the request.
    fn last<'a>(
        &self,
        asked: &'a [HttpRequest],
        key: &str,
        other: &[HttpRequest],
    ) -> &'a HttpRequest {
        let last = asked
            .last()
            .unwrap_or_else(|| panic!("a mail is sent in an HTTP request"));
        assert!(
            Some(last) != other.last() || self.capabilities.idempotency == Idempotency::None,
            "a plugin that claims idempotency sends the key {key}"
        );
        self.holds_no_secret("URLs", &last.url);
        last
    }

    pub(super) fn an_accepted_mail_has_the_providers_id(&self, http: &Http) {
        let (outcome, asked) = self.send(&|_| Ok((http.accepted)(&["id-1"])));
        let message_id = "id-1";
        assert_eq!(
            outcome,
            SendOutcome::accepted(message_id),
            "an accepted mail has the provider's id"
        );
        let (_, other) = self.send_under(OTHER_KEY, &|_| Ok((http.accepted)(&["id-1"])));
        let body = &self.last(&asked, KEY, &other).body;
        self.matches(&mail(1), &(self.provider.contents)(body));
    }

    pub(super) fn an_answer_means_what_it_says_of_the_mail(&self, http: &Http) {
        for (status, expected, claim) in ERRORS {
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
        }
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

    pub(super) fn a_missing_answer_is_judged_by_how_far_the_request_got(&self) {
        for (kind, expected, claim) in [
            (
                HttpErrorKind::Lost,
                End::Unknown,
                "a lost answer leaves the mail in doubt",
            ),
            (
                HttpErrorKind::Connect,
                End::Retry,
                "a refused connection is retried",
            ),
            (
                HttpErrorKind::Refused,
                End::Blocked,
                "a refused request waits for a fix",
            ),
        ] {
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
                self.holds_no_secret("what is reported of a mail", &outcome);
                if self.capabilities.batch_max > 1 {
                    let (outcome, _) = self.send_batch(&|_| Ok(failure(http, status, &words)));
                    self.holds_no_secret("what is reported of a batch", &outcome);
                }
            }
        }
    }

    pub(super) fn a_batch_keeps_its_order(&self, http: &Http) {
        let (outcome, asked) = self.send_batch(&|_| Ok((http.accepted)(&["id-1", "id-2"])));
        let accepted = ["id-1", "id-2"].map(|id| SendOutcome::accepted(id));
        assert_eq!(
            outcome,
            BatchOutcome::Each(accepted.into()),
            "a batch of two is answered for each, in order"
        );
        let (_, other) =
            self.send_batch_under(OTHER_KEY, &|_| Ok((http.accepted)(&["id-1", "id-2"])));
        let seen = (self.provider.contents)(&self.last(&asked, BATCH_KEY, &other).body);
        assert_eq!(seen.len(), 2, "a batch of two holds two mails");
        for (number, seen) in [1, 2].into_iter().zip(&seen) {
            same(&mail(number), seen);
        }
    }

    pub(super) fn a_batch_ends_as_its_answer_says(&self, http: &Http) {
        for (status, expected, claim) in ERRORS {
            let (outcome, _) = self.send_batch(&|_| Ok(failure(http, status, "The words.")));
            match (&outcome, expected) {
                (BatchOutcome::Apart { .. }, End::Rejected) => {}
                (BatchOutcome::All(all), _) if end(all) == Some(expected) => {
                    assert_ne!(
                        expected,
                        End::Rejected,
                        "a refused batch goes apart, so that one bad mail does not block the others"
                    );
                    if status == 429 {
                        self.waits(all);
                    }
                }
                _ => panic!("{claim}, in a batch too: {outcome:?}"),
            }
        }
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
