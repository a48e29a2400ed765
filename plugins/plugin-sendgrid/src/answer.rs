//! The meaning of SendGrid's answers for a mail
//! (<https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{BounceType, HttpResponse, SendOutcome};
use serde::Deserialize;

use crate::{API_KEY, BASE_URL, FROM, POOL, POOL_TRANSACTIONAL};

/// How long mails wait before a retry with used-up credits.
const QUOTA_WAIT_MS: u64 = 3_600_000;
/// The longest wait that `X-RateLimit-Reset` may ask for, in seconds.
const RESET_MAX: i64 = 3_600;
/// The most characters of SendGrid's messages in a reason.
const MESSAGE_MAX: usize = 400;

#[derive(Default, Deserialize)]
struct Failure {
    #[serde(default)]
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    message: Option<String>,
    /// The path of the field at fault; null where the fault is not with one.
    #[serde(default)]
    field: Option<String>,
}

/// The outcome of an answer. `key` never appears in the reason, even if SendGrid repeats it.
pub fn outcome(answer: &HttpResponse, key: &str, now: DateTime<Utc>) -> SendOutcome {
    if (200..300).contains(&answer.status) {
        let id = answer.header("x-message-id").map(str::trim);
        return match id.filter(|id| !id.is_empty()) {
            Some(id) => SendOutcome::Accepted {
                message_id: id.to_owned(),
            },
            // Probably the answer of a proxy: the mail may have arrived or not.
            None => SendOutcome::unknown(format!(
                "SendGrid answered {} without an X-Message-Id",
                answer.status
            )),
        };
    }
    let failure: Failure = answer.json().unwrap_or_default();
    let said = describe(answer.status, &failure, key);
    let wait = wait(answer, now);
    match answer.status {
        429 => SendOutcome::pause(said).after(wait),
        // Documented as "the API is not available", so it took no mail.
        503 => SendOutcome::retry(said).after(wait),
        // The fault may have come after acceptance, and SendGrid has no idempotency keys.
        408 | 500..=599 => SendOutcome::unknown(said),
        300..=399 => SendOutcome::blocked(format!(
            "{said}. Check {BASE_URL}: it redirects to another URL"
        ))
        .after(wait),
        status => refusal(blame(status, &failure), &said, wait),
    }
}

/// The requested wait in milliseconds: `Retry-After`, else for a 429 `X-RateLimit-Reset`, which holds
/// the Unix time of the reset
/// (<https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/rate-limits>).
fn wait(answer: &HttpResponse, now: DateTime<Utc>) -> Option<u64> {
    answer.retry_after_ms(now).or_else(|| {
        let reset = answer.header("x-ratelimit-reset")?;
        let left = reset.trim().parse::<i64>().ok()? - now.timestamp();
        let sound = answer.status == 429 && (0..=RESET_MAX).contains(&left);
        sound.then(|| left.unsigned_abs() * 1_000)
    })
}

/// Whose fault a refusal is. Of several the first in this order counts: a fault of the installation
/// must not end a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Blame {
    Key,
    Url,
    Credits,
    Pool,
    Account,
    Sender,
    Content,
    Recipient,
}

fn refusal(blame: Blame, said: &str, wait: Option<u64>) -> SendOutcome {
    match blame {
        Blame::Key => SendOutcome::blocked(format!(
            "{said}. Set {API_KEY} to a key with the access Mail Send"
        ))
        .after(wait),
        Blame::Url => {
            SendOutcome::blocked(format!("{said}. Check {BASE_URL}: SendGrid's API is not there"))
                .after(wait)
        }
        Blame::Credits => SendOutcome::blocked(format!(
            "{said}. Mails wait until the credits renew; a larger plan has more"
        ))
        .after(wait.or(Some(QUOTA_WAIT_MS))),
        Blame::Pool => SendOutcome::blocked(format!(
            "{said}. Set {POOL} and {POOL_TRANSACTIONAL} to pools of the account that have IP addresses"
        ))
        .after(wait),
        Blame::Account => SendOutcome::blocked(format!(
            "{said}. Look at https://app.sendgrid.com: the account may be restricted, or its IP Access Management may not list this server"
        ))
        .after(wait),
        Blame::Sender => SendOutcome::sender_blocked(format!(
            "{said}. Check that the sender ({FROM}, or EMAIL_FROM) is verified at https://app.sendgrid.com/settings/sender_auth"
        ))
        .after(wait),
        Blame::Content => SendOutcome::rejected(said),
        // SendGrid checks the syntax of the address, which says nothing about the mailbox.
        Blame::Recipient => SendOutcome::bounced(said, BounceType::Undetermined),
    }
}

/// Whose fault a refusal is: by the fields and messages of its errors, else by the status.
fn blame(status: u16, failure: &Failure) -> Blame {
    let each = failure.errors.iter().map(|problem| {
        let field = problem.field.as_deref().unwrap_or_default();
        let message = problem.message.as_deref().unwrap_or_default();
        by_words(message)
            .or_else(|| by_field(field))
            .unwrap_or(by_status(status, true))
    });
    each.min().unwrap_or(by_status(status, false))
}

/// `said`: SendGrid itself answered, not a proxy.
fn by_status(status: u16, said: bool) -> Blame {
    match status {
        401 => Blame::Key,
        404 | 405 => Blame::Url,
        413 => Blame::Content,
        400 | 422 if said => Blame::Content,
        _ => Blame::Account,
    }
}

fn by_field(field: &str) -> Option<Blame> {
    if field == "ip_pool_name" {
        return Some(Blame::Pool);
    }
    if field == "from" || field.starts_with("from.") {
        return Some(Blame::Sender);
    }
    let place = field.strip_prefix("personalizations")?;
    // `personalizations.0.to.0.email`
    let mut parts = place.split('.').filter(|part| !part.is_empty());
    parts.any(|part| part == "to").then_some(Blame::Recipient)
}

/// Phrases and the fault they mean; the first one that occurs counts.
const WORDS: &[(&str, Blame)] = &[
    // SendGrid answers 401 to this, as to a wrong key.
    ("maximum credits", Blame::Credits),
    ("verified sender identity", Blame::Sender),
    ("from that email", Blame::Sender),
    ("from address", Blame::Sender),
    ("whitelist", Blame::Account),
    ("allow list", Blame::Account),
    ("allowlist", Blame::Account),
    ("not authorized to send mail", Blame::Account),
    ("authorization grant", Blame::Key),
    ("access forbidden", Blame::Key),
    ("api key", Blame::Key),
    ("wrong credentials", Blame::Key),
];

fn by_words(message: &str) -> Option<Blame> {
    let message = message.to_ascii_lowercase();
    let found = WORDS.iter().find(|(words, _)| message.contains(words));
    found.map(|(_, blame)| *blame)
}

fn describe(status: u16, failure: &Failure, key: &str) -> String {
    let each = failure.errors.iter().filter_map(|problem| {
        let message = problem.message.as_deref().filter(|text| !text.is_empty())?;
        let message = message.trim_end_matches(['.', ' ']);
        Some(match problem.field.as_deref() {
            Some(field) if !field.is_empty() => format!("{message} ({field})"),
            _ => message.to_owned(),
        })
    });
    let words = clean(&each.collect::<Vec<_>>().join("; "), key);
    let colon = if words.is_empty() { "" } else { ": " };
    let text = format!("SendGrid answered {status}{colon}{words}");
    text.trim_end_matches(['.', ' ']).to_owned()
}

/// SendGrid's messages, short and without the key.
fn clean(text: &str, key: &str) -> String {
    // The key is removed before the text is cut, or a part of it could remain.
    let text = text.replace(key, "[key]");
    text.chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_MAX)
        .collect()
}
