//! What a failure means for the mail, by the moment it came (RFC 5321 §4.2.1).

use hogsend_plugin_api::SendOutcome;
use lettre::transport::smtp::Error;

use crate::{CA_FILE, FROM, HOST, PASSWORD, TLS, USERNAME};

/// Characters of the server's words that are passed on.
const WORDS_MAX: usize = 400;

/// No connection, or none that is safe.
pub fn of_connection(error: &Error) -> SendOutcome {
    let words = words(error);
    if words.to_ascii_lowercase().contains("certificate") {
        return blocked(format!(
            "the server's certificate is not trusted: {words}. Check {HOST}, or give the authority in {CA_FILE}"
        ));
    }
    if error.is_permanent() {
        return blocked(format!("the server turns us away: {words}"));
    }
    retry(format!("no connection to the server: {words}"))
}

/// The server offers no encryption where the settings ask for it.
pub fn no_starttls() -> SendOutcome {
    blocked(format!(
        "the server offers no STARTTLS. Set {TLS}=implicit where its port speaks TLS from the start"
    ))
}

/// Nothing of the message was handed over.
pub fn too_slow() -> SendOutcome {
    retry("the server took too long to get ready".into())
}

pub fn of_login(error: &Error) -> SendOutcome {
    if error.is_permanent() || error.is_client() {
        let words = words(error);
        return blocked(format!(
            "the server refuses the login: {words}. Check {USERNAME} and {PASSWORD}"
        ));
    }
    retry(format!("the login did not finish: {}", words(error)))
}

pub fn of_sender(error: Error) -> SendOutcome {
    if error.is_permanent() {
        let words = words(&error);
        return blocked(format!(
            "the server refuses the sender: {words}. Check {FROM}, and whether the account may use it"
        ));
    }
    retry(format!(
        "the server did not take the sender: {}",
        words(&error)
    ))
}

pub fn of_recipient(error: Error) -> SendOutcome {
    let words = words(&error);
    if error.is_permanent() {
        return SendOutcome::Rejected {
            reason: format!("the server refuses the recipient: {words}"),
        };
    }
    retry(format!(
        "the server does not take the mail for now: {words}"
    ))
}

/// The whole message was on its way. Without an answer nobody knows whether it arrived.
pub fn of_message(error: &Error) -> SendOutcome {
    let words = words(error);
    if error.is_permanent() {
        return SendOutcome::Rejected {
            reason: format!("the server refuses the message: {words}"),
        };
    }
    if error.is_transient() {
        return retry(format!(
            "the server does not take the message for now: {words}"
        ));
    }
    SendOutcome::Unknown {
        reason: format!("the server's answer to the message was lost: {words}"),
    }
}

fn blocked(reason: String) -> SendOutcome {
    SendOutcome::Blocked {
        reason,
        retry_after_ms: None,
    }
}

fn retry(reason: String) -> SendOutcome {
    SendOutcome::Retry {
        reason,
        retry_after_ms: None,
        pause: false,
    }
}

/// The error with its causes, short and on one line.
fn words(error: &Error) -> String {
    let mut all = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !all.contains(&text) {
            all.push_str(": ");
            all.push_str(&text);
        }
        cause = inner.source();
    }
    let clean = all.chars().filter(|c| !c.is_control()).take(WORDS_MAX);
    let clean: String = clean.collect();
    clean.trim_end_matches(['.', ' ']).to_owned()
}
