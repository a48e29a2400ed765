//! The waits between attempts at a mail that the recipient's server defers.

use hogsend_plugin_api::{RetryFault, SendOutcome};

const MINUTE_MS: u64 = 60_000;
/// Waits in minutes, by the number of deferrals. Most greylisting servers require five minutes before
/// the second attempt; RFC 5321 §4.5.4.1 asks for at least 30 minutes in general.
const WAITS: [u64; 4] = [5, 10, 15, 30];

/// Adds the wait to an outcome that is deferred for this recipient; others stay unchanged.
pub fn paced(outcome: SendOutcome, attempt: u32) -> SendOutcome {
    let put_off = matches!(
        outcome,
        SendOutcome::Retry {
            fault: RetryFault::Recipient,
            retry_after_ms: None,
            ..
        }
    );
    if !put_off {
        return outcome;
    }
    let place = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    let minutes = WAITS[place.min(WAITS.len() - 1)];
    outcome.after(Some(minutes * MINUTE_MS))
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::SendOutcome;

    use super::paced;

    #[test]
    fn a_greylisted_mail_comes_back_soon_and_then_every_half_hour() {
        for (attempt, minutes) in [(0, 5), (1, 5), (2, 10), (3, 15), (4, 30), (90, 30)] {
            let outcome = paced(SendOutcome::recipient_busy("451"), attempt);
            let expected = SendOutcome::recipient_busy("451").after(Some(minutes * 60_000));
            assert_eq!(outcome, expected);
        }
        for other in [
            SendOutcome::retry("421"),
            SendOutcome::pause("x"),
            SendOutcome::blocked("y"),
        ] {
            assert_eq!(paced(other.clone(), 1), other);
        }
    }
}
