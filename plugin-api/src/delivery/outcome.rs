//! How attempts end.

use serde::{Deserialize, Serialize};

use super::BounceType;
use crate::{HttpError, HttpErrorKind};

/// How an attempt ended: a plugin says whose fault it was, the host decides what follows.
///
/// The fault is the question to answer first. It is the *installation's* where the same answer
/// would come for any mail to anybody (a key, a quota, a sender, a relay rule): then the outcome is
/// `Blocked` and no mail is lost. It is the *recipient's* where the same mail to somebody else would
/// have passed. Only what is wrong with this one mail is its content's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendOutcome {
    /// The provider has the mail.
    Accepted { message_id: String },
    /// The provider surely did not take it and may later: a rate limit, no connection, a full
    /// mailbox. `retry_after_ms` is how long the provider asks to wait.
    Retry {
        reason: String,
        #[serde(default)]
        retry_after_ms: Option<u64>,
        /// The limit concerns every mail, not just this one; such a pause uses up no attempt.
        #[serde(default)]
        pause: bool,
        #[serde(default)]
        fault: RetryFault,
    },
    /// The provider will not take mail until someone acts: a refused key, an exhausted quota, a
    /// sender it does not accept. The mail is kept, or goes to another provider, and uses up no
    /// attempt.
    Blocked {
        reason: String,
        #[serde(default)]
        retry_after_ms: Option<u64>,
        #[serde(default)]
        scope: BlockScope,
    },
    /// The provider will never take this mail.
    Rejected {
        reason: String,
        #[serde(default)]
        fault: RejectFault,
        /// For a fault of the recipient: `Permanent` where the address does not work, which puts it
        /// on the suppression list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bounce: Option<BounceType>,
    },
    /// The answer was lost or is a fault that may have come after acceptance: the provider may or
    /// may not have the mail.
    Unknown { reason: String },
}

/// Whose temporary fault it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryFault {
    /// This recipient's mailbox or server: full, greylisted, away. Only this mail waits.
    Recipient,
    /// The provider's own. Several in a row make the host leave the provider alone for a while.
    #[default]
    #[serde(other)]
    Provider,
}

/// What the provider will take no mail of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockScope {
    /// The sender address of this mail: not verified, not allowed for this account. Mail of other
    /// senders goes on.
    Sender,
    /// All mail: the key, the account, the quota.
    #[default]
    #[serde(other)]
    Provider,
}

/// What is wrong for good with a mail that is rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectFault {
    /// The address, or what its server says of it.
    Recipient,
    /// The mail itself: too large, a header, its words.
    #[default]
    #[serde(other)]
    Content,
}

impl SendOutcome {
    /// A temporary fault of the provider.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            retry_after_ms: None,
            pause: false,
            fault: RetryFault::Provider,
        }
    }

    /// A temporary fault of this recipient.
    pub fn recipient_busy(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            retry_after_ms: None,
            pause: false,
            fault: RetryFault::Recipient,
        }
    }

    /// A limit on all mail that ends by itself.
    pub fn pause(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            retry_after_ms: None,
            pause: true,
            fault: RetryFault::Provider,
        }
    }

    /// All mail is refused until someone acts.
    pub fn blocked(reason: impl Into<String>) -> Self {
        Self::Blocked {
            reason: reason.into(),
            retry_after_ms: None,
            scope: BlockScope::Provider,
        }
    }

    /// Mail of this sender is refused until someone acts.
    pub fn sender_blocked(reason: impl Into<String>) -> Self {
        Self::Blocked {
            reason: reason.into(),
            retry_after_ms: None,
            scope: BlockScope::Sender,
        }
    }

    /// The mail itself cannot be sent.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::Rejected {
            reason: reason.into(),
            fault: RejectFault::Content,
            bounce: None,
        }
    }

    /// The recipient refuses. With [`BounceType::Permanent`] the address gets no more mail.
    pub fn bounced(reason: impl Into<String>, bounce: BounceType) -> Self {
        Self::Rejected {
            reason: reason.into(),
            fault: RejectFault::Recipient,
            bounce: Some(bounce),
        }
    }

    /// Nobody knows whether the provider has the mail.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown {
            reason: reason.into(),
        }
    }

    /// Not sooner than the provider asks, where it is a `Retry` or `Blocked`.
    pub fn after(mut self, wait_ms: Option<u64>) -> Self {
        if let Self::Retry { retry_after_ms, .. } | Self::Blocked { retry_after_ms, .. } = &mut self
        {
            *retry_after_ms = wait_ms;
        }
        self
    }

    /// The plugin's words for it; none for a mail that was accepted.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Accepted { .. } => None,
            Self::Retry { reason, .. }
            | Self::Blocked { reason, .. }
            | Self::Rejected { reason, .. }
            | Self::Unknown { reason } => Some(reason),
        }
    }
}

/// What a request that got no answer means for the mail in it.
impl From<HttpError> for SendOutcome {
    fn from(error: HttpError) -> Self {
        match error.kind {
            HttpErrorKind::Connect => Self::retry(error.message),
            HttpErrorKind::Lost => Self::unknown(error.message),
            // The URL or a header is wrong, so it is for every mail.
            HttpErrorKind::Refused => Self::blocked(error.message),
        }
    }
}

/// How a batch's attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchOutcome {
    /// The provider answered for every mail, in the order they were given. `Unknown` is not an
    /// answer: a batch with one lost answer is `All(Unknown)`.
    Each(Vec<SendOutcome>),
    /// The same end for all: a rate limit, a refused key, an answer that was lost.
    All(SendOutcome),
    /// The provider refused the batch as such and took none of it: each mail is tried alone, so
    /// that one bad mail holds up no other.
    Apart { reason: String },
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::{BlockScope, RejectFault, SendOutcome};
    use crate::BounceType;

    #[test]
    fn answers_of_older_plugins_mean_what_they_meant() {
        for (said, meant) in [
            (
                json!({ "retry": { "reason": "r", "retry_after_ms": 5 } }),
                SendOutcome::retry("r").after(Some(5)),
            ),
            (
                json!({ "retry": { "reason": "r", "pause": true } }),
                SendOutcome::pause("r"),
            ),
            (
                json!({ "blocked": { "reason": "r" } }),
                SendOutcome::blocked("r"),
            ),
            (
                json!({ "rejected": { "reason": "r" } }),
                SendOutcome::rejected("r"),
            ),
        ] {
            assert_eq!(from_value::<SendOutcome>(said).unwrap(), meant);
        }
    }

    #[test]
    fn words_of_newer_plugins_are_read_as_the_careful_ones() {
        for (said, meant) in [
            (
                json!({ "retry": { "reason": "r", "fault": "weather" } }),
                SendOutcome::retry("r"),
            ),
            (
                json!({ "blocked": { "reason": "r", "scope": "stream" } }),
                SendOutcome::Blocked {
                    reason: "r".into(),
                    retry_after_ms: None,
                    scope: BlockScope::Provider,
                },
            ),
            (
                json!({ "rejected": { "reason": "r", "fault": "moon", "later": 1 } }),
                SendOutcome::Rejected {
                    reason: "r".into(),
                    fault: RejectFault::Content,
                    bounce: None,
                },
            ),
        ] {
            assert_eq!(from_value::<SendOutcome>(said).unwrap(), meant);
        }
        let bounced = SendOutcome::bounced("r", BounceType::Permanent);
        assert_eq!(
            serde_json::to_value(&bounced).unwrap(),
            json!({ "rejected": { "reason": "r", "fault": "recipient", "bounce": "permanent" } })
        );
    }
}
