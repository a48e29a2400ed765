//! Keeps addresses out of logs, whoever wrote them into a message: a provider's reason or an error may quote one.

use std::borrow::Cow;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// What stands for an address.
const MASK: &str = "[address]";

/// Writes lines to standard error, with addresses masked.
#[derive(Clone, Copy)]
pub(super) struct Masked;

impl MakeWriter<'_> for Masked {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl Write for Masked {
    /// A line comes whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(&mask(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A byte that may belong to an address in running text or in JSON.
fn belongs(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._%+-!#$&*/?^`|~".contains(&byte) || byte >= 0x80
}

/// The bytes with each `local@domain` masked, in place of which a password in a URL may stand too.
fn mask(line: &[u8]) -> Cow<'_, [u8]> {
    let mut masked = Vec::new();
    let mut done = 0;
    let mut from = 0;
    while let Some(found) = line[from..].iter().position(|byte| *byte == b'@') {
        let at = from + found;
        let start = line[done..at].iter().rposition(|byte| !belongs(*byte));
        let start = start.map_or(done, |before| done + before + 1);
        let end = line[at + 1..].iter().position(|byte| !belongs(*byte));
        let end = end.map_or(line.len(), |after| at + 1 + after);
        from = at + 1;
        if start < at && end > from {
            masked.extend_from_slice(&line[done..start]);
            masked.extend_from_slice(MASK.as_bytes());
            done = end;
            from = end;
        }
    }
    if done == 0 {
        return Cow::Borrowed(line);
    }
    masked.extend_from_slice(&line[done..]);
    Cow::Owned(masked)
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn addresses_are_masked_wherever_they_stand() {
        for (line, masked) in [
            ("nothing here", "nothing here"),
            ("to ann@example.com: refused", "to [address]: refused"),
            (
                "<ann+tag@sub.example.com>,bob@x.test",
                "<[address]>,[address]",
            ),
            (
                r#"{"reason":"550 5.1.1 <jürgen@münchen.example>"}"#,
                r#"{"reason":"550 5.1.1 <[address]>"}"#,
            ),
            (
                "postgres://user:secret@host/db",
                "postgres://user:[address]",
            ),
            ("a @ b, @current and end@", "a @ b, @current and end@"),
            ("a@b@c", "[address]@c"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&mask(line.as_bytes())), masked);
        }
    }
}
