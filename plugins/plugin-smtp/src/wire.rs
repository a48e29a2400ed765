//! Reads and writes lines over one connection, each with a deadline.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::reply::{Line, Reply};

/// The most octets kept of a line; the rest is read and dropped. RFC 5321 §4.5.3.1.5 allows 512, but
/// servers send more.
const LINE_MAX: usize = 4 * 1024;
/// The most lines of one reply.
const LINES_MAX: usize = 512;
/// The most octets of one reply, kept or dropped.
const REPLY_MAX: usize = 1024 * 1024;
/// The most octets written at once.
const PIECE: usize = 16 * 1024;

enum Stream {
    Clear(TcpStream),
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
}

pub struct Wire {
    stream: Stream,
    /// Read but not yet used.
    waiting: Vec<u8>,
}

impl Wire {
    pub fn connect(address: SocketAddr, within: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, within)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: Stream::Clear(stream),
            waiting: Vec::new(),
        })
    }

    /// Encrypts the connection. Unrequested plain text before the handshake is an attack (RFC 3207
    /// §6) and ends the connection.
    pub fn encrypt(
        self,
        config: &Arc<ClientConfig>,
        host: &str,
        until: Instant,
    ) -> io::Result<Self> {
        if !self.waiting.is_empty() {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "the server sent data before the encryption began",
            ));
        }
        let Stream::Clear(mut stream) = self.stream else {
            return Err(io::Error::other("the connection is already encrypted"));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            bound(&stream, until)?;
            session.complete_io(&mut stream).map_err(timed_out)?;
        }
        Ok(Self {
            stream: Stream::Encrypted(Box::new(StreamOwned::new(session, stream))),
            waiting: Vec::new(),
        })
    }

    /// Reads one reply. The error has the kind `InvalidData` where the data is not SMTP.
    pub fn reply(&mut self, until: Instant) -> io::Result<Reply> {
        let mut lines = Vec::new();
        let mut octets = 0;
        loop {
            let (line, length) = self.line(until)?;
            octets += length;
            let garbage =
                || io::Error::new(ErrorKind::InvalidData, "the server's reply is not SMTP");
            let line = Line::read(&line).ok_or_else(garbage)?;
            let last = line.last;
            lines.push(line);
            if last {
                return Ok(Reply::of(lines));
            }
            if lines.len() >= LINES_MAX || octets > REPLY_MAX {
                return Err(garbage());
            }
        }
    }

    /// The next line without its line end, truncated, and its full length.
    fn line(&mut self, until: Instant) -> io::Result<(Vec<u8>, usize)> {
        let mut line = Vec::new();
        let mut length = 0;
        loop {
            let end = self.waiting.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(self.waiting.len());
            let room = LINE_MAX.saturating_sub(line.len());
            line.extend_from_slice(&self.waiting[..taken.min(room)]);
            length += taken;
            self.waiting.drain(..end.map_or(taken, |end| end + 1));
            if end.is_some() {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok((line, length));
            }
            if length > REPLY_MAX {
                return Err(io::Error::new(ErrorKind::InvalidData, "an endless line"));
            }
            let mut piece = [0; 4 * 1024];
            bound(self.tcp(), until)?;
            let read = match &mut self.stream {
                Stream::Clear(stream) => stream.read(&mut piece),
                Stream::Encrypted(stream) => stream.read(&mut piece),
            };
            match read.map_err(timed_out)? {
                // The last line may lack its line end.
                0 if length > 0 => return Ok((line, length)),
                0 => {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "the server closed the connection",
                    ));
                }
                count => self.waiting.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// Writes everything, with a timeout of `each` per piece and the deadline `until` for all.
    pub fn write(&mut self, bytes: &[u8], each: Duration, until: Instant) -> io::Result<()> {
        for piece in bytes.chunks(PIECE) {
            bound(self.tcp(), until.min(Instant::now() + each))?;
            match &mut self.stream {
                Stream::Clear(stream) => stream.write_all(piece),
                Stream::Encrypted(stream) => stream.write_all(piece).and_then(|()| stream.flush()),
            }
            .map_err(timed_out)?;
        }
        Ok(())
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Clear(stream) => stream,
            Stream::Encrypted(stream) => &stream.sock,
        }
    }
}

/// Sets the deadline of the next read or write.
fn bound(stream: &TcpStream, until: Instant) -> io::Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::Error::new(
            ErrorKind::TimedOut,
            "the server took too long",
        ));
    }
    stream.set_read_timeout(Some(left))?;
    stream.set_write_timeout(Some(left))
}

/// A socket's timeout as `TimedOut`: its error kind differs between systems.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            io::Error::new(ErrorKind::TimedOut, "the server took too long")
        }
        _ => error,
    }
}
