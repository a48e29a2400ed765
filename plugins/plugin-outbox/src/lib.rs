//! Outbox: in development every mail becomes a file.

#![forbid(unsafe_code)]

mod message;

use hogsend_plugin_api::{
    Attempt, Capabilities, Delivery, Host, Idempotency, Mail, Manifest, Plugin, Prepared,
    SendOutcome, Settings, export_plugin,
};

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
        // A repeat writes the same file again.
        Capabilities {
            idempotency: Idempotency::Forever,
        }
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        let body = message::build(mail)?.into();
        Ok(Prepared {
            content_type: "message/rfc822".into(),
            body,
        })
    }

    async fn send(&self, host: Host, attempt: Attempt) -> SendOutcome {
        // Sorted by time, and the same for every attempt of one mail.
        let time = attempt.created_at.format("%Y%m%dT%H%M%SZ");
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        };
        let key: String = attempt
            .idempotency_key
            .chars()
            .take(120)
            .map(plain)
            .collect();
        let name = format!("{time}-{key}.eml");
        match host.file_put(&name, &attempt.prepared.body).await {
            Ok(()) => SendOutcome::Accepted { message_id: name },
            Err(error) => SendOutcome::Retry {
                reason: error.message,
                retry_after_ms: None,
                pause: false,
            },
        }
    }
}

export_plugin!(Outbox: delivery);
