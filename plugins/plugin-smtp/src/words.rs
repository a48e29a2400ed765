//! The text of servers' replies, and the fault it means.

use crate::envelope::Envelope;
use crate::reply::Reply;

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The installation does not log in, or not as the server requires.
    Login,
    /// Too fast; it ends without an operator.
    Rate,
    /// The installation has exhausted its quota.
    Quota,
    /// The account, the machine's address, a relay rule: any mail would be refused.
    Account,
    /// Mail of this sender would be refused, whoever the recipient is.
    Sender,
    /// The address does not work and never will.
    NoMailbox,
    /// The mailbox is full, greylisted or gets too much at once.
    MailboxBusy,
    /// Another fault of this recipient.
    Recipient,
    /// This message.
    Content,
    /// The server itself.
    System,
}

/// The fault by the text of a refusal; `None` where the text does not say.
pub fn blame(answer: &Reply, envelope: Option<&Envelope>) -> Option<Blame> {
    let words = answer.lower();
    if words.contains("not verified") {
        return Some(unverified(&words, envelope));
    }
    let found = WORDS.iter().find(|(word, _)| begins(&words, word));
    found.map(|(_, blame)| *blame).or_else(|| {
        let recipient = envelope.map(|envelope| envelope.to.to_lowercase());
        recipient
            .filter(|to| words.contains(to))
            .map(|_| Blame::Recipient)
    })
}

/// Whether a word of the text begins with the phrase, for example `greylisting` with `greylist`.
fn begins(text: &str, phrase: &str) -> bool {
    let mut places = text.match_indices(phrase);
    places.any(|(place, _)| !text[..place].ends_with(char::is_alphanumeric))
}

/// Amazon SES lists the unverified identities. In its sandbox recipients must be verified too, and
/// then it refuses mail to anyone.
fn unverified(words: &str, envelope: Option<&Envelope>) -> Blame {
    let names = |address: &str| words.contains(&address.to_lowercase());
    match envelope {
        Some(envelope) if names(&envelope.to) && !names(&envelope.from) => Blame::Account,
        _ => Blame::Sender,
    }
}

/// The first phrase that occurs counts. Senders precede recipients, because servers often refuse a
/// sender in the answer to RCPT, and both precede the message.
const WORDS: &[(&str, Blame)] = &[
    // Limits.
    ("daily message quota", Blame::Quota),
    ("submission quota", Blame::Quota),
    ("submissionquota", Blame::Quota),
    ("sending quota", Blame::Quota),
    ("sending limit", Blame::Quota),
    ("daily sending", Blame::Quota),
    ("daily user sending", Blame::Quota),
    ("daily smtp relay", Blame::Quota),
    ("daily limit", Blame::Quota),
    ("monthly limit", Blame::Quota),
    ("message limit", Blame::Quota),
    ("maximum credits", Blame::Quota),
    ("out of credits", Blame::Quota),
    ("exceeded your", Blame::Quota),
    ("exceeded the maximum number of messages", Blame::Quota),
    ("user is receiving mail", Blame::MailboxBusy),
    ("trying to contact is receiving mail", Blame::MailboxBusy),
    ("maximum sending rate", Blame::Rate),
    ("throttl", Blame::Rate),
    ("rate limit", Blame::Rate),
    ("ratelimit", Blame::Rate),
    ("too many messages", Blame::Rate),
    ("too many connections", Blame::Rate),
    ("too many concurrent", Blame::Rate),
    ("sending too fast", Blame::Rate),
    // The login.
    ("authentication required", Blame::Login),
    ("authentication is required", Blame::Login),
    ("must be authenticated", Blame::Login),
    ("not authenticated", Blame::Login),
    ("must authenticate", Blame::Login),
    ("must issue a starttls", Blame::Login),
    ("log in", Blame::Login),
    ("login required", Blame::Login),
    // The sender.
    ("sendasdenied", Blame::Sender),
    ("send as", Blame::Sender),
    ("send on behalf", Blame::Sender),
    ("not allowed to send from", Blame::Sender),
    ("not authorized to send from", Blame::Sender),
    ("not permitted to send from", Blame::Sender),
    ("not owned by", Blame::Sender),
    ("sender address rejected", Blame::Sender),
    ("sender rejected", Blame::Sender),
    ("sender denied", Blame::Sender),
    ("sender is not allowed", Blame::Sender),
    ("sender not allowed", Blame::Sender),
    ("sender not authorized", Blame::Sender),
    ("unauthorized sender", Blame::Sender),
    ("invalid sender", Blame::Sender),
    ("bad sender", Blame::Sender),
    ("sender verif", Blame::Sender),
    ("sender identity", Blame::Sender),
    ("sender domain", Blame::Sender),
    ("sender's domain", Blame::Sender),
    ("from address", Blame::Sender),
    ("from header", Blame::Sender),
    ("header from", Blame::Sender),
    ("envelope from", Blame::Sender),
    ("disallowed as", Blame::Sender),
    ("dmarc", Blame::Sender),
    ("dkim", Blame::Sender),
    ("spf", Blame::Sender),
    ("unauthenticated email", Blame::Sender),
    // The account, the relay, this machine's address.
    ("relay access denied", Blame::Account),
    ("relaying denied", Blame::Account),
    ("relaying not allowed", Blame::Account),
    ("relay not permitted", Blame::Account),
    ("address blacklisted", Blame::NoMailbox),
    ("client host", Blame::Account),
    ("blacklist", Blame::Account),
    ("blocklist", Blame::Account),
    ("block list", Blame::Account),
    ("spamhaus", Blame::Account),
    ("barracuda reputation", Blame::Account),
    ("your ip", Blame::Account),
    ("ip address", Blame::Account),
    ("sending ip", Blame::Account),
    ("reverse dns", Blame::Account),
    ("ptr record", Blame::Account),
    ("reputation", Blame::Account),
    ("unauthorized ip", Blame::Account),
    ("unusual sending", Blame::Account),
    ("sending paused", Blame::Account),
    ("account has been", Blame::Account),
    ("account is not", Blame::Account),
    ("account not", Blame::Account),
    ("your account", Blame::Account),
    ("activate your", Blame::Account),
    ("sandbox", Blame::Account),
    ("tenant", Blame::Account),
    // The recipient.
    ("greylist", Blame::MailboxBusy),
    ("graylist", Blame::MailboxBusy),
    ("grey-list", Blame::MailboxBusy),
    ("mailbox full", Blame::MailboxBusy),
    ("mailbox is full", Blame::MailboxBusy),
    ("over quota", Blame::MailboxBusy),
    ("overquota", Blame::MailboxBusy),
    ("quota exceeded", Blame::MailboxBusy),
    ("exceeded storage", Blame::MailboxBusy),
    ("is full", Blame::MailboxBusy),
    ("inbox full", Blame::MailboxBusy),
    ("storage full", Blame::MailboxBusy),
    ("account full", Blame::MailboxBusy),
    ("user unknown", Blame::NoMailbox),
    ("unknown user", Blame::NoMailbox),
    ("unknown recipient", Blame::NoMailbox),
    ("recipient unknown", Blame::NoMailbox),
    ("unknown local", Blame::NoMailbox),
    ("unknown address", Blame::NoMailbox),
    ("unknown mailbox", Blame::NoMailbox),
    ("no such", Blame::NoMailbox),
    ("no mailbox", Blame::NoMailbox),
    ("not found", Blame::NoMailbox),
    ("does not exist", Blame::NoMailbox),
    ("doesn't exist", Blame::NoMailbox),
    ("mailbox unavailable", Blame::NoMailbox),
    ("mailbox not available", Blame::NoMailbox),
    ("invalid recipient", Blame::NoMailbox),
    ("invalid mailbox", Blame::NoMailbox),
    ("not a valid mailbox", Blame::NoMailbox),
    ("mailbox disabled", Blame::NoMailbox),
    ("mailbox is disabled", Blame::NoMailbox),
    ("inactive", Blame::NoMailbox),
    ("account that you tried to reach", Blame::NoMailbox),
    ("suppression list", Blame::NoMailbox),
    ("relay", Blame::Account),
    ("recipient", Blame::Recipient),
    ("mailbox", Blame::Recipient),
    // The message.
    ("spam", Blame::Content),
    ("unsolicited", Blame::Content),
    ("virus", Blame::Content),
    ("malware", Blame::Content),
    ("phish", Blame::Content),
    ("content", Blame::Content),
    ("attachment", Blame::Content),
    ("url", Blame::Content),
    ("too large", Blame::Content),
    ("too big", Blame::Content),
    ("message size", Blame::Content),
    ("size limit", Blame::Content),
    ("line too long", Blame::Content),
    ("malformed", Blame::Content),
    ("5322", Blame::Content),
    ("bare lf", Blame::Content),
    ("header", Blame::Content),
    ("subject", Blame::Content),
    ("message rejected", Blame::Content),
    ("message refused", Blame::Content),
    ("message blocked", Blame::Content),
    ("message was", Blame::Content),
    // The server.
    ("system storage", Blame::System),
    ("local error", Blame::System),
    ("system error", Blame::System),
    ("service not available", Blame::System),
    ("service unavailable", Blame::System),
    ("server busy", Blame::System),
    ("system resources", Blame::System),
];
