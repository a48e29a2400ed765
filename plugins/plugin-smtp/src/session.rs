//! One mail over one connection, with the time-outs of RFC 5321 §4.5.3.2.

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
/// §4.5.3.2.6: the server may filter the message first, and one that is not waited for is sent twice.
const END: Duration = Duration::from_secs(10 * 60);
/// All of an attempt: what the message may take, and a quarter of an hour for getting there.
pub const ATTEMPT: Duration = Duration::from_secs(30 * 60);
/// What is kept for the message and its answer out of an attempt.
const MESSAGE: Duration = Duration::from_secs(15 * 60);
/// An attempt of a host that does not say how long it waits.
pub const UNSAID: Duration = Duration::from_secs(27);
/// Addresses of the server that are tried.
const ADDRESSES_MAX: usize = 2;
/// For what a server said before it hung up.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A connection that may send, and by when it must be done.
struct Session<'a> {
    server: &'a Server,
    wire: Wire,
    /// What the server offers, from its answer to EHLO.
    offers: Vec<String>,
    /// By then the server must have asked for the message.
    ready: Instant,
    /// By then the host counts the mail as in doubt.
    until: Instant,
}

/// Hands one message over. Whatever goes wrong before that leaves it with us; once it is on its way,
/// only the server's answer tells.
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
        Ok(()) => SendOutcome::Accepted {
            message_id: envelope.message_id.clone(),
        },
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
        let mut wire = Err(io::Error::other("its name has no address"));
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
                // What was offered in clear is forgotten (RFC 3207 §4.2).
                offers: Vec::new(),
                ready,
                until,
            };
            session.hello(hello)?;
        }
        session.log_in()?;
        Ok(session)
    }

    /// Sends a line and reads its answer, before the message.
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

    /// What a server said that hung up without listening.
    fn last_words(&mut self) -> Option<Reply> {
        let until = self.until.min(Instant::now() + LAST_WORDS);
        self.wire.reply(until).ok()
    }

    fn hello(&mut self, name: &str) -> Result<(), SendOutcome> {
        let mut answer = self.ask(&format!("EHLO {name}"), COMMAND)?;
        if (500..505).contains(&answer.code) {
            // A server that knows no extensions (§4.1.4).
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

    /// Names sender and recipient, and asks to hand over the message.
    fn announce(&mut self, envelope: &Envelope) -> Result<(), SendOutcome> {
        let mut parameters = "";
        if envelope.needs_utf8() {
            // RFC 6531 §3.4: a server that does not offer it must not be given such an address.
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
            // Without the final dot the server cannot have taken the message.
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
                // Nobody waits for the answer: the message is theirs.
                let _ = self.wire.write(b"QUIT\r\n", LAST_WORDS, self.until);
                Ok(())
            }
            Ok(answer) if answer.code >= 400 => Err(ends::refused(Moment::Message, &answer)),
            Ok(answer) => Err(SendOutcome::unknown(format!(
                "the server answered {answer} to the message, which is neither yes nor no"
            ))),
            Err(error) => Err(SendOutcome::unknown(format!(
                "the server's answer to the message was lost: {error}"
            ))),
        }
    }
}

/// A message as it travels: a dot that begins a line is doubled (§4.5.2), and the last line ends.
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
