//! What a provider's answer means for each mail, and for the provider.

use hogsend_plugin_api::{
    BatchOutcome, BlockScope, BounceType, RejectFault, RetryFault, SendOutcome,
};

use crate::plugins::{ErrorKind, PluginError};

/// What an answer means for one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The provider has it.
    Accepted { message_id: String },
    /// The provider's own fault, and it surely did not take the mail.
    Faulty {
        reason: String,
        after_ms: Option<u64>,
    },
    /// The plugin failed with it before it asked for anything, so nothing was sent. `hangs`: the call ended the
    /// plugin's process or did not end.
    Broken { reason: String, hangs: bool },
    /// The provider takes no mail for now; that ends by itself.
    Limited {
        reason: String,
        after_ms: Option<u64>,
    },
    /// The recipient's server does not take it for now.
    Unreached {
        reason: String,
        after_ms: Option<u64>,
    },
    /// The recipient's server does not take it at all.
    Bounced { reason: String, bounce: BounceType },
    /// The mail itself is refused, for example because it is too large.
    Refused { reason: String },
    /// The installation's fault: someone has to act before mail of this scope goes out.
    Blocked { scope: BlockScope, reason: String },
    /// The provider may or may not have it.
    Doubtful { reason: String },
}

impl From<SendOutcome> for Fate {
    fn from(outcome: SendOutcome) -> Self {
        match outcome {
            SendOutcome::Accepted { message_id, .. } => Self::Accepted { message_id },
            SendOutcome::Retry {
                reason,
                retry_after_ms,
                pause: true,
                ..
            } => Self::Limited {
                reason,
                after_ms: retry_after_ms,
            },
            SendOutcome::Retry {
                reason,
                retry_after_ms,
                fault: RetryFault::Recipient,
                ..
            } => Self::Unreached {
                reason,
                after_ms: retry_after_ms,
            },
            SendOutcome::Retry {
                reason,
                retry_after_ms,
                ..
            } => Self::Faulty {
                reason,
                after_ms: retry_after_ms,
            },
            SendOutcome::Blocked { reason, scope, .. } => Self::Blocked { scope, reason },
            SendOutcome::Rejected {
                reason,
                fault: RejectFault::Recipient,
                bounce,
                ..
            } => Self::Bounced {
                reason,
                bounce: bounce.unwrap_or(BounceType::Undetermined),
            },
            SendOutcome::Rejected { reason, .. } => Self::Refused { reason },
            SendOutcome::Unknown { reason, .. } => Self::Doubtful { reason },
            other => Self::Doubtful {
                reason: format!("the plugin is newer than this host: {other:?}"),
            },
        }
    }
}

impl Fate {
    /// The outcome as the history of a mail stores it, and the provider's reason.
    pub fn describe(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Accepted { .. } => ("accepted", None),
            Self::Faulty { reason, .. }
            | Self::Broken { reason, .. }
            | Self::Unreached { reason, .. } => ("retry", Some(reason)),
            Self::Limited { reason, .. } => ("paused", Some(reason)),
            Self::Blocked { reason, .. } => ("blocked", Some(reason)),
            Self::Bounced { reason, .. } | Self::Refused { reason } => ("rejected", Some(reason)),
            Self::Doubtful { reason } => ("unknown", Some(reason)),
        }
    }
}

/// What an answer says about every mail in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Each mail its own, in order.
    Each(Vec<Fate>),
    /// The same for all.
    All(Fate),
    /// The request as such was refused, and none of its mails taken: each is retried alone.
    Apart(String),
}

impl Answer {
    /// The answer to a batch of `size`. If it is about another number of mails, or leaves one of them in
    /// doubt, all of them are in doubt.
    pub fn of(outcome: BatchOutcome, size: usize) -> Self {
        match outcome {
            BatchOutcome::All(one) => Self::All(one.into()),
            BatchOutcome::Apart { reason, .. } => Self::Apart(reason),
            BatchOutcome::Each(each) if each.len() != size => Self::All(Fate::Doubtful {
                reason: format!("the answer is about {} mails instead of {size}", each.len()),
            }),
            BatchOutcome::Each(each) => {
                let fates: Vec<Fate> = each.into_iter().map(Fate::from).collect();
                let doubtful = |fate: &&Fate| matches!(fate, Fate::Doubtful { .. });
                match fates.iter().find(doubtful) {
                    Some(doubt) => Self::All(doubt.clone()),
                    None => Self::Each(fates),
                }
            }
            other => Self::All(Fate::Doubtful {
                reason: format!("the plugin is newer than this host: {other:?}"),
            }),
        }
    }

    /// A plugin that failed before it asked the host for anything sent nothing.
    pub fn of_error(error: &PluginError) -> Self {
        let reason = error.to_string();
        Self::All(match error.kind {
            _ if error.begun => Fate::Doubtful { reason },
            // It was not called, whatever the mail.
            ErrorKind::Busy => Fate::Faulty {
                reason,
                after_ms: None,
            },
            kind => Fate::Broken {
                reason,
                hangs: matches!(kind, ErrorKind::Ended | ErrorKind::Deadline),
            },
        })
    }

    /// What it says about the mail at this place.
    pub fn one(&self, place: usize) -> Fate {
        match self {
            Self::Each(each) => each[place].clone(),
            Self::All(one) => one.clone(),
            Self::Apart(reason) => Fate::Faulty {
                reason: reason.clone(),
                after_ms: Some(0),
            },
        }
    }

    /// The outcome as the history of a batch stores it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Each(_) => "accepted",
            Self::Apart(_) => "apart",
            Self::All(one) => one.describe().0,
        }
    }

    fn fates(&self) -> &[Fate] {
        match self {
            Self::Each(each) => each,
            Self::All(one) => std::slice::from_ref(one),
            Self::Apart(_) => &[],
        }
    }
}

/// What an answer says about the provider itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Nothing: perhaps the plugin fails at these mails alone.
    Silent,
    /// It works. `sender`: it took mail of the request's sender.
    Sound { sender: bool },
    /// The fault is its own.
    Faulty(&'a str),
    /// It works but takes no mail for so many milliseconds, or for as long as the host decides.
    Limited(&'a str, Option<u64>),
    /// It takes no mail of this scope until someone acts.
    Blocked(BlockScope, &'a str),
}

impl Verdict<'_> {
    /// All mails of a request have one sender, so a block of the sender concerns each. `fresh`: the request is
    /// the first attempt at a single mail. A plugin that fails counts against its provider once for each
    /// mail, so one mail that it cannot handle does not stop the others.
    pub fn of(answer: &Answer, fresh: bool) -> Verdict<'_> {
        let fates = answer.fates();
        let rank = |verdict: &Verdict<'_>| match verdict {
            Verdict::Silent => 5,
            Verdict::Blocked(..) => 4,
            Verdict::Limited(..) => 3,
            Verdict::Sound { sender: true } => 2,
            Verdict::Sound { .. } => 1,
            Verdict::Faulty(_) => 0,
        };
        let each = fates.iter().map(|fate| match fate {
            Fate::Accepted { .. } => Verdict::Sound { sender: true },
            Fate::Unreached { .. } | Fate::Bounced { .. } | Fate::Refused { .. } => {
                Verdict::Sound { sender: false }
            }
            Fate::Limited { reason, after_ms } => Verdict::Limited(reason, *after_ms),
            Fate::Blocked { scope, reason } => Verdict::Blocked(*scope, reason),
            Fate::Broken { .. } if !fresh => Verdict::Silent,
            Fate::Faulty { reason, .. }
            | Fate::Broken { reason, .. }
            | Fate::Doubtful { reason } => Verdict::Faulty(reason),
        });
        each.max_by_key(rank)
            .unwrap_or(Verdict::Sound { sender: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(outcomes: &[SendOutcome]) -> Answer {
        Answer::of(BatchOutcome::Each(outcomes.to_vec()), outcomes.len())
    }

    #[test]
    fn a_recipients_fault_never_counts_against_the_provider() {
        for outcome in [
            SendOutcome::recipient_busy("452 4.2.2 mailbox full"),
            SendOutcome::bounced("550 5.1.1 no such user", BounceType::Permanent),
            SendOutcome::rejected("too large"),
        ] {
            let answer = Answer::All(outcome.clone().into());
            assert_eq!(
                Verdict::of(&answer, true),
                Verdict::Sound { sender: false },
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn a_block_is_seen_even_if_other_mail_was_accepted() {
        let taken = SendOutcome::accepted("1");
        let answer = each(&[taken.clone(), SendOutcome::sender_blocked("not verified")]);
        assert_eq!(
            Verdict::of(&answer, true),
            Verdict::Blocked(BlockScope::Sender, "not verified")
        );
        let answer = each(&[SendOutcome::retry("busy"), taken]);
        assert_eq!(Verdict::of(&answer, true), Verdict::Sound { sender: true });
        let answer = each(&[SendOutcome::retry("busy"), SendOutcome::retry("busy")]);
        assert_eq!(Verdict::of(&answer, true), Verdict::Faulty("busy"));
        assert_eq!(
            Verdict::of(&Answer::Apart("one is bad".into()), true),
            Verdict::Sound { sender: false }
        );
    }

    #[test]
    fn an_answer_that_leaves_one_mail_in_doubt_leaves_all_in_doubt() {
        let taken = SendOutcome::accepted("1");
        let doubt = Answer::All(Fate::Doubtful { reason: "?".into() });
        assert_eq!(each(&[taken.clone(), SendOutcome::unknown("?")]), doubt);
        let two = BatchOutcome::Each(vec![taken.clone(), taken]);
        assert!(matches!(
            Answer::of(two, 3),
            Answer::All(Fate::Doubtful { .. })
        ));
    }

    fn error(kind: ErrorKind, begun: bool) -> PluginError {
        PluginError {
            plugin: "courier".into(),
            kind,
            message: "failed".into(),
            begun,
        }
    }

    #[test]
    fn a_plugin_that_fails_before_it_asks_for_anything_sent_nothing() {
        for (kind, begun, expected) in [
            (ErrorKind::Panicked, true, "unknown"),
            (ErrorKind::Deadline, true, "unknown"),
            (ErrorKind::Panicked, false, "retry"),
            (ErrorKind::Busy, false, "retry"),
        ] {
            let answer = Answer::of_error(&error(kind, begun));
            assert_eq!(answer.word(), expected, "{kind:?} {begun}");
        }
        let hangs = |kind| match Answer::of_error(&error(kind, false)) {
            Answer::All(Fate::Broken { hangs, .. }) => hangs,
            other => panic!("{other:?}"),
        };
        assert!(hangs(ErrorKind::Ended) && hangs(ErrorKind::Deadline));
        assert!(!hangs(ErrorKind::Panicked) && !hangs(ErrorKind::Protocol));
    }

    #[test]
    fn a_plugin_that_fails_again_and_again_at_one_mail_counts_once_against_its_provider() {
        let answer = Answer::of_error(&error(ErrorKind::Panicked, false));
        assert!(matches!(Verdict::of(&answer, true), Verdict::Faulty(_)));
        assert_eq!(Verdict::of(&answer, false), Verdict::Silent);
        // Not called at all is the same for every mail.
        let busy = Answer::of_error(&error(ErrorKind::Busy, false));
        assert!(matches!(Verdict::of(&busy, false), Verdict::Faulty(_)));
    }
}
