//! What a failure means for the mail, by the moment it came (RFC 5321 §4.2.1).

use hogsend_plugin_api::SendOutcome;
use lettre::transport::smtp::Error;

use crate::settings::Server;
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

/// The server's name leads nowhere.
pub fn no_address(error: &std::io::Error) -> SendOutcome {
    retry(format!(
        "the server's name is not found: {error}. Check {HOST}"
    ))
}

/// The server agreed where it should have asked for the message.
pub fn confused() -> SendOutcome {
    retry("the server did not ask for the message".into())
}

pub fn of_login(error: &Error, server: &Server) -> SendOutcome {
    let mut words = words(error);
    for hidden in &server.hidden {
        words = words.replace(hidden, "[password]");
    }
    if error.is_permanent() || error.is_client() {
        return blocked(format!(
            "the server refuses the login: {words}. Check {USERNAME} and {PASSWORD}"
        ));
    }
    retry(format!("the login did not finish: {words}"))
}

pub fn of_sender(error: Error) -> SendOutcome {
    let words = words(&error);
    match code(&error) {
        Some(530) => no_login(&words),
        // Too large, or a parameter this one mail needs.
        Some(552 | 555) => SendOutcome::rejected(format!("the server refuses the mail: {words}")),
        Some(500..) => blocked(format!(
            "the server refuses the sender: {words}. Check {FROM}, and whether the account may use it"
        )),
        _ => retry(format!("the server did not take the sender: {words}")),
    }
}

pub fn of_recipient(error: Error) -> SendOutcome {
    let words = words(&error);
    match code(&error) {
        Some(530) => no_login(&words),
        Some(500..) => SendOutcome::rejected(format!("the server refuses the recipient: {words}")),
        _ => retry(format!(
            "the server does not take the mail for now: {words}"
        )),
    }
}

fn no_login(words: &str) -> SendOutcome {
    blocked(format!(
        "the server asks for a login: {words}. Set {USERNAME} and {PASSWORD}"
    ))
}

/// The message was on its way. Once it was `whole`, nobody knows without an answer whether it
/// arrived; before that it cannot have.
pub fn of_message(error: &Error, whole: bool) -> SendOutcome {
    let words = words(error);
    match code(error) {
        Some(500..) => SendOutcome::rejected(format!("the server refuses the message: {words}")),
        Some(400..) => retry(format!(
            "the server does not take the message for now: {words}"
        )),
        _ if !whole => retry(format!("the message did not get there: {words}")),
        _ => SendOutcome::Unknown {
            reason: format!("the server's answer to the message was lost: {words}"),
        },
    }
}

/// The server's three digits, where it answered.
fn code(error: &Error) -> Option<u16> {
    error.status().map(u16::from)
}

fn blocked(reason: String) -> SendOutcome {
    SendOutcome::blocked(reason)
}

fn retry(reason: String) -> SendOutcome {
    SendOutcome::retry(reason)
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
