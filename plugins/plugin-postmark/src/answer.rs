//! The meaning of Postmark's answers for a mail
//! (<https://postmarkapp.com/developer/api/overview#error-codes>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{BounceType, HttpResponse, SendOutcome};
use serde::Deserialize;

use crate::{BASE_URL, FROM, STREAM, STREAM_TRANSACTIONAL, TOKEN};

/// The most characters of Postmark's message in a reason.
const MESSAGE_MAX: usize = 400;

/// Postmark's result for one mail.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Said {
    error_code: u32,
    #[serde(default)]
    message: String,
    #[serde(default, rename = "MessageID")]
    message_id: Option<String>,
}

impl Said {
    /// The id of an accepted mail.
    pub fn accepted(&self) -> Option<&str> {
        let id = self.message_id.as_deref();
        id.filter(|id| self.error_code == 0 && !id.is_empty())
    }

    /// Whether Postmark refused the mail.
    pub fn refused(&self) -> bool {
        self.error_code != 0
    }
}

/// The outcome of an answer. `token` never appears in the reason, even if Postmark repeats it.
pub fn outcome(answer: &HttpResponse, token: &str, now: DateTime<Utc>) -> SendOutcome {
    let said = answer.json::<Said>().ok();
    if (200..300).contains(&answer.status) && !said.as_ref().is_some_and(Said::refused) {
        return match said.as_ref().and_then(Said::accepted) {
            Some(id) => SendOutcome::accepted(id.to_owned()),
            // Probably the answer of a proxy: the mail may have arrived or not.
            None => {
                SendOutcome::unknown(format!("Postmark answered {} without an id", answer.status))
            }
        };
    }
    failure(answer, said.as_ref(), token, now)
}

/// The outcome of a mail or a whole request that Postmark did not accept.
pub fn failure(
    answer: &HttpResponse,
    said: Option<&Said>,
    token: &str,
    now: DateTime<Utc>,
) -> SendOutcome {
    let reason = describe(answer.status, said, token);
    let retry_after_ms = answer.retry_after_ms(now);
    let blocked =
        |fix: &str| SendOutcome::blocked(format!("{reason}. {fix}")).after(retry_after_ms);
    let code = said.map(|said| said.error_code).filter(|code| *code != 0);
    match (answer.status, code) {
        // Planned maintenance.
        (503, _) | (_, Some(100)) => return SendOutcome::retry(reason).after(retry_after_ms),
        // The fault may have come after acceptance, and Postmark has no idempotency keys.
        (408 | 500..=599, _) => return SendOutcome::unknown(reason),
        (429, _) | (_, Some(429)) => return SendOutcome::pause(reason).after(retry_after_ms),
        (300..=399, _) => {
            return blocked(&format!("Check {BASE_URL}: it redirects to another URL"));
        }
        _ => {}
    }
    let words = said.map(|said| said.message.as_str()).unwrap_or_default();
    match blame(answer.status, code, words) {
        Blame::Token => blocked(&format!(
            "Set {TOKEN} to the token of a server, from its API Tokens page"
        )),
        Blame::Url => blocked(&format!("Check {BASE_URL}: Postmark's API is not there")),
        Blame::Credits => blocked("Mails wait until the quota resets; a larger plan raises it"),
        Blame::Pending => blocked("Ask Postmark to approve the account"),
        Blame::Account => blocked("Ask Postmark why the account may not send"),
        Blame::Stream => blocked(&format!(
            "Set {STREAM} and {STREAM_TRANSACTIONAL} to ids of the server's message streams"
        )),
        Blame::Sender => SendOutcome::sender_blocked(format!(
            "{reason}. Check that the sender ({FROM}, EMAIL_FROM or EMAIL_FROM_TRANSACTIONAL) is confirmed at https://account.postmarkapp.com/signature_domains"
        ))
        .after(retry_after_ms),
        // It bounced, complained or was suppressed before, and Postmark no longer sends to it.
        Blame::Inactive => SendOutcome::bounced(reason, BounceType::Permanent),
        // The syntax of the address is wrong, which says nothing about the mailbox.
        Blame::Recipient => SendOutcome::bounced(reason, BounceType::Undetermined),
        Blame::Content => SendOutcome::rejected(reason),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    Token,
    Url,
    Credits,
    Pending,
    Account,
    Stream,
    Sender,
    Inactive,
    Recipient,
    Content,
}

/// Whose fault a refusal is: by the code first, then by Postmark's message, last by the status. A
/// refusal that names neither the recipient nor the content is the account's fault.
fn blame(status: u16, code: Option<u32>, words: &str) -> Blame {
    match code {
        Some(10) => return Blame::Token,
        Some(400 | 401) => return Blame::Sender,
        Some(405) => return Blame::Credits,
        Some(406) => return Blame::Inactive,
        Some(412) => return Blame::Pending,
        Some(413) => return Blame::Account,
        Some(1226 | 1235) => return Blame::Stream,
        _ => {}
    }
    let words = words.to_ascii_lowercase();
    let found = WORDS.iter().find(|(word, _)| words.contains(word));
    if let Some((_, blame)) = found {
        return *blame;
    }
    match (status, code) {
        // Invalid mail, invalid JSON, incompatible JSON, no JSON, too many mails, an attachment.
        (_, Some(300 | 402 | 403 | 409 | 410 | 411)) | (413, _) => Blame::Content,
        (401, _) => Blame::Token,
        (404 | 405, None) => Blame::Url,
        _ => Blame::Account,
    }
}

/// Phrases and the fault they mean; the first one that occurs counts.
const WORDS: &[(&str, Blame)] = &[
    ("'from'", Blame::Sender),
    ("sender signature", Blame::Sender),
    ("server token", Blame::Token),
    ("api token", Blame::Token),
    ("out of credits", Blame::Credits),
    ("pending approval", Blame::Pending),
    ("message stream", Blame::Stream),
    ("marked as inactive", Blame::Inactive),
    ("inactive recipient", Blame::Inactive),
    ("'to'", Blame::Recipient),
    ("recipient", Blame::Recipient),
];

fn describe(status: u16, said: Option<&Said>, token: &str) -> String {
    let mut text = format!("Postmark answered {status}");
    if let Some(said) = said {
        // In a batch the status is that of the whole request.
        if said.refused() {
            text += &format!(", error {}", said.error_code);
        }
        let message = clean(&said.message, token);
        if !message.is_empty() {
            text += &format!(": {message}");
        }
    }
    text.trim_end_matches(['.', ' ']).to_owned()
}

/// Postmark's message, short and without the token.
fn clean(text: &str, token: &str) -> String {
    // The token is removed before the text is cut, or a part of it could remain.
    let text = text.replace(token, "[token]");
    text.chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_MAX)
        .collect()
}
