//! Sends one mail over one connection, with the timeouts of RFC 5321 §4.5.3.2.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hogsend_plugin_api::SendOutcome;

use crate::ends::{self, Moment};
use crate::envelope::Envelope;
use crate::reply::Reply;
use crate::settings::{Mode, Server};
use crate::wire::Wire;

const MINUTE: Duration = Duration::from_secs(60);
/// For the connection, to each address of the server.
const CONNECT: Duration = Duration::from_secs(30);
const ENCRYPT: Duration = MINUTE;
/// §4.5.3.2.1, and for what it does not name.
const GREETING: Duration = Duration::from_secs(5 * 60);
/// §4.5.3.2.2 and §4.5.3.2.3.
const COMMAND: Duration = Duration::from_secs(5 * 60);
/// §4.5.3.2.4.
const DATA: Duration = Duration::from_secs(2 * 60);
/// §4.5.3.2.5.
const BLOCK: Duration = Duration::from_secs(3 * 60);
/// §4.5.3.2.6: the server may filter the message first, and giving up too early sends it twice.
const END: Duration = Duration::from_secs(10 * 60);
/// A whole attempt: [`MESSAGE`], and a quarter of an hour for the commands before it.
pub const ATTEMPT: Duration = Duration::from_secs(30 * 60);
/// The part of an attempt that is reserved for the message and its answer.
const MESSAGE: Duration = Duration::from_secs(15 * 60);
/// The length of an attempt where the host states no deadline.
pub const UNSAID: Duration = Duration::from_secs(27);
/// The most addresses of the server to try.
const ADDRESSES_MAX: usize = 2;
/// For reading a reply that the server sent before it closed the connection.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A connection and its deadlines.
struct Session<'a> {
    server: &'a Server,
    wire: Wire,
    /// The server's extensions, from its answer to EHLO.
    offers: Vec<String>,
    /// The deadline for the server to accept DATA.
    ready: Instant,
    /// The deadline after which the host treats the outcome as unknown.
    until: Instant,
}

/// Sends one message. A failure before its final dot means that the server does not have it; after
/// that only the server's answer decides.
pub fn deliver(
    server: &Server,
    envelope: &Envelope,
    message: &[u8],
    within: Duration,
) -> SendOutcome {
    let until = Instant::now() + within;
    let ready = until - MESSAGE.min(within / 2);
    let opened = Session::open(server, &envelope.hello(), ready, until);
    let sent = opened.and_then(|mut session| {
        session.announce(envelope)?;
        session.hand_over(message)
    });
    match sent {
        Ok(()) => SendOutcome::accepted(envelope.message_id.clone()),
        Err(outcome) => outcome,
    }
}

impl<'a> Session<'a> {
    fn open(
        server: &'a Server,
        hello: &str,
        ready: Instant,
        until: Instant,
    ) -> Result<Self, SendOutcome> {
        let lost = |error: io::Error| ends::no_connection(&error);
        let found = (server.host.as_str(), server.port).to_socket_addrs();
        let found: Vec<SocketAddr> = found.map_err(|error| ends::no_address(&error))?.collect();
        let mut wire = Err(io::Error::other("the name has no address"));
        for address in found.into_iter().take(ADDRESSES_MAX) {
            let left = ready.saturating_duration_since(Instant::now());
            wire = Wire::connect(address, CONNECT.min(left.max(Duration::from_millis(1))));
            if wire.is_ok() {
                break;
            }
        }
        let mut wire = wire.map_err(lost)?;
        let soon = |bound: Duration| ready.min(Instant::now() + bound);
        if let (Mode::Implicit, Some(tls)) = (server.mode, &server.tls) {
            let encrypted = wire.encrypt(tls, &server.host, soon(ENCRYPT));
            wire = encrypted.map_err(lost)?;
        }
        let greeting = wire.reply(soon(GREETING)).map_err(lost)?;
        if !greeting.is_positive() {
            return Err(ends::refused(Moment::Greeting, &greeting));
        }
        let mut session = Self {
            server,
            wire,
            offers: Vec::new(),
            ready,
            until,
        };
        session.hello(hello)?;
        if let (Mode::StartTls, Some(tls)) = (server.mode, &server.tls) {
            if !session.offers("STARTTLS") {
                return Err(ends::no_starttls());
            }
            let answer = session.ask("STARTTLS", COMMAND)?;
            if !answer.is_positive() {
                return Err(ends::refused(Moment::Hello, &answer));
            }
            let Self { wire, .. } = session;
            session = Self {
                wire: wire
                    .encrypt(tls, &server.host, soon(ENCRYPT))
                    .map_err(lost)?,
                server,
                // Extensions offered before the encryption are discarded (RFC 3207 §4.2).
                offers: Vec::new(),
                ready,
                until,
            };
            session.hello(hello)?;
        }
        session.log_in()?;
        Ok(session)
    }

    /// Sends a command and reads its reply.
    fn ask(&mut self, line: &str, bound: Duration) -> Result<Reply, SendOutcome> {
        let until = self.ready.min(Instant::now() + bound);
        let sent = self
            .wire
            .write(format!("{line}\r\n").as_bytes(), bound, until);
        let answer = match sent {
            Ok(()) => self.wire.reply(until),
            Err(error) => self.last_words().ok_or(error),
        };
        answer.map_err(|error| ends::no_connection(&error))
    }

    /// The reply of a server that closed the connection before reading.
    fn last_words(&mut self) -> Option<Reply> {
        let until = self.until.min(Instant::now() + LAST_WORDS);
        self.wire.reply(until).ok()
    }

    fn hello(&mut self, name: &str) -> Result<(), SendOutcome> {
        let mut answer = self.ask(&format!("EHLO {name}"), COMMAND)?;
        if (500..505).contains(&answer.code) {
            // A server without extensions (§4.1.4).
            answer = self.ask(&format!("HELO {name}"), COMMAND)?;
            answer.lines.truncate(1);
        }
        if !answer.is_positive() {
            return Err(ends::refused(Moment::Hello, &answer));
        }
        self.offers = answer
            .lines
            .iter()
            .skip(1)
            .map(|line| line.to_ascii_uppercase())
            .collect();
        Ok(())
    }

    fn offers(&self, extension: &str) -> bool {
        let mut named = self
            .offers
            .iter()
            .filter_map(|line| line.split([' ', '=']).next());
        named.any(|name| name == extension)
    }

    fn log_in(&mut self) -> Result<(), SendOutcome> {
        let Some((user, password)) = &self.server.credentials else {
            return Ok(());
        };
        let offered = |mechanism: &str| {
            let words = self.offers.iter().filter(|line| line.starts_with("AUTH"));
            words
                .flat_map(|line| line.split([' ', '=']))
                .any(|word| word == mechanism)
        };
        let answer = if offered("PLAIN") {
            let secret = STANDARD.encode(format!("\0{user}\0{password}"));
            self.ask(&format!("AUTH PLAIN {secret}"), COMMAND)?
        } else if offered("LOGIN") {
            let mut answer = self.ask("AUTH LOGIN", COMMAND)?;
            for word in [user, password] {
                if answer.code == 334 {
                    answer = self.ask(&STANDARD.encode(word), COMMAND)?;
                }
            }
            answer
        } else {
            return Err(ends::no_mechanism());
        };
        match answer.code {
            200..300 => Ok(()),
            _ => Err(ends::of_login(&answer, self.server)),
        }
    }

    /// Sends the sender and the recipient, and starts DATA.
    fn announce(&mut self, envelope: &Envelope) -> Result<(), SendOutcome> {
        let mut parameters = "";
        if envelope.needs_utf8() {
            // RFC 6531 §3.4: only a server that offers SMTPUTF8 may get such an address.
            if !self.offers("SMTPUTF8") {
                return Err(ends::no_utf8());
            }
            parameters = " SMTPUTF8 BODY=8BITMIME";
        }
        let from = format!("MAIL FROM:<{}>{parameters}", envelope.from);
        let to = format!("RCPT TO:<{}>", envelope.to);
        for (moment, line) in [(Moment::Sender, from), (Moment::Recipient, to)] {
            let answer = self.ask(&line, COMMAND)?;
            if !answer.is_positive() {
                return Err(ends::of(moment, &answer, envelope));
            }
        }
        let answer = self.ask("DATA", DATA)?;
        match answer.code {
            354 => Ok(()),
            400..600 => Err(ends::of(Moment::Data, &answer, envelope)),
            _ => Err(ends::confused()),
        }
    }

    fn hand_over(&mut self, message: &[u8]) -> Result<(), SendOutcome> {
        if let Err(error) = self.wire.write(&stuffed(message), BLOCK, self.until) {
            // Without the final dot the server cannot have accepted the message.
            return Err(match self.last_words() {
                Some(answer) if answer.code >= 400 => ends::refused(Moment::Message, &answer),
                _ => ends::not_there(&error),
            });
        }
        let answer = self
            .wire
            .write(b".\r\n", BLOCK, self.until)
            .and_then(|()| self.wire.reply(self.until.min(Instant::now() + END)));
        match answer {
            Ok(answer) if answer.is_positive() => {
                // No need to wait for the answer: the server has the message.
                let _ = self.wire.write(b"QUIT\r\n", LAST_WORDS, self.until);
                Ok(())
            }
            Ok(answer) if answer.code >= 400 => Err(ends::refused(Moment::Message, &answer)),
            Ok(answer) => Err(SendOutcome::unknown(format!(
                "the server answered {answer} to the message, which neither accepts nor refuses it"
            ))),
            Err(error) => Err(SendOutcome::unknown(format!(
                "the server's answer to the message was lost: {error}"
            ))),
        }
    }
}

/// The message for DATA: dots at the start of a line are doubled (§4.5.2), and it ends with CRLF.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 50 + 8);
    let mut begins = true;
    for byte in message {
        if begins && *byte == b'.' {
            out.push(b'.');
        }
        out.push(*byte);
        begins = *byte == b'\n';
    }
    if !begins {
        out.extend_from_slice(b"\r\n");
    }
    out
}
