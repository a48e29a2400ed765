//! What a provider's answer or report means for a mail, decided in one place for all providers.
//!
//! [`Fate`] is the meaning of an answer, [`Standing`] the state of the mail after it, and [`settle`]
//! writes that state with everything that follows from it. [`Stage`] decides the same for webhooks,
//! opens and clicks. The circuit breaker, failover and suppression read the same values.
//!
//! The states of a mail, as `email_sends.status` has them:
//!
//! ```text
//!   decision ──► skipped   no address, invalid, unconfirmed
//!      │
//!      ▼                                         an attempt's answer (standing.rs)
//!   queued ──► checks ──► sending ──────────────┬─► sent      accepted
//!    ▲  ▲  ▲     │        (in doubt from here)  ├─► bounced   the recipient's server refuses it
//!    │  │  └─────┤             ▲                ├─► failed    nobody takes it
//!    │  │  later │             │                └─► ambiguous no clear answer, and a repeat could
//!    │  │        ▼             │                              be a second mail
//!    │  │     skipped          │
//!    │  │     opt-out, cap,    └── queued, in doubt: no clear answer, repeated with the same bytes
//!    │  │     expired, …           and key
//!    │  └── surely not taken: retried, or sent by the next provider
//!    └── its batch was refused as a whole: retried alone
//!
//!   Webhooks, opens and clicks (stage.rs) only move a mail to the right; the last group is final:
//!
//!   queued < sending < ambiguous < sent < bounced (passing) < delivered < opened < clicked
//!          < bounced (permanent), complained, failed, skipped
//! ```
//!
//! A report about a mail in doubt ends the doubt: the provider knows the mail, so it is not repeated. A
//! retry of a dead letter (`failed`, `ambiguous`) is a mail of its own.

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

/// Why a mail is skipped whose last useful moment passed.
pub(super) const EXPIRED: &str = "expired";

/// How long a mail is useful by default, from the decision to send: a password reset for an hour, a
/// newsletter for two days.
pub fn useful(transactional: bool) -> TimeDelta {
    if transactional {
        TimeDelta::hours(1)
    } else {
        TimeDelta::hours(48)
    }
}

/// The moment after which the mail does not go out.
pub(super) fn last_moment(send: &ClaimedSend) -> DateTime<Utc> {
    let usual = || send.created_at + useful(send.transactional);
    send.not_after.unwrap_or_else(usual)
}
