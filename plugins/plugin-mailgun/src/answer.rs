//! The meaning of Mailgun's answers for a mail
//! (<https://documentation.mailgun.com/docs/mailgun/user-manual/get-started>). Mailgun explains its
//! errors in words alone.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Declined, HttpResponse, SendOutcome, first_phrase};
use serde::Deserialize;

use crate::{API_KEY, BASE_URL, DOMAIN, FROM, REGION, basic};

/// What precedes the time in the text of a limit.
const TRY_AGAIN: &str = "try again after ";

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// The outcome of an answer. `key` never appears in the reason, even if Mailgun repeats it.
pub fn outcome(answer: &HttpResponse, key: &str, now: DateTime<Utc>) -> SendOutcome {
    let body: Option<Body> = answer.json().ok();
    // Some errors are plain text.
    let words = match &body {
        Some(body) => body.message.clone().unwrap_or_default(),
        None => answer.body.text_lossy().into_owned(),
    };
    if (200..300).contains(&answer.status) {
        let id = body.and_then(|body| body.id).unwrap_or_default();
        // Webhooks have the id without angle brackets.
        let id = id.trim().trim_start_matches('<').trim_end_matches('>');
        return if !id.is_empty() {
            SendOutcome::accepted(id.to_owned())
        } else if words.contains("Magnificent API") {
            // Mailgun's answer to a path it does not know.
            SendOutcome::blocked(format!(
                "Mailgun has no such address. Check {BASE_URL} and {DOMAIN}"
            ))
        } else {
            // Probably the answer of a proxy: the mail may have arrived or not.
            SendOutcome::unknown(format!("Mailgun answered {} without an id", answer.status))
        };
    }
    let declined = Declined::new("Mailgun", answer.status, &[key, &basic(key)])
        .saying(&words)
        .after(answer.retry_after_ms(now));
    match blame(answer.status, &words) {
        Blame::Limit => match try_again(&words, now) {
            Some(wait_ms) => declined.after(Some(wait_ms)).limit(),
            None => declined.limit(),
        },
        // The fault may have come after acceptance, and Mailgun has no idempotency keys.
        Blame::Fault => declined.doubt(),
        Blame::Redirect => declined.redirect(BASE_URL),
        Blame::Url => declined.fix(format!("Check {BASE_URL}: Mailgun's API is not there")),
        Blame::Key => declined.fix(format!(
            "Check {API_KEY}, and {REGION}: a key of one region is refused in the other"
        )),
        Blame::Domain => declined.fix(format!(
            "Check that {DOMAIN} is verified at https://app.mailgun.com, in the region of {REGION}"
        )),
        Blame::Sandbox => declined.fix(
            "Add a domain of your own at https://app.mailgun.com: a sandbox sends only to recipients it has authorized",
        ),
        Blame::Account => declined.fix("Look at the account at https://app.mailgun.com"),
        Blame::Sender => declined.sender(format!("Check the sender ({FROM}, EMAIL_FROM or EMAIL_FROM_TRANSACTIONAL)")),
        Blame::Recipient => declined.recipient(),
        Blame::Content => declined.content(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    Limit,
    Fault,
    Redirect,
    Url,
    Key,
    Domain,
    Sandbox,
    Account,
    Sender,
    Recipient,
    Content,
}

fn blame(status: u16, words: &str) -> Blame {
    let words = words.to_ascii_lowercase();
    // Mailgun begins this one with "Domain … is not allowed to send", and has sent it with 420 too.
    if status == 429 || words.contains("limit exceeded") && words.contains(TRY_AGAIN) {
        return Blame::Limit;
    }
    match status {
        420 => return Blame::Limit,
        408 | 500..=599 => return Blame::Fault,
        300..=399 => return Blame::Redirect,
        401 => return Blame::Key,
        413 => return Blame::Content,
        _ => {}
    }
    if let Some(blame) = first_phrase(WORDS, &words) {
        return blame;
    }
    match status {
        // A missing body, options over 16 kB, a header with other letters than ASCII.
        400 | 422 => Blame::Content,
        404 | 405 => Blame::Url,
        _ => Blame::Account,
    }
}

/// Phrases and the fault they mean; the first one that occurs counts.
const WORDS: &[(&str, Blame)] = &[
    ("sandbox", Blame::Sandbox),
    ("free accounts are for test purposes", Blame::Sandbox),
    ("authorized recipient", Blame::Sandbox),
    ("domain not found", Blame::Domain),
    ("is not verified", Blame::Domain),
    ("unverified", Blame::Domain),
    ("not activated", Blame::Account),
    ("is not allowed to send", Blame::Account),
    ("account", Blame::Account),
    ("probation", Blame::Account),
    ("from parameter", Blame::Sender),
    ("'from'", Blame::Sender),
    ("to parameter", Blame::Recipient),
    ("'to'", Blame::Recipient),
    ("cc parameter", Blame::Recipient),
    ("'cc'", Blame::Recipient),
    ("'bcc'", Blame::Recipient),
    ("invalid private key", Blame::Key),
];

/// The wait until the time in the text of a limit, an RFC 2822 date. The answer has no header for it.
fn try_again(words: &str, now: DateTime<Utc>) -> Option<u64> {
    let start = words.to_ascii_lowercase().find(TRY_AGAIN)? + TRY_AGAIN.len();
    let date = words.get(start..)?.trim().trim_end_matches('.');
    // chrono knows UTC by its names in RFC 2822 only.
    let date = date
        .strip_suffix("UTC")
        .map_or(date.to_owned(), |date| format!("{date}GMT"));
    let at = DateTime::parse_from_rfc2822(&date).ok()?;
    Some((at.to_utc() - now).num_milliseconds().max(0).unsigned_abs())
}
