//! The outcome of a failure: whose fault it is.
//!
//! Servers refuse a sender, a relay or an account at any command, often as late as the answer to RCPT
//! or to the message. So the enhanced status code (RFC 3463) counts first, then the server's text,
//! and the command last. A refusal that is not about this recipient or this message is the
//! installation's fault, so no mail is lost.

use std::io;

use hogsend_plugin_api::{BounceType, SendOutcome};

use crate::envelope::Envelope;
use crate::reply::{Reply, Status};
use crate::settings::Server;
use crate::words::{self, Blame};
use crate::{CA_FILE, FROM, HOST, PASSWORD, TLS, USERNAME};

/// The command that a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Greeting,
    /// EHLO, STARTTLS.
    Hello,
    /// MAIL.
    Sender,
    /// RCPT.
    Recipient,
    /// DATA, before the message.
    Data,
    /// After the message.
    Message,
}

/// There is no connection, or it ended before the message.
pub fn no_connection(error: &io::Error) -> SendOutcome {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(error @ rustls::Error::InvalidCertificate(_)) = inner {
        return SendOutcome::blocked(format!(
            "the server's certificate is not trusted: {error}. Check {HOST}, or set {CA_FILE} to the certificate of its authority"
        ));
    }
    SendOutcome::retry(format!("no connection to the server: {error}"))
}

/// The server does not offer the encryption that the settings require.
pub fn no_starttls() -> SendOutcome {
    SendOutcome::blocked(format!(
        "the server offers no STARTTLS. Set {TLS}=implicit if its port uses TLS from the start"
    ))
}

/// The server's name cannot be resolved.
pub fn no_address(error: &io::Error) -> SendOutcome {
    SendOutcome::retry(format!(
        "the server's name cannot be resolved: {error}. Check {HOST}"
    ))
}

/// The server did not answer DATA with 354.
pub fn confused() -> SendOutcome {
    SendOutcome::retry("the server did not ask for the message")
}

/// The connection broke before the end of the message.
pub fn not_there(error: &io::Error) -> SendOutcome {
    SendOutcome::retry(format!("the message was not transferred: {error}"))
}

/// The address needs SMTPUTF8 (RFC 6531), which the server does not offer.
pub fn no_utf8() -> SendOutcome {
    SendOutcome::bounced(
        "the address has non-ASCII letters before the @, which this server does not accept (SMTPUTF8)",
        BounceType::Undetermined,
    )
}

/// The server offers no supported login mechanism.
pub fn no_mechanism() -> SendOutcome {
    SendOutcome::blocked(format!(
        "the server offers no login by PLAIN or LOGIN. Check {TLS}, or unset {USERNAME} and {PASSWORD}"
    ))
}

/// The outcome of a refused login. The password never appears in the reason.
pub fn of_login(answer: &Reply, server: &Server) -> SendOutcome {
    let mut words = answer.to_string();
    for hidden in &server.hidden {
        words = words.replace(hidden, "[password]");
    }
    if answer.is_transient() {
        return match words::blame(answer, None) {
            Some(Blame::Quota | Blame::Account) => {
                SendOutcome::blocked(format!("the server refuses the account: {words}"))
            }
            _ => SendOutcome::retry(format!("the login did not finish: {words}")),
        };
    }
    SendOutcome::blocked(format!(
        "the server refuses the login: {words}. Check {USERNAME} and {PASSWORD}"
    ))
}

/// The outcome of a refusal, without the addresses of a mail.
pub fn refused(moment: Moment, answer: &Reply) -> SendOutcome {
    judge(moment, answer, None)
}

/// The outcome of a refusal that may name the addresses of the mail.
pub fn of(moment: Moment, answer: &Reply, envelope: &Envelope) -> SendOutcome {
    judge(moment, answer, Some(envelope))
}

fn judge(moment: Moment, answer: &Reply, envelope: Option<&Envelope>) -> SendOutcome {
    let said = format!("the server answered {answer} {}", at(moment));
    let blame = answer
        .status
        .and_then(|status| by_status(status, moment))
        .or_else(|| words::blame(answer, envelope))
        .or_else(|| answer.status.and_then(by_subject))
        .unwrap_or_else(|| by_moment(moment, answer.code));
    let blame = match (moment, blame) {
        // No recipient was named yet.
        (
            Moment::Greeting | Moment::Hello | Moment::Sender,
            Blame::NoMailbox | Blame::MailboxBusy | Blame::Recipient,
        ) => by_moment(moment, answer.code),
        (_, blame) => blame,
    };
    if answer.is_transient() {
        return put_off(blame, said);
    }
    match blame {
        Blame::Login => SendOutcome::blocked(format!(
            "{said}. Set {USERNAME} and {PASSWORD} to an account that may send"
        )),
        Blame::Rate => SendOutcome::pause(said),
        Blame::Quota => SendOutcome::blocked(format!("{said}. Mails wait until more may be sent")),
        Blame::Account => SendOutcome::blocked(format!(
            "{said}. The server refuses any mail: check the account with its operator"
        )),
        Blame::Sender => SendOutcome::sender_blocked(format!(
            "{said}. Check the sender ({FROM}, EMAIL_FROM or EMAIL_FROM_TRANSACTIONAL), and whether the account may use it"
        )),
        Blame::NoMailbox => SendOutcome::bounced(said, BounceType::Permanent),
        Blame::MailboxBusy => SendOutcome::bounced(said, BounceType::Transient),
        Blame::Recipient => SendOutcome::bounced(said, BounceType::Undetermined),
        Blame::Content => SendOutcome::rejected(said),
        Blame::System => SendOutcome::blocked(said),
    }
}

/// The outcome of a 4xx reply, which is temporary.
fn put_off(blame: Blame, said: String) -> SendOutcome {
    match blame {
        Blame::Quota => SendOutcome::blocked(format!("{said}. Mails wait until more may be sent")),
        Blame::Rate => SendOutcome::pause(said),
        Blame::NoMailbox | Blame::MailboxBusy | Blame::Recipient | Blame::Content => {
            SendOutcome::recipient_busy(said)
        }
        Blame::Login | Blame::Account | Blame::Sender | Blame::System => SendOutcome::retry(said),
    }
}

fn at(moment: Moment) -> &'static str {
    match moment {
        Moment::Greeting => "instead of a greeting",
        Moment::Hello => "to the greeting",
        Moment::Sender => "to the sender",
        Moment::Recipient => "to the recipient",
        Moment::Data => "to DATA",
        Moment::Message => "to the message",
    }
}

/// The fault that an enhanced status code means by itself (RFC 3463, the IANA registry, and the codes
/// of large providers). `None` where the text or the command must decide.
fn by_status(status: Status, moment: Moment) -> Option<Blame> {
    let Status(_, subject, detail) = status;
    Some(match (subject, detail) {
        (1, 1 | 2 | 3 | 6 | 10) => Blame::NoMailbox,
        (1, 7 | 8) => Blame::Sender,
        (2, 3) | (3, 4) | (6, 0..=6 | 8 | 9) => Blame::Content,
        (2, 4) | (6, 7) | (7, 2) => Blame::Recipient,
        (3, 1 | 2 | 3 | 5) => Blame::System,
        // Gmail: the account's daily limit.
        (4, 5) if status.0 == 5 => Blame::Quota,
        // Exchange Online: the recipient's domain does not exist.
        (4, 310) => Blame::NoMailbox,
        // 5.2.1 is a closed mailbox; 4.2.1 is one that gets too much at once.
        (2, 1) if status.0 == 5 => Blame::NoMailbox,
        (5, 0 | 1) if moment != Moment::Recipient => Blame::System,
        (7, 8 | 9 | 11 | 14 | 57) => Blame::Login,
        (7, 13 | 25 | 28 | 29 | 64) => Blame::Account,
        (7, 17 | 18) => Blame::NoMailbox,
        // Authentication of the sender's domain, and Exchange's "send as".
        (7, 20..=24 | 26 | 27 | 60) => Blame::Sender,
        // Exchange Online: banned senders, banned addresses of this machine, quotas of the tenant.
        (7, 509 | 511 | 512 | 515) => Blame::Sender,
        (7, 501..=503 | 505..=508 | 606..=649 | 700..=750) => Blame::Account,
        _ => return None,
    })
}

/// The fault by a status code's subject, where neither its detail nor the text says more.
fn by_subject(Status(_, subject, detail): Status) -> Option<Blame> {
    Some(match (subject, detail) {
        // Exchange Online: a limit of the sender.
        (2, 252) => Blame::Quota,
        (2, 1 | 2) => Blame::MailboxBusy,
        (1 | 2 | 4, _) => Blame::Recipient,
        (3, _) => Blame::System,
        (6, _) => Blame::Content,
        _ => return None,
    })
}

/// The fault of a reply without a reason, by the command it answers.
fn by_moment(moment: Moment, code: u16) -> Blame {
    match (moment, code) {
        (_, 421) => Blame::System,
        (_, 530 | 534 | 535 | 538) => Blame::Login,
        (Moment::Greeting | Moment::Hello, _) => Blame::System,
        // RFC 7504: the domain accepts no mail.
        (Moment::Recipient, 556) => Blame::NoMailbox,
        // Too large, or a parameter this one mail needs.
        (Moment::Sender | Moment::Message, 552) | (Moment::Sender, 555) => Blame::Content,
        (Moment::Sender, 500..) => Blame::Sender,
        (Moment::Sender, _) => Blame::System,
        (Moment::Recipient, 452 | 552) => Blame::MailboxBusy,
        // The mailbox codes of RFC 5321 §4.2.3; others are about the server or its rules.
        (Moment::Recipient, 400..500 | 550 | 551 | 553) => Blame::Recipient,
        // Greylisting after the message looks like this.
        (Moment::Data | Moment::Message, 400..500) => Blame::Recipient,
        _ => Blame::Account,
    }
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::{BlockScope, BounceType, RejectFault, RetryFault, SendOutcome};

    use super::Moment::{self, Data, Greeting, Message, Recipient, Sender};
    use super::of;
    use crate::envelope::Envelope;
    use crate::reply::{Line, Reply};

    fn outcome(moment: Moment, reply: &str) -> &'static str {
        let envelope = Envelope {
            from: "hello@acme.example".into(),
            to: "bob@example.com".into(),
            message_id: "1@acme.example".into(),
        };
        let lines = reply
            .split('\n')
            .map(|line| Line::read(line.as_bytes()).unwrap());
        match of(moment, &Reply::of(lines.collect()), &envelope) {
            SendOutcome::Retry { pause: true, .. } => "pause",
            SendOutcome::Retry {
                fault: RetryFault::Recipient,
                ..
            } => "later",
            SendOutcome::Retry { .. } => "retry",
            SendOutcome::Blocked {
                scope: BlockScope::Sender,
                ..
            } => "sender",
            SendOutcome::Blocked { .. } => "blocked",
            SendOutcome::Rejected {
                bounce: Some(BounceType::Permanent),
                ..
            } => "suppress",
            SendOutcome::Rejected {
                fault: RejectFault::Recipient,
                ..
            } => "recipient",
            SendOutcome::Rejected { .. } => "content",
            _ => "?",
        }
    }

    #[test]
    fn the_installations_faults_keep_the_mail_at_any_command() {
        for moment in [Sender, Recipient, Data, Message] {
            for (reply, word) in [
                (
                    "553 5.7.1 <hello@acme.example>: Sender address rejected: not owned by user ann",
                    "sender",
                ),
                (
                    "550 5.1.8 <hello@acme.example>: Sender address rejected: Domain not found",
                    "sender",
                ),
                ("550 Sender verify failed", "sender"),
                (
                    "554 5.2.252 SendAsDenied; ann@acme.example not allowed to send as hello@acme.example",
                    "sender",
                ),
                (
                    "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied",
                    "sender",
                ),
                (
                    "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
                    "sender",
                ),
                (
                    "550 The from address does not match a verified Sender Identity",
                    "sender",
                ),
                ("553 Sender is not allowed to relay emails", "sender"),
                (
                    "550-5.7.26 Unauthenticated email from acme.example is not accepted\n550 5.7.26 due to domain's DMARC policy",
                    "sender",
                ),
                (
                    "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: hello@acme.example",
                    "sender",
                ),
                (
                    "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: bob@example.com",
                    "blocked",
                ),
                (
                    "554 5.7.1 <bob@example.com>: Relay access denied",
                    "blocked",
                ),
                (
                    "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
                    "blocked",
                ),
                ("550 relay not permitted", "blocked"),
                (
                    "550 5.7.64 TenantAttribution; Relay Access Denied",
                    "blocked",
                ),
                ("550 5.4.5 Daily user sending limit exceeded", "blocked"),
                ("554 5.2.252 ", "blocked"),
                (
                    "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException",
                    "blocked",
                ),
                (
                    "454 Throttling failure: Daily message quota exceeded.",
                    "blocked",
                ),
                (
                    "530 5.7.57 Client not authenticated to send mail",
                    "blocked",
                ),
                ("530 Authentication required", "blocked"),
                (
                    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
                    "blocked",
                ),
                (
                    "550 5.7.606 Access denied, banned sending IP [192.0.2.1]",
                    "blocked",
                ),
                ("550 5.4.6 Unusual sending activity detected", "blocked"),
                ("525 5.7.1 Unauthorized IP address", "blocked"),
                ("554 Sending paused for this account", "blocked"),
                (
                    "454 Throttling failure: Maximum sending rate exceeded.",
                    "pause",
                ),
                ("421 4.3.2 Service not available", "retry"),
                ("421 closing", "retry"),
                ("452 4.3.1 Insufficient system storage", "retry"),
            ] {
                assert_eq!(outcome(moment, reply), word, "{moment:?} {reply}");
            }
        }
    }

    #[test]
    fn a_fault_of_the_recipient_ends_or_delays_this_mail_only() {
        for moment in [Recipient, Message] {
            for (reply, word) in [
                (
                    "550 5.1.1 <bob@example.com>: Recipient address rejected: User unknown",
                    "suppress",
                ),
                (
                    "550 5.1.1 User unknown in relay recipient table",
                    "suppress",
                ),
                ("550 User unknown in relay recipient table", "suppress"),
                (
                    "550-5.1.1 The email account that you tried to reach does not exist\n550 5.1.1 gsmtp",
                    "suppress",
                ),
                (
                    "550-5.2.1 The email account that you tried to reach is inactive\n550 5.2.1 x",
                    "suppress",
                ),
                ("550 5.1.10 RESOLVER.ADR.RecipientNotFound", "suppress"),
                ("550 No such user here", "suppress"),
                ("552 5.2.2 Mailbox full", "recipient"),
                ("552 5.2.2 ", "recipient"),
                (
                    "550 5.4.1 Recipient address rejected: Access denied",
                    "recipient",
                ),
                (
                    "550 5.7.1 <bob@example.com>: rejected by policy",
                    "recipient",
                ),
                ("452 4.2.2 Mailbox full", "later"),
                (
                    "450 4.2.1 The user you are trying to contact is receiving mail too quickly",
                    "later",
                ),
                (
                    "451 4.7.1 Greylisting in action, please come back later",
                    "later",
                ),
                ("450 4.7.1 try again later", "later"),
                ("451 temporary failure", "later"),
                ("454 wait", "later"),
                ("450 4.1.1 unverified address", "later"),
            ] {
                assert_eq!(outcome(moment, reply), word, "{moment:?} {reply}");
            }
        }
        assert_eq!(outcome(Recipient, "550"), "recipient");
        assert_eq!(outcome(Recipient, "550 gone"), "recipient");
        // Before a recipient was named, it cannot be about them.
        assert_eq!(outcome(Sender, "550 5.1.1 unknown user"), "sender");
        assert_eq!(outcome(Greeting, "554 no mailbox here"), "blocked");
    }

    #[test]
    fn what_is_wrong_with_the_message_ends_it_and_what_says_nothing_does_not() {
        for (reply, word) in [
            ("554 5.7.1 Message contains spam", "content"),
            ("550-5.7.1 likely unsolicited mail\n550 5.7.1 x", "content"),
            ("552 5.3.4 Message size exceeds fixed limit", "content"),
            ("552", "content"),
            ("554 5.6.0 Lone CR or LF in headers", "content"),
            ("554 virus found", "content"),
            (
                "554 Message blocked; full details at https://example.com/why",
                "content",
            ),
            (
                "550 5.7.1 Refused. See https://example.com/why for full details",
                "blocked",
            ),
            ("554", "blocked"),
            ("554 Transaction failed", "blocked"),
            ("550 5.7.1 ", "blocked"),
            ("550 r\u{e9}fus", "blocked"),
        ] {
            assert_eq!(outcome(Message, reply), word, "{reply}");
        }
    }
}
