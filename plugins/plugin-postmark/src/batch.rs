//! Several mails in one request
//! (<https://postmarkapp.com/developer/user-guide/send-email-with-api/batch-emails>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{BatchOutcome, BlockScope, HttpResponse, SendOutcome};

use crate::answer::{self, Said};

/// The most mails Postmark accepts in one request.
pub const MAX: u32 = 500;

/// The outcome of an answer to `size` mails. `token` never appears in a reason.
pub fn outcome(
    answer: &HttpResponse,
    size: usize,
    token: &str,
    now: DateTime<Utc>,
) -> BatchOutcome {
    if (200..300).contains(&answer.status)
        && let Ok(all) = answer.json::<Vec<Said>>()
        && all.len() == size
        && let Some(each) = all
            .iter()
            .map(|said| one(answer, said, token, now))
            .collect()
    {
        return BatchOutcome::Each(each);
    }
    match answer::outcome(answer, token, now) {
        // Postmark reported one mail though it was given several.
        SendOutcome::Accepted { .. } => BatchOutcome::All(SendOutcome::unknown(format!(
            "Postmark answered {} without an id for each mail",
            answer.status
        ))),
        // The whole request was too large or unreadable, or one sender is refused: Postmark accepted
        // none of it, and the other mails must not wait.
        SendOutcome::Rejected { reason, .. }
        | SendOutcome::Blocked {
            reason,
            scope: BlockScope::Sender,
            ..
        } => BatchOutcome::apart(reason),
        other => BatchOutcome::All(other),
    }
}

/// The outcome of one mail; `None` where the answer does not say whether it was accepted.
fn one(answer: &HttpResponse, said: &Said, token: &str, now: DateTime<Utc>) -> Option<SendOutcome> {
    if said.refused() {
        return Some(answer::failure(answer, Some(said), token, now));
    }
    said.accepted()
        .map(|id| SendOutcome::accepted(id.to_owned()))
}
