//! Outbox: in development every mail becomes an `.eml` file that mail clients can open.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use hogsend_mime as mime;
use hogsend_plugin_api::{
    Attempt, Capabilities, Delivery, Host, Idempotency, Mail, Manifest, Plugin, Prepared,
    SendOutcome, Sent, Settings, export_plugin,
};

/// The most characters of the idempotency key in a file's name.
const KEY_MAX: usize = 120;

pub struct Outbox;

impl Plugin for Outbox {
    fn manifest() -> Manifest {
        Manifest::new("outbox", env!("CARGO_PKG_VERSION")).local_only()
    }

    fn new(_: &Settings) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Delivery for Outbox {
    fn capabilities(&self) -> Capabilities {
        // A repeated attempt writes the same file again.
        Capabilities::new(Idempotency::Forever)
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        Ok(Prepared::new("message/rfc822", mime::message(mail)?))
    }

    async fn send(&self, host: Host, attempt: Attempt) -> Sent {
        let name = file_name(&attempt);
        let outcome = match host.file_put(&name, &attempt.prepared.body).await {
            Ok(()) => SendOutcome::accepted(name),
            Err(error) => SendOutcome::retry(error.message),
        };
        outcome.into()
    }
}

/// A name that sorts by time, is the same for every attempt of one mail, and is valid on every file
/// system.
fn file_name(attempt: &Attempt) -> String {
    let time = attempt.created_at.format("%Y%m%dT%H%M%SZ");
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    let key: String = attempt
        .idempotency_key
        .chars()
        .take(KEY_MAX)
        .map(safe)
        .collect();
    format!("{time}-{key}.eml")
}

export_plugin!(Outbox: delivery);
