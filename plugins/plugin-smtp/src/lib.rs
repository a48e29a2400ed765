//! SMTP: mail out through any server that takes submissions (RFC 6409).

#![forbid(unsafe_code)]

mod connect;
mod ends;
mod envelope;
mod settings;

use hogsend_plugin_api::{
    Attempt, Capabilities, Delivery, Host, Idempotency, Mail, Manifest, Plugin, Prepared,
    SendOutcome, Sent, Setting, Settings, export_plugin, mime,
};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{Extension, MailBodyParameter, MailParameter};

use std::cell::Cell;
use std::time::{Duration, Instant};

use envelope::Envelope;
use settings::Server;

const HOST: &str = "SMTP_HOST";
const PORT: &str = "SMTP_PORT";
const TLS: &str = "SMTP_TLS";
const USERNAME: &str = "SMTP_USERNAME";
const PASSWORD: &str = "SMTP_PASSWORD";
const CA_FILE: &str = "SMTP_CA_FILE";
const FROM: &str = "SMTP_FROM";

/// A server that took longer than this to get ready is given up while the mail is still ours: the
/// host waits half a minute for an answer.
const READY: Duration = Duration::from_secs(12);
/// How long the server may take to accept the message.
const ACCEPT: Duration = Duration::from_secs(15);

/// Octets of a message handed over at once.
const PIECE: usize = 16 * 1024;

pub struct Smtp(Server);

impl Plugin for Smtp {
    fn manifest() -> Manifest {
        Manifest::new("smtp", env!("CARGO_PKG_VERSION"))
            .setting(Setting::new(HOST, "the server's name, as its certificate has it").required())
            .setting(Setting::new(
                PORT,
                "the server's port; by default 587 for starttls, 465 for implicit, 25 for none",
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
                "a PEM file with the authority that signed the server's certificate, where it is a private one",
            ))
            .setting(Setting::new(
                FROM,
                "the default sender, Name <address>, that the server lets this account use",
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
        // SMTP knows no repeats: a message that arrives twice is two messages.
        Capabilities::new(Idempotency::None)
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        let envelope = Envelope::of(mail)?;
        Ok(envelope.freeze(&mime::message(mail)?))
    }

    async fn send(&self, _: Host, attempt: Attempt) -> Sent {
        deliver(&self.0, &attempt).into()
    }
}

/// One mail over one connection. Whatever goes wrong before the message is handed over leaves it
/// with us; once it is on its way, only the server's answer tells.
fn deliver(server: &Server, attempt: &Attempt) -> SendOutcome {
    let (envelope, message) = match Envelope::thaw(&attempt.prepared) {
        Ok(frozen) => frozen,
        Err(reason) => return SendOutcome::rejected(reason),
    };
    let began = Instant::now();
    let mut connection = match connect::connect(server, &envelope) {
        Ok(connection) => connection,
        Err(outcome) => return outcome,
    };
    let mut parameters = Vec::new();
    if envelope.needs_utf8() {
        // RFC 6531 §3.4: a server that does not offer it must not be given such an address.
        if !connection
            .server_info()
            .supports_feature(Extension::SmtpUtfEight)
        {
            connection.abort();
            return SendOutcome::rejected(
                "the address has letters beyond ASCII before the @, which this server does not take (SMTPUTF8)",
            );
        }
        parameters.push(MailParameter::SmtpUtfEight);
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    let begun = connection
        .command(MailFrom::new(Some(envelope.from.clone()), parameters))
        .map_err(ends::of_sender)
        .and_then(|_| {
            let recipient = Rcpt::new(envelope.to.clone(), Vec::new());
            connection.command(recipient).map_err(ends::of_recipient)
        });
    if let Err(outcome) = begun {
        connection.abort();
        return outcome;
    }
    if began.elapsed() > READY || connection.set_timeout(Some(ACCEPT)).is_err() {
        connection.abort();
        return ends::too_slow();
    }
    // The answer to DATA asks for the message, or there is none to give.
    match connection.command(Data) {
        Ok(answer) if answer.has_code(354) => {}
        Ok(_) => {
            connection.abort();
            return ends::confused();
        }
        Err(error) => {
            connection.abort();
            return ends::of_recipient(error);
        }
    }
    // Until the last piece is on its way the server cannot have the message.
    let whole = Cell::new(false);
    let pieces = message.chunks(PIECE);
    let last = pieces.len();
    let pieces = pieces.enumerate().map(|(place, piece)| {
        whole.set(place + 1 == last);
        piece
    });
    match connection.message_iter(pieces) {
        Ok(_) => {
            let _ = connection.quit();
            SendOutcome::Accepted {
                message_id: envelope.message_id,
            }
        }
        Err(error) => {
            connection.abort();
            ends::of_message(&error, whole.get())
        }
    }
}

export_plugin!(Smtp: delivery);
