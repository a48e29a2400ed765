//! What an answer of Postmark means for a mail
//! (<https://postmarkapp.com/developer/api/overview#error-codes>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{HttpResponse, SendOutcome};
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
    match (answer.status, said.map(|said| said.error_code)) {
        // Planned maintenance.
        (503, _) | (_, Some(100)) => SendOutcome::retry(reason).after(retry_after_ms),
        // The fault may have come after acceptance, and Postmark knows no idempotency keys.
        (408 | 500..=599, _) => SendOutcome::Unknown { reason },
        (429, _) | (_, Some(429)) => SendOutcome::pause(reason).after(retry_after_ms),
        (401, _) | (_, Some(10)) => blocked(&format!(
            "Set {TOKEN} to the token of a server, from its API Tokens page"
        )),
        (_, Some(400 | 401)) => blocked(&format!(
            "Check that {FROM} is confirmed at https://account.postmarkapp.com/signature_domains"
        )),
        (_, Some(405)) => blocked("Mails wait; more can be sent on a larger plan"),
        (_, Some(412)) => blocked("Ask Postmark to approve the account"),
        (_, Some(413)) => blocked("Ask Postmark why the account may not send"),
        (_, Some(1226 | 1235)) => blocked(&format!(
            "Set {STREAM} and {TRANSACTIONAL_STREAM} to ids of the server's message streams"
        )),
        (300..=399, _) => blocked(&format!("Check {BASE_URL}: it redirects elsewhere")),
        (404 | 405, None) => blocked(&format!("Check {BASE_URL}: Postmark's API is not there")),
        _ => SendOutcome::rejected(reason),
    }
}

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
