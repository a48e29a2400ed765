//! Several mails in one request
//! (<https://postmarkapp.com/developer/user-guide/send-email-with-api/batch-emails>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{BatchOutcome, BlockScope, HttpResponse, SendOutcome};

use crate::answer::{self, Said};

/// The most mails Postmark takes in one request.
pub const MAX: u32 = 500;

/// Judges an answer to `size` mails. `token` never appears in a reason.
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
        // Postmark speaks of one mail where it was given several.
        SendOutcome::Accepted { .. } => BatchOutcome::All(SendOutcome::Unknown {
            reason: format!(
                "Postmark answered {} without an id for each mail",
                answer.status
            ),
        }),
        // The request as such was too large or could not be read, or one sender is refused: none of
        // it was taken, and the mails of others are not held up.
        SendOutcome::Rejected { reason, .. }
        | SendOutcome::Blocked {
            reason,
            scope: BlockScope::Sender,
            ..
        } => BatchOutcome::Apart { reason },
        other => BatchOutcome::All(other),
    }
}

/// None where it cannot be told whether the mail was taken.
fn one(answer: &HttpResponse, said: &Said, token: &str, now: DateTime<Utc>) -> Option<SendOutcome> {
    if said.refused() {
        return Some(answer::failure(answer, Some(said), token, now));
    }
    said.accepted().map(|id| SendOutcome::Accepted {
        message_id: id.to_owned(),
    })
}
