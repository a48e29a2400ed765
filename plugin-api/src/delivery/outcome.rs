//! The outcomes of attempts to send a mail.

use serde::{Deserialize, Serialize};

use super::BounceType;
use crate::{HttpError, HttpErrorKind, wire};

/// How an attempt ended. The plugin reports whose fault a failure was; the host decides what to do.
///
/// Decide on the fault first. It is the *installation's* where the provider would give the same
/// answer for any mail to anyone (a key, a quota, a sender, a relay rule): return `Blocked`, and no
/// mail is lost. It is the *recipient's* where the provider would have accepted the same mail to
/// another recipient. It is the *content's* only where something in this one mail is wrong.
///
/// An outcome of a later version counts as [`SendOutcome::Unknown`]: the mail is in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", remote = "Self")]
#[non_exhaustive]
pub enum SendOutcome {
    /// The provider accepted the mail and gave it this id.
    #[non_exhaustive]
    Accepted { message_id: String },
    /// The provider certainly did not accept the mail but may do so later: a rate limit, no
    /// connection, a full mailbox.
    #[non_exhaustive]
    Retry {
        /// For the operator, and for the mail's history.
        reason: String,
        /// How long the provider asks to wait, in milliseconds.
        #[serde(default)]
        retry_after_ms: Option<u64>,
        /// The limit applies to every mail, not only to this one. The attempt is then not counted.
        #[serde(default)]
        pause: bool,
        /// Whether to wait with this mail only, or to slow down all mail.
        #[serde(default)]
        fault: RetryFault,
    },
    /// The provider accepts no mail until an operator acts: a refused key, an exhausted quota, a
    /// sender it does not allow. The host keeps the mail or sends it through another provider, and
    /// does not count the attempt.
    #[non_exhaustive]
    Blocked {
        /// For the operator: what to fix.
        reason: String,
        /// How long the provider asks to wait, in milliseconds.
        #[serde(default)]
        retry_after_ms: Option<u64>,
        /// Which mail the provider refuses.
        #[serde(default)]
        scope: BlockScope,
    },
    /// The provider will never accept this mail.
    #[non_exhaustive]
    Rejected {
        /// For the mail's history.
        reason: String,
        /// Whether the recipient or the content is at fault.
        #[serde(default)]
        fault: RejectFault,
        /// For a fault of the recipient: `Permanent` where the address does not work, which adds it
        /// to the suppression list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bounce: Option<BounceType>,
    },
    /// The answer was lost, or is an error that may have occurred after acceptance: the provider may
    /// or may not have the mail.
    #[non_exhaustive]
    Unknown { reason: String },
}

wire::enum_on_the_wire!(SendOutcome, |name, fault| SendOutcome::unknown(format!(
    "the plugin answers with the outcome '{name}' ({fault}): it is newer than this host"
)));

/// Whose temporary fault it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RetryFault {
    /// The recipient's mailbox or server: full, greylisting, unreachable. Only this mail waits.
    Recipient,
    /// The provider's own. After several in a row the host pauses the provider for a while.
    #[default]
    #[serde(other)]
    Provider,
}

/// Which mail a provider refuses until an operator acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BlockScope {
    /// Mail from the sender address of this mail, which is not verified or not allowed for this
    /// account. Mail from other senders continues.
    Sender,
    /// All mail, because of the key, the account or the quota.
    #[default]
    #[serde(other)]
    Provider,
}

/// What is permanently wrong with a rejected mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RejectFault {
    /// The recipient's address, or the recipient's server refuses it.
    Recipient,
    /// The mail itself: its size, a header, its text.
    #[default]
    #[serde(other)]
    Content,
}

impl SendOutcome {
    /// The names of the variants on the wire.
    pub(super) const NAMES: [&str; 5] = ["accepted", "retry", "blocked", "rejected", "unknown"];

    /// The provider accepted the mail and gave it this id.
    pub fn accepted(message_id: impl Into<String>) -> Self {
        Self::Accepted {
            message_id: message_id.into(),
        }
    }

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

    /// A limit on all mail that ends without an operator.
    pub fn pause(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            retry_after_ms: None,
            pause: true,
            fault: RetryFault::Provider,
        }
    }

    /// The provider refuses all mail until an operator acts.
    pub fn blocked(reason: impl Into<String>) -> Self {
        Self::Blocked {
            reason: reason.into(),
            retry_after_ms: None,
            scope: BlockScope::Provider,
        }
    }

    /// The provider refuses mail from this sender until an operator acts.
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

    /// The recipient's server refuses the mail. [`BounceType::Permanent`] adds the address to the
    /// suppression list.
    pub fn bounced(reason: impl Into<String>, bounce: BounceType) -> Self {
        Self::Rejected {
            reason: reason.into(),
            fault: RejectFault::Recipient,
            bounce: Some(bounce),
        }
    }

    /// The provider may or may not have the mail.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown {
            reason: reason.into(),
        }
    }

    /// Sets how long the provider asks to wait, in milliseconds, on a `Retry` or `Blocked`. No effect
    /// on other outcomes.
    pub fn after(mut self, wait_ms: Option<u64>) -> Self {
        if let Self::Retry { retry_after_ms, .. } | Self::Blocked { retry_after_ms, .. } = &mut self
        {
            *retry_after_ms = wait_ms;
        }
        self
    }

    /// The plugin's explanation; `None` for an accepted mail.
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

/// What a request without an answer means for its mail: `Retry` where it was not sent, `Unknown`
/// where it may have been, `Blocked` where the host refused to send it.
impl From<HttpError> for SendOutcome {
    fn from(error: HttpError) -> Self {
        match error.kind {
            HttpErrorKind::Connect => Self::retry(error.message),
            HttpErrorKind::Lost => Self::unknown(error.message),
            // A wrong URL or header is wrong for every mail.
            HttpErrorKind::Refused => Self::blocked(error.message),
        }
    }
}

/// How an attempt to send a batch ended. An outcome of a later version counts as `All(Unknown)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", remote = "Self")]
#[non_exhaustive]
pub enum BatchOutcome {
    /// The provider answered for every mail; the outcomes are in the order of the mails. `Unknown`
    /// must not occur here: a batch with one lost answer is `All(Unknown)`.
    Each(Vec<SendOutcome>),
    /// The same outcome for all mails: a rate limit, a refused key, a lost answer.
    All(SendOutcome),
    /// The provider refused the batch as a whole and accepted none of its mails. The host sends each
    /// mail alone, so that one bad mail does not block the others.
    #[non_exhaustive]
    Apart { reason: String },
}

impl BatchOutcome {
    /// The provider refused the batch as a whole and accepted none of its mails.
    pub fn apart(reason: impl Into<String>) -> Self {
        Self::Apart {
            reason: reason.into(),
        }
    }
}

wire::enum_on_the_wire!(BatchOutcome, |name, fault| BatchOutcome::All(
    SendOutcome::unknown(format!(
        "the plugin answers with the outcome '{name}' ({fault}): it is newer than this host"
    ))
));

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
    fn values_of_newer_plugins_are_read_as_the_careful_default() {
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
