//! What an answer of Postmark means for a mail
//! (<https://postmarkapp.com/developer/api/overview#error-codes>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{BounceType, HttpResponse, SendOutcome};
use serde::Deserialize;

use crate::{BASE_URL, FROM, STREAM, TOKEN, TRANSACTIONAL_STREAM};

/// Characters of Postmark's words that are passed on.
const MESSAGE_MAX: usize = 400;

/// What Postmark says of one mail.
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
    /// The id of a mail that was taken.
    pub fn accepted(&self) -> Option<&str> {
        let id = self.message_id.as_deref();
        id.filter(|id| self.error_code == 0 && !id.is_empty())
    }

    /// Whether Postmark refused the mail.
    pub fn refused(&self) -> bool {
        self.error_code != 0
    }
}

/// Judges an answer. `token` never appears in the reason, whatever Postmark says.
pub fn outcome(answer: &HttpResponse, token: &str, now: DateTime<Utc>) -> SendOutcome {
    let said = answer.json::<Said>().ok();
    if (200..300).contains(&answer.status) && !said.as_ref().is_some_and(Said::refused) {
        return match said.as_ref().and_then(Said::accepted) {
            Some(id) => SendOutcome::Accepted {
                message_id: id.to_owned(),
            },
            // Something between us and Postmark answered: the mail may have arrived or not.
            None => SendOutcome::Unknown {
                reason: format!("Postmark answered {} without an id", answer.status),
            },
        };
    }
    failure(answer, said.as_ref(), token, now)
}

/// Judges what an answer says of a mail Postmark did not take, or of the request as such.
pub fn failure(
    answer: &HttpResponse,
    said: Option<&Said>,
    token: &str,
    now: DateTime<Utc>,
) -> SendOutcome {
    let reason = describe(answer.status, said, token);
    let retry_after_ms = answer.retry_after_ms(now);
    let blocked =
        |mend: &str| SendOutcome::blocked(format!("{reason}. {mend}")).after(retry_after_ms);
    let code = said.map(|said| said.error_code).filter(|code| *code != 0);
    match (answer.status, code) {
        // Planned maintenance.
        (503, _) | (_, Some(100)) => return SendOutcome::retry(reason).after(retry_after_ms),
        // The fault may have come after acceptance, and Postmark knows no idempotency keys.
        (408 | 500..=599, _) => return SendOutcome::Unknown { reason },
        (429, _) | (_, Some(429)) => return SendOutcome::pause(reason).after(retry_after_ms),
        (300..=399, _) => {
            return blocked(&format!("Check {BASE_URL}: it redirects elsewhere"));
        }
        _ => {}
    }
    let words = said.map(|said| said.message.as_str()).unwrap_or_default();
    match blame(answer.status, code, words) {
        Blame::Token => blocked(&format!(
            "Set {TOKEN} to the token of a server, from its API Tokens page"
        )),
        Blame::Url => blocked(&format!("Check {BASE_URL}: Postmark's API is not there")),
        Blame::Credits => blocked("Mails wait; more can be sent on a larger plan"),
        Blame::Pending => blocked("Ask Postmark to approve the account"),
        Blame::Account => blocked("Ask Postmark why the account may not send"),
        Blame::Stream => blocked(&format!(
            "Set {STREAM} and {TRANSACTIONAL_STREAM} to ids of the server's message streams"
        )),
        Blame::Sender => SendOutcome::sender_blocked(format!(
            "{reason}. Check that the sender ({FROM}, or EMAIL_FROM) is confirmed at https://account.postmarkapp.com/signature_domains"
        ))
        .after(retry_after_ms),
        // Bounced, complained or was suppressed before, and Postmark does not try again.
        Blame::Inactive => SendOutcome::bounced(reason, BounceType::Permanent),
        // How the address is written, which says nothing of the mailbox.
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

/// Whose fault a refusal is: the code first, then Postmark's words, the status last. What says
/// nothing of the recipient or the content is the account's.
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
        // Invalid mail, invalid JSON, JSON of another form, no JSON, too many mails, an attachment.
        (_, Some(300 | 402 | 403 | 409 | 410 | 411)) | (413, _) => Blame::Content,
        (401, _) => Blame::Token,
        (404 | 405, None) => Blame::Url,
        _ => Blame::Account,
    }
}

/// Words and whom they blame, the first that occurs.
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
        // In a batch the status is that of the whole.
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

/// Words of Postmark's, short and without the token.
fn clean(text: &str, token: &str) -> String {
    // The token goes before the text is cut, or a part of it could stay.
    let text = text.replace(token, "[token]");
    text.chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_MAX)
        .collect()
}
