//! The meaning of Brevo's answers for a mail
//! (<https://developers.brevo.com/docs/how-it-works#error-codes>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{BounceType, HttpResponse, SendOutcome};
use serde::Deserialize;
use uuid::Uuid;

use crate::{API_KEY, BASE_URL, FROM};

/// How long mails wait before a retry with used-up credits.
const CREDITS_WAIT_MS: u64 = 3_600_000;
/// The most characters of Brevo's message in a reason.
const MESSAGE_MAX: usize = 400;

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
                SendOutcome::Accepted { message_id }
            }
            // Probably the answer of a proxy: the mail may have arrived or not.
            _ => SendOutcome::unknown(format!(
                "Brevo answered {} without a message id",
                answer.status
            )),
        };
    }
    let failure: Failure = answer.json().unwrap_or_default();
    let said = describe(answer.status, &failure, api_key);
    let wait = wait(answer, now);
    if (400..500).contains(&answer.status) && is_repeat(&failure) {
        // Brevo accepted the mail at an earlier attempt, whose answer with the id was lost. Webhooks
        // find the mail by the id that they return.
        return SendOutcome::Accepted {
            message_id: key.to_string(),
        };
    }
    match (answer.status, failure.code.as_str()) {
        (429, _) => SendOutcome::pause(said).after(wait),
        (503, _) => SendOutcome::retry(said).after(wait),
        // The fault may have come after acceptance. The key makes a repeat safe at Brevo, but not at
        // another provider.
        (408 | 500..=599, _) => SendOutcome::unknown(said),
        (300..=399, _) => SendOutcome::blocked(format!(
            "{said}. Check {BASE_URL}: it redirects to another URL"
        ))
        .after(wait),
        (status, code) => refusal(blame(status, code, &failure.message), &said, wait),
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

fn refusal(blame: Blame, said: &str, wait: Option<u64>) -> SendOutcome {
    match blame {
        Blame::Key => SendOutcome::blocked(format!(
            "{said}. Set {API_KEY} to a key from https://app.brevo.com/settings/keys/api, and list this server at https://app.brevo.com/security/authorised_ips if unknown IP addresses are blocked"
        ))
        .after(wait),
        Blame::Url => {
            SendOutcome::blocked(format!("{said}. Check {BASE_URL}: Brevo's API is not there"))
                .after(wait)
        }
        Blame::Credits => SendOutcome::blocked(format!(
            "{said}. Mails wait until the credits renew; a larger plan has more"
        ))
        .after(wait.or(Some(CREDITS_WAIT_MS))),
        Blame::Account => SendOutcome::blocked(format!(
            "{said}. Look at https://app.brevo.com: the account may not be activated for transactional mail"
        ))
        .after(wait),
        Blame::Sender => SendOutcome::sender_blocked(format!(
            "{said}. Check that the sender ({FROM}, or EMAIL_FROM) is verified at https://app.brevo.com/senders/list"
        ))
        .after(wait),
        // Brevo checks the syntax of the address, which says nothing about the mailbox.
        Blame::Recipient => SendOutcome::bounced(said, BounceType::Undetermined),
        Blame::Content => SendOutcome::rejected(said),
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
    if let Some(blame) = by_words(message) {
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

fn by_words(message: &str) -> Option<Blame> {
    let message = message.to_ascii_lowercase();
    let found = WORDS.iter().find(|(words, _)| message.contains(words));
    found.map(|(_, blame)| *blame)
}

fn describe(status: u16, failure: &Failure, api_key: &str) -> String {
    let (code, message) = (
        clean(&failure.code, api_key),
        clean(&failure.message, api_key),
    );
    let space = if code.is_empty() { "" } else { " " };
    let colon = if message.is_empty() { "" } else { ": " };
    let text = format!("Brevo answered {status}{space}{code}{colon}{message}");
    text.trim_end_matches(['.', ' ']).to_owned()
}

/// Brevo's message, short and without the key.
fn clean(text: &str, api_key: &str) -> String {
    // The key is removed before the text is cut, or a part of it could remain.
    let text = text.replace(api_key, "[key]");
    text.chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_MAX)
        .collect()
}
