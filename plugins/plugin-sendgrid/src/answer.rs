//! The meaning of SendGrid's answers for a mail
//! (<https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Declined, HttpResponse, SendOutcome, first_phrase};
use serde::Deserialize;

use crate::{API_KEY, BASE_URL, FROM, POOL, POOL_TRANSACTIONAL};

/// How long mails wait before a retry with used-up credits.
const QUOTA_WAIT_MS: u64 = 3_600_000;
/// The longest wait that `X-RateLimit-Reset` may ask for, in seconds.
const RESET_MAX: i64 = 3_600;

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
            Some(id) => SendOutcome::accepted(id.to_owned()),
            // Probably the answer of a proxy: the mail may have arrived or not.
            None => SendOutcome::unknown(format!(
                "SendGrid answered {} without an X-Message-Id",
                answer.status
            )),
        };
    }
    let failure: Failure = answer.json().unwrap_or_default();
    let declined = Declined::new("SendGrid", answer.status, &[key])
        .saying(&words(&failure))
        .after(wait(answer, now));
    match answer.status {
        429 => declined.limit(),
        // Documented as "the API is not available", so it took no mail.
        503 => declined.busy(),
        // The fault may have come after acceptance, and SendGrid has no idempotency keys.
        408 | 500..=599 => declined.doubt(),
        300..=399 => declined.redirect(BASE_URL),
        status => refusal(blame(status, &failure), declined),
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

fn refusal(blame: Blame, declined: Declined) -> SendOutcome {
    match blame {
        Blame::Key => declined.fix(format!("Set {API_KEY} to a key with the access Mail Send")),
        Blame::Url => declined.fix(format!("Check {BASE_URL}: SendGrid's API is not there")),
        Blame::Credits => declined
            .or_after(QUOTA_WAIT_MS)
            .fix("Mails wait until the credits renew; a larger plan has more"),
        Blame::Pool => declined.fix(format!(
            "Set {POOL} and {POOL_TRANSACTIONAL} to pools of the account that have IP addresses"
        )),
        Blame::Account => declined.fix(
            "Look at https://app.sendgrid.com: the account may be restricted, or its IP Access Management may not list this server",
        ),
        Blame::Sender => declined.sender(format!(
            "Check that the sender ({FROM}, EMAIL_FROM or EMAIL_FROM_TRANSACTIONAL) is verified at https://app.sendgrid.com/settings/sender_auth"
        )),
        Blame::Content => declined.content(),
        Blame::Recipient => declined.recipient(),
    }
}

/// Whose fault a refusal is: by the fields and messages of its errors, else by the status.
fn blame(status: u16, failure: &Failure) -> Blame {
    let each = failure.errors.iter().map(|problem| {
        let field = problem.field.as_deref().unwrap_or_default();
        let message = problem.message.as_deref().unwrap_or_default();
        first_phrase(WORDS, message)
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

/// The messages of all errors, each with the field at fault.
fn words(failure: &Failure) -> String {
    let each = failure.errors.iter().filter_map(|problem| {
        let message = problem.message.as_deref().filter(|text| !text.is_empty())?;
        let message = message.trim_end_matches(['.', ' ']);
        Some(match problem.field.as_deref() {
            Some(field) if !field.is_empty() => format!("{message} ({field})"),
            _ => message.to_owned(),
        })
    });
    each.collect::<Vec<_>>().join("; ")
}
