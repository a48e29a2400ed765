//! From whose fault a refused mail is to the outcome.

use super::{BounceType, SendOutcome};

/// The most characters of a provider's own words in a reason.
const WORDS_MAX: usize = 400;

/// A provider's answer that is no acceptance: its words, and how long it asks to wait. Each method gives the
/// outcome for one culprit.
///
/// ```
/// use hogsend_plugin_api::{Declined, SendOutcome};
///
/// let declined = Declined::new("Swift", 401, &["hush"]).saying("Bad key hush.");
/// assert_eq!(
///     declined.fix("Set SWIFT_KEY"),
///     SendOutcome::blocked("Swift answered 401: Bad key [secret]. Set SWIFT_KEY")
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Declined {
    vendor: String,
    status: u16,
    secrets: Vec<String>,
    name: String,
    words: String,
    wait_ms: Option<u64>,
}

impl Declined {
    /// An answer of this vendor, with an HTTP status. The secrets never appear in a reason, even if the
    /// vendor repeats them.
    pub fn new(vendor: &str, status: u16, secrets: &[&str]) -> Self {
        let secrets = secrets.iter().filter(|secret| !secret.is_empty());
        Self {
            vendor: vendor.into(),
            status,
            secrets: secrets.map(|secret| (*secret).to_owned()).collect(),
            name: String::new(),
            words: String::new(),
            wait_ms: None,
        }
    }

    /// The name or code of the error.
    pub fn named(mut self, name: &str) -> Self {
        self.name = self.clean(name);
        self
    }

    /// What the vendor says.
    pub fn saying(mut self, words: &str) -> Self {
        self.words = self.clean(words);
        self
    }

    /// How long the vendor asks to wait, in milliseconds.
    pub fn after(mut self, wait_ms: Option<u64>) -> Self {
        self.wait_ms = wait_ms;
        self
    }

    /// Without a stated wait, waits so many milliseconds.
    pub fn or_after(mut self, wait_ms: u64) -> Self {
        self.wait_ms = self.wait_ms.or(Some(wait_ms));
        self
    }

    /// Waits at least so many milliseconds.
    pub fn at_least(mut self, wait_ms: u64) -> Self {
        self.wait_ms = Some(self.wait_ms.unwrap_or_default().max(wait_ms));
        self
    }

    /// Short, and without secrets, which are removed before the text is cut: a part could remain.
    fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "[secret]");
        }
        let plain = text.chars().filter(|c| !c.is_control());
        plain.take(WORDS_MAX).collect()
    }

    /// `Swift answered 400 bad_sender: The sender is not verified`.
    pub fn said(&self) -> String {
        let Self {
            vendor,
            status,
            name,
            words,
            ..
        } = self;
        let space = if name.is_empty() { "" } else { " " };
        let colon = if words.is_empty() { "" } else { ": " };
        let text = format!("{vendor} answered {status}{space}{name}{colon}{words}");
        text.trim_end_matches(['.', ' ']).to_owned()
    }

    /// A limit on all mail, which ends by itself.
    pub fn limit(&self) -> SendOutcome {
        SendOutcome::pause(self.said()).after(self.wait_ms)
    }

    /// The provider's own fault, and it took no mail.
    pub fn busy(&self) -> SendOutcome {
        SendOutcome::retry(self.said()).after(self.wait_ms)
    }

    /// The fault may have come after acceptance.
    pub fn doubt(&self) -> SendOutcome {
        SendOutcome::unknown(self.said())
    }

    /// The installation's fault: no mail goes out until an operator does what `fix` says, a sentence
    /// without its full stop.
    pub fn fix(&self, fix: impl AsRef<str>) -> SendOutcome {
        let fix = fix.as_ref();
        SendOutcome::blocked(format!("{}. {fix}", self.said())).after(self.wait_ms)
    }

    /// The setting for the base URL names a server that redirects.
    pub fn redirect(&self, base_url: &str) -> SendOutcome {
        self.fix(format!("Check {base_url}: it redirects to another URL"))
    }

    /// The sender's fault: its mail waits until an operator does what `fix` says.
    pub fn sender(&self, fix: impl AsRef<str>) -> SendOutcome {
        let fix = fix.as_ref();
        SendOutcome::sender_blocked(format!("{}. {fix}", self.said())).after(self.wait_ms)
    }

    /// The recipient's fault, as far as the provider can tell: it checks the syntax of the address, which
    /// says nothing about the mailbox.
    pub fn recipient(&self) -> SendOutcome {
        SendOutcome::bounced(self.said(), BounceType::Undetermined)
    }

    /// The mail's own fault.
    pub fn content(&self) -> SendOutcome {
        SendOutcome::rejected(self.said())
    }
}

/// What the first phrase that occurs in the words means, without regard to case. The phrases are in lower
/// case.
pub fn first_phrase<T: Copy>(phrases: &[(&str, T)], words: &str) -> Option<T> {
    let words = words.to_ascii_lowercase();
    let found = phrases.iter().find(|(phrase, _)| words.contains(phrase));
    found.map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::{Declined, first_phrase};
    use crate::{BounceType, SendOutcome};

    #[test]
    fn each_culprit_has_an_outcome_with_the_vendors_words_and_wait() {
        let declined = Declined::new("Swift", 400, &[])
            .named("bad_sender")
            .saying("Not verified. ")
            .after(Some(5));
        let said = "Swift answered 400 bad_sender: Not verified";
        for (outcome, expected) in [
            (declined.limit(), SendOutcome::pause(said).after(Some(5))),
            (declined.busy(), SendOutcome::retry(said).after(Some(5))),
            (declined.doubt(), SendOutcome::unknown(said)),
            (
                declined.fix("Do it"),
                SendOutcome::blocked(format!("{said}. Do it")).after(Some(5)),
            ),
            (
                declined.sender("Do it"),
                SendOutcome::sender_blocked(format!("{said}. Do it")).after(Some(5)),
            ),
            (
                declined.recipient(),
                SendOutcome::bounced(said, BounceType::Undetermined),
            ),
            (declined.content(), SendOutcome::rejected(said)),
        ] {
            assert_eq!(outcome, expected);
        }
        let wait = |declined: &Declined| match declined.limit() {
            SendOutcome::Retry { retry_after_ms, .. } => retry_after_ms,
            _ => None,
        };
        assert_eq!(wait(&declined.clone().or_after(9)), Some(5));
        assert_eq!(wait(&declined.clone().at_least(9)), Some(9));
        assert_eq!(wait(&declined.after(None).or_after(9)), Some(9));
    }

    #[test]
    fn a_reason_is_short_and_never_holds_a_secret() {
        let secret = "hush".repeat(20);
        let words = format!("{}{secret}", "x".repeat(390));
        let said = Declined::new("Swift", 500, &[&secret, ""])
            .saying(&words)
            .said();
        assert!(
            !said.contains("hush") && said.ends_with("x[secret]"),
            "{said}"
        );
        let said = Declined::new("Swift", 500, &[]).saying(&"ä\n".repeat(999));
        assert_eq!(
            said.said().chars().count(),
            "Swift answered 500: ".len() + 400
        );
    }

    #[test]
    fn the_first_phrase_counts() {
        let phrases = [("api key", 1), ("key", 2)];
        assert_eq!(first_phrase(&phrases, "Key of the API KEY"), Some(1));
        assert_eq!(first_phrase(&phrases, "KEY"), Some(2));
        assert_eq!(first_phrase(&phrases, "ok"), None);
    }
}
