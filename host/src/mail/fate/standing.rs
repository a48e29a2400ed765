//! The state of a mail after an answer, or after a decision without one.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::{BlockScope, BounceType};

use super::Fate;
use crate::backoff;
use crate::db::{ClaimedSend, PROBE_EVERY, SendEnd, SendStatus};
use crate::ids::Claim;

/// The most attempts at a transactional mail in doubt whose provider cannot tell a repeat from a second
/// mail: each of them may have arrived.
const DOUBTS_MAX: i32 = 3;
/// The most attempts at a mail at which the plugin's process ends or a call does not end: each of them costs
/// a process, or a thread that is lost.
const HANGS_MAX: i32 = 5;

/// The state of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The provider has it.
    Sent { message_id: String },
    /// The provider surely does not have it, and it is due again at `until`.
    Waits {
        until: DateTime<Utc>,
        reason: String,
        counted: bool,
    },
    /// The provider may have it: the same provider is asked again at `until`, or with the batch.
    Doubtful {
        until: Option<DateTime<Utc>>,
        reason: String,
        counted: bool,
    },
    /// It leaves its batch and is retried alone.
    Alone {
        until: DateTime<Utc>,
        reason: String,
        doubtful: bool,
    },
    /// Not sent and over: failed, ambiguous or skipped.
    Over { status: SendStatus, reason: String },
    /// Refused by the recipient's server, and over.
    Bounced { reason: String, bounce: BounceType },
}

/// What the decision depends on besides the answer.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    pub send: &'a ClaimedSend,
    /// The number of the attempt at the mail.
    pub number: i32,
    /// The number of the attempt at the request.
    pub tries: i32,
    pub in_batch: bool,
    /// An attempt before this one was cut off.
    pub doubted: bool,
    /// The provider treats a repeat as the same mail, also a while from now.
    pub repeatable: bool,
    pub now: DateTime<Utc>,
}

impl Standing {
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Over {
            status: SendStatus::Failed,
            reason: reason.into(),
        }
    }

    pub fn skipped(reason: &str) -> Self {
        Self::Over {
            status: SendStatus::Skipped,
            reason: reason.to_owned(),
        }
    }

    /// The provider may have it, and it is not repeated.
    pub fn ambiguous(reason: impl Into<String>) -> Self {
        Self::Over {
            status: SendStatus::Ambiguous,
            reason: reason.into(),
        }
    }

    /// The table from answers to states.
    pub fn after(fate: Fate, at: Situation<'_>) -> Self {
        let wait = wait(&fate, at);
        let counted = !matches!(fate, Fate::Limited { .. } | Fate::Blocked { .. });
        match fate {
            Fate::Accepted { message_id } => Self::Sent { message_id },
            Fate::Bounced { reason, bounce } => Self::Bounced { reason, bounce },
            Fate::Refused { reason } => Self::failed(reason),
            // The sender came with this mail alone, so nobody will fix it and no other mail waits.
            Fate::Blocked {
                scope: BlockScope::Sender,
                reason,
            } if at.send.sender_given == Some(true) && !at.doubted => Self::failed(reason),
            Fate::Doubtful { reason } => Self::doubtful(reason, wait, true, at),
            // One of the mails may be the reason: each is tried for itself.
            Fate::Broken { reason, .. } if at.in_batch && !at.doubted => Self::Alone {
                until: at.now,
                reason,
                doubtful: false,
            },
            Fate::Broken {
                reason,
                hangs: true,
            } if at.number >= HANGS_MAX && !at.doubted => {
                Self::failed(format!("given up after {} attempts: {reason}", at.number))
            }
            Fate::Faulty { reason, .. }
            | Fate::Broken { reason, .. }
            | Fate::Limited { reason, .. }
            | Fate::Unreached { reason, .. }
            | Fate::Blocked { reason, .. } => {
                if at.doubted {
                    // This attempt was refused; the one before may have arrived.
                    return Self::doubtful(reason, wait, counted, at);
                }
                Self::Waits {
                    until: at.now + wait,
                    reason,
                    counted,
                }
            }
        }
    }

    /// The provider may have it. It is asked again if it treats that as the same mail. If it could be a
    /// second mail, a lifecycle mail is not repeated, and a transactional one is, a few times.
    fn doubtful(reason: String, wait: TimeDelta, counted: bool, at: Situation<'_>) -> Self {
        let until = at.now + wait;
        if at.repeatable {
            let until = (!at.in_batch).then_some(until);
            return Self::Doubtful {
                until,
                reason,
                counted,
            };
        }
        if !at.send.transactional {
            return Self::ambiguous(reason);
        }
        if counted && at.number >= DOUBTS_MAX {
            return Self::ambiguous(format!("given up after {} attempts: {reason}", at.number));
        }
        if at.in_batch {
            return Self::Alone {
                until,
                reason,
                doubtful: true,
            };
        }
        Self::Doubtful {
            until: Some(until),
            reason,
            counted,
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Sent { .. } => None,
            Self::Waits { reason, .. }
            | Self::Doubtful { reason, .. }
            | Self::Alone { reason, .. }
            | Self::Over { reason, .. }
            | Self::Bounced { reason, .. } => Some(reason),
        }
    }

    /// The row of the ledger.
    pub fn row(
        &self,
        send: &ClaimedSend,
        claim: Option<Claim>,
        attempt: Option<(i32, &'static str)>,
    ) -> SendEnd {
        let in_batch = claim.is_none();
        let mut row = SendEnd {
            id: send.id,
            claim,
            attempt,
            status: SendStatus::Queued,
            reason: self.reason().map(str::to_owned),
            message_id: None,
            bounce_type: None,
            retry_at: None,
            in_doubt: false,
            counted: true,
            leaves_batch: false,
            alone: false,
        };
        match self {
            Self::Sent { message_id } => {
                row.status = SendStatus::Sent;
                row.message_id = Some(message_id.clone());
            }
            Self::Waits { until, counted, .. } => {
                row.retry_at = Some(*until);
                row.counted = *counted;
                row.leaves_batch = in_batch;
            }
            Self::Doubtful { until, counted, .. } => {
                row.retry_at = *until;
                row.counted = *counted;
                row.in_doubt = true;
            }
            Self::Alone {
                until, doubtful, ..
            } => {
                row.retry_at = Some(*until);
                row.counted = *doubtful;
                row.in_doubt = *doubtful;
                row.leaves_batch = in_batch;
                row.alone = true;
            }
            Self::Over { status, .. } => {
                row.status = *status;
                row.in_doubt = *status == SendStatus::Ambiguous;
            }
            Self::Bounced { bounce, .. } => {
                row.status = SendStatus::Bounced;
                row.bounce_type = Some(bounce_name(*bounce));
            }
        }
        // At its expiry it has to be looked at.
        row.retry_at = row
            .retry_at
            .map(|at| send.not_after.map_or(at, |end| end.min(at)));
        row
    }
}

/// How long until the mail is retried.
pub fn wait(fate: &Fate, at: Situation<'_>) -> TimeDelta {
    match fate {
        Fate::Unreached { after_ms, .. } => {
            backoff::greylisted(at.number, *after_ms, at.send.transactional)
        }
        Fate::Limited { after_ms, .. } => backoff::wait(1, *after_ms),
        // From now on there is a hold on the provider or the sender: the mail goes to the next
        // provider, or waits with the others.
        Fate::Blocked { .. } => TimeDelta::zero(),
        Fate::Faulty { after_ms, .. } => {
            // No mail waits longer than the probe that finds out that the provider works again.
            backoff::wait(at.tries, *after_ms).min(longest(*after_ms))
        }
        // Nothing else finds out that the plugin handles it by now, so the pauses grow.
        Fate::Broken { .. } => backoff::wait(at.tries, None),
        _ => backoff::wait(at.tries, None).min(PROBE_EVERY),
    }
}

fn longest(after_ms: Option<u64>) -> TimeDelta {
    let asked = after_ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0);
    TimeDelta::milliseconds(asked.min(86_400_000)).max(PROBE_EVERY)
}

/// The stored name of a kind of bounce.
pub fn bounce_name(bounce: BounceType) -> &'static str {
    match bounce {
        BounceType::Permanent => "permanent",
        BounceType::Transient => "transient",
        _ => "undetermined",
    }
}
