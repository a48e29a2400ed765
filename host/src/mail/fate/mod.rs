//! What an answer of a provider means for a mail, decided in one place for every provider and for
//! webhooks alike: [`Fate`] is the meaning, [`Standing`] how the mail is after it, [`settle`] writes
//! that and lets everyone know whom it concerns. The circuit breaker, pauses, failover and
//! suppression read the same values.

mod answer;
mod settle;
mod stage;
mod standing;

pub(super) use answer::{Answer, Fate, Verdict};
pub(super) use settle::{Settled, settle};
pub(super) use stage::{Stage, is_handed_over};
pub(super) use standing::{Situation, Standing, bounce_name, wait};

use chrono::{DateTime, TimeDelta, Utc};

use crate::db::ClaimedSend;

/// The reason of mails whose last useful moment passed.
pub(super) const EXPIRED: &str = "expired";

/// How long a mail is useful where nobody says: a password reset for an hour, a newsletter for two
/// days. It counts from the decision to send.
pub fn useful(transactional: bool) -> TimeDelta {
    if transactional {
        TimeDelta::hours(1)
    } else {
        TimeDelta::hours(48)
    }
}

/// The moment past which the mail does not go out.
pub(super) fn last_moment(send: &ClaimedSend) -> DateTime<Utc> {
    let usual = || send.created_at + useful(send.transactional);
    send.not_after.unwrap_or_else(usual)
}
