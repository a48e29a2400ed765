//! The meaning of Brevo's answers for a mail
//! (<https://developers.brevo.com/docs/how-it-works#error-codes>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Declined, HttpResponse, SendOutcome, first_phrase};
use serde::Deserialize;
use uuid::Uuid;

use crate::{API_KEY, BASE_URL, FROM};

/// How long mails wait before a retry with used-up credits.
const CREDITS_WAIT_MS: u64 = 3_600_000;

#[derive(Deserialize)]
struct Accepted {
    #[serde(rename = "messageId")]
    message_id: String,
}

#[derive(Default, Deserialize)]
struct Failure {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The outcome of an answer to a mail under the idempotency key `key`. `api_key` never appears in the
/// reason, even if Brevo repeats it.
pub fn outcome(answer: &HttpResponse, key: Uuid, api_key: &str, now: DateTime<Utc>) -> SendOutcome {
    if (200..300).contains(&answer.status) {
        return match answer.json::<Accepted>() {
            Ok(Accepted { message_id }) if !message_id.is_empty() => {
                SendOutcome::accepted(message_id)
            }
            // Probably the answer of a proxy: the mail may have arrived or not.
            _ => SendOutcome::unknown(format!(
                "Brevo answered {} without a message id",
                answer.status
            )),
        };
    }
    let failure: Failure = answer.json().unwrap_or_default();
    if (400..500).contains(&answer.status) && is_repeat(&failure) {
        // Brevo accepted the mail at an earlier attempt, whose answer with the id was lost. Webhooks
        // find the mail by the id that they return.
        return SendOutcome::accepted(key.to_string());
    }
    let declined = Declined::new("Brevo", answer.status, &[api_key])
        .named(&failure.code)
        .saying(&failure.message)
        .after(wait(answer, now));
    match answer.status {
        429 => declined.limit(),
        503 => declined.busy(),
        // The fault may have come after acceptance. The key makes a repeat safe at Brevo, but not at
        // another provider.
        408 | 500..=599 => declined.doubt(),
        300..=399 => declined.redirect(BASE_URL),
        status => refusal(blame(status, &failure.code, &failure.message), declined),
    }
}

/// Whether Brevo refuses the mail because it knows the idempotency key. It documents the code and not
/// when it comes.
fn is_repeat(failure: &Failure) -> bool {
    let message = failure.message.to_ascii_lowercase();
    let known = ["already", "duplicate"];
    failure.code == "duplicate_request"
        || message.contains("idempotency") && known.iter().any(|word| message.contains(word))
}

/// The requested wait in milliseconds: `Retry-After`, else for a 429 `x-sib-ratelimit-reset`, in
/// seconds (<https://developers.brevo.com/docs/api-limits>).
fn wait(answer: &HttpResponse, now: DateTime<Utc>) -> Option<u64> {
    answer.retry_after_ms(now).or_else(|| {
        let limited = answer.status == 429;
        limited
            .then(|| answer.seconds_ms("x-sib-ratelimit-reset"))
            .flatten()
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    Key,
    Url,
    Credits,
    Account,
    Sender,
    Recipient,
    Content,
}

fn refusal(blame: Blame, declined: Declined) -> SendOutcome {
    match blame {
        Blame::Key => declined.fix(format!(
            "Set {API_KEY} to a key from https://app.brevo.com/settings/keys/api, and list this server at https://app.brevo.com/security/authorised_ips if unknown IP addresses are blocked"
        )),
        Blame::Url => declined.fix(format!("Check {BASE_URL}: Brevo's API is not there")),
        Blame::Credits => declined
            .or_after(CREDITS_WAIT_MS)
            .fix("Mails wait until the credits renew; a larger plan has more"),
        Blame::Account => declined.fix(
            "Look at https://app.brevo.com: the account may not be activated for transactional mail",
        ),
        Blame::Sender => declined.sender(format!(
            "Check that the sender ({FROM}, EMAIL_FROM or EMAIL_FROM_TRANSACTIONAL) is verified at https://app.brevo.com/senders/list"
        )),
        Blame::Recipient => declined.recipient(),
        Blame::Content => declined.content(),
    }
}

/// Whose fault a refusal is: by the code first, then by Brevo's message, last by the status.
fn blame(status: u16, code: &str, message: &str) -> Blame {
    match code {
        "unauthorized" => return Blame::Key,
        "not_enough_credits" => return Blame::Credits,
        "permission_denied" | "reseller_permission_denied" | "account_under_validation" => {
            return Blame::Account;
        }
        "method_not_allowed" => return Blame::Url,
        _ => {}
    }
    if let Some(blame) = first_phrase(WORDS, message) {
        return blame;
    }
    match (status, code) {
        (401, _) => Blame::Key,
        (402, _) => Blame::Credits,
        (404 | 405, _) => Blame::Url,
        (406 | 413 | 422, _)
        | (
            400,
            "invalid_parameter"
            | "missing_parameter"
            | "out_of_range"
            | "duplicate_parameter"
            | "bad_request",
        ) => Blame::Content,
        _ => Blame::Account,
    }
}

/// Phrases and the fault they mean; the first one that occurs counts.
const WORDS: &[(&str, Blame)] = &[
    ("api key", Blame::Key),
    ("api-key", Blame::Key),
    ("key not found", Blame::Key),
    ("unrecognised ip", Blame::Key),
    ("credits", Blame::Credits),
    ("not yet activated", Blame::Account),
    ("suspended", Blame::Account),
    ("sender", Blame::Sender),
    ("replyto", Blame::Content),
    ("reply-to", Blame::Content),
    ("valid in to", Blame::Recipient),
    ("email in to", Blame::Recipient),
    ("recipient", Blame::Recipient),
    ("to is ", Blame::Recipient),
    ("email address", Blame::Recipient),
];
