//! SMTP: sends mail through any server that accepts submissions (RFC 6409).

#![forbid(unsafe_code)]

mod ends;
mod envelope;
mod greylist;
mod reply;
mod session;
mod settings;
mod wire;
mod words;

use hogsend_mime as mime;
use hogsend_plugin_api::{
    Attempt, Capabilities, Delivery, Host, Idempotency, Mail, Manifest, Plugin, Prepared,
    SendOutcome, Sent, Setting, Settings, export_plugin,
};
use std::time::Duration;

use envelope::Envelope;
use settings::Server;

const HOST: &str = "SMTP_HOST";
const PORT: &str = "SMTP_PORT";
const TLS: &str = "SMTP_TLS";
const USERNAME: &str = "SMTP_USERNAME";
const PASSWORD: &str = "SMTP_PASSWORD";
const CA_FILE: &str = "SMTP_CA_FILE";
const FROM: &str = "SMTP_FROM";

pub struct Smtp(Server);

impl Plugin for Smtp {
    fn manifest() -> Manifest {
        Manifest::new("smtp", env!("CARGO_PKG_VERSION"))
            .setting(Setting::new(HOST, "the server's name, as in its certificate").required())
            .setting(Setting::new(
                PORT,
                "the server's port; default 587 for starttls, 465 for implicit, 25 for none",
            ))
            .setting(
                Setting::new(
                    TLS,
                    "starttls, implicit, or none for a server on this machine",
                )
                .default("starttls"),
            )
            .setting(Setting::new(USERNAME, "the account that may send"))
            .setting(Setting::new(PASSWORD, "its password").secret())
            .setting(Setting::new(
                CA_FILE,
                "a PEM file with the certificate authority of the server, if it is a private one",
            ))
            .setting(Setting::new(
                FROM,
                "the default sender, Name <address>, which the server must allow for this account",
            ))
            .sender(FROM)
            .blocking()
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        Server::read(settings).map(Self)
    }
}

impl Delivery for Smtp {
    fn capabilities(&self) -> Capabilities {
        // SMTP does not recognize repeats: a message sent twice arrives twice.
        Capabilities::new(Idempotency::None).attempt(session::ATTEMPT)
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        let envelope = Envelope::of(mail)?;
        Ok(envelope.freeze(&mime::message(mail)?))
    }

    async fn send(&self, _: Host, attempt: Attempt) -> Sent {
        let (envelope, message) = match Envelope::thaw(&attempt.prepared) {
            Ok(frozen) => frozen,
            Err(reason) => return SendOutcome::rejected(reason).into(),
        };
        let within = attempt
            .deadline_ms
            .map_or(session::UNSAID, Duration::from_millis);
        let outcome = session::deliver(&self.0, &envelope, message, within.mul_f32(0.95));
        greylist::paced(outcome, attempt.number).into()
    }
}

export_plugin!(Smtp: delivery);
