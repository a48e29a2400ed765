//! The SMTP envelope, stored with the message in the prepared bytes.

use hogsend_mime as mime;
use hogsend_plugin_api::{Mail, Prepared};
use serde::{Deserialize, Serialize};

/// The content type of the bytes from [`Envelope::freeze`]: a line of JSON, then the message.
const KIND: &str = "application/x-hogsend-smtp; version=1";

/// An envelope (RFC 5321 §2.3.1), which is independent of the message's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub from: String,
    pub to: String,
    pub message_id: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    from: String,
    to: String,
    message_id: String,
}

impl Envelope {
    pub fn of(mail: &Mail) -> Result<Self, String> {
        Self::read(Line {
            from: mime::bare_address("sender", &mail.from)?,
            to: mime::bare_address("recipient", &mail.to)?,
            message_id: mail.message_id.clone(),
        })
    }

    /// Validates the addresses, also stored ones of another version: they become protocol lines.
    fn read(line: Line) -> Result<Self, String> {
        Ok(Self {
            from: mime::bare_address("sender", &line.from)?,
            to: mime::bare_address("recipient", &line.to)?,
            message_id: line.message_id,
        })
    }

    pub fn freeze(&self, message: &[u8]) -> Prepared {
        let line = Line {
            from: self.from.clone(),
            to: self.to.clone(),
            message_id: self.message_id.clone(),
        };
        let mut body = serde_json::to_vec(&line).unwrap_or_default();
        body.push(b'\n');
        body.extend_from_slice(message);
        Prepared::new(KIND, body)
    }

    /// The envelope and the message from prepared bytes.
    pub fn thaw(prepared: &Prepared) -> Result<(Self, &[u8]), String> {
        let unreadable = || {
            format!(
                "the prepared mail has the type '{}', which this version cannot read",
                prepared.content_type
            )
        };
        if prepared.content_type != KIND {
            return Err(unreadable());
        }
        let body = prepared.body.as_slice();
        let end = body.iter().position(|byte| *byte == b'\n');
        let (line, message) = body.split_at(end.ok_or_else(unreadable)?);
        let line = serde_json::from_slice(line).map_err(|_| unreadable())?;
        // The protocol marks the end of the message, including a final line end.
        let message = message[1..].strip_suffix(b"\r\n").unwrap_or(&message[1..]);
        Ok((Self::read(line)?, message))
    }

    /// Whether an address has non-ASCII letters; domains are already in ASCII.
    pub fn needs_utf8(&self) -> bool {
        !self.from.is_ascii() || !self.to.is_ascii()
    }

    /// The name for EHLO: the sender's domain.
    pub fn hello(&self) -> String {
        self.from
            .rsplit_once('@')
            .map_or("localhost", |(_, domain)| domain)
            .to_owned()
    }
}
