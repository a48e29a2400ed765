//! An outcome in one line, for tables.

use hogsend_plugin_api::{BlockScope, BounceType, RejectFault, SendOutcome};

/// An outcome as a word, its reason (for an accepted mail its id), and the wait in milliseconds. The words are
/// `accepted`, `retry`, `pause`, `blocked`, `sender` (blocked), `suppress` (a permanent bounce), `recipient`
/// (another fault of theirs), `rejected` and `unknown`.
///
/// # Panics
///
/// If the outcome is of a later version than the kit.
pub fn summary(outcome: SendOutcome) -> (&'static str, String, Option<u64>) {
    match outcome {
        SendOutcome::Accepted { message_id, .. } => ("accepted", message_id, None),
        SendOutcome::Retry {
            reason,
            retry_after_ms,
            pause,
            ..
        } => {
            let word = if pause { "pause" } else { "retry" };
            (word, reason, retry_after_ms)
        }
        SendOutcome::Blocked {
            reason,
            retry_after_ms,
            scope,
            ..
        } => match scope {
            BlockScope::Sender => ("sender", reason, retry_after_ms),
            _ => ("blocked", reason, retry_after_ms),
        },
        SendOutcome::Rejected {
            reason,
            fault,
            bounce,
            ..
        } => match (fault, bounce) {
            (RejectFault::Recipient, Some(BounceType::Permanent)) => ("suppress", reason, None),
            (RejectFault::Recipient, _) => ("recipient", reason, None),
            _ => ("rejected", reason, None),
        },
        SendOutcome::Unknown { reason, .. } => ("unknown", reason, None),
        other => panic!("{other:?} is newer than the kit"),
    }
}
