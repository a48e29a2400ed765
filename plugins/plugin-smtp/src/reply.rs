//! A reply of the server (RFC 5321 §4.2): only its three digits are significant, not the text.

use std::fmt;

/// The most characters of the server's text in a reason.
const WORDS_MAX: usize = 400;

/// A whole reply of one or more lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// The enhanced status code (RFC 3463) at the start of the text, where there is one.
    pub status: Option<Status>,
    /// The text of each line; a line that is not UTF-8 is read as Latin-1.
    pub lines: Vec<String>,
}

/// `class.subject.detail`, for example 5.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u8, pub u16, pub u16);

/// A line of a reply.
pub struct Line {
    code: u16,
    pub last: bool,
    text: String,
}

impl Line {
    /// Parses a line; `None` where it does not begin with three digits.
    pub fn read(line: &[u8]) -> Option<Self> {
        let digits = line.get(..3)?;
        if !digits.iter().all(u8::is_ascii_digit) || !(b'1'..=b'5').contains(&digits[0]) {
            return None;
        }
        let code = digits
            .iter()
            .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        let rest = line.get(4..).unwrap_or_default();
        Some(Self {
            code,
            last: line.get(3) != Some(&b'-'),
            text: match std::str::from_utf8(rest) {
                Ok(text) => text.to_owned(),
                Err(_) => rest.iter().copied().map(char::from).collect(),
            },
        })
    }
}

impl Reply {
    pub fn of(lines: Vec<Line>) -> Self {
        let code = lines.last().map_or(0, |line| line.code);
        let status = lines.iter().rev().find_map(|line| status(&line.text));
        Self {
            code,
            status,
            lines: lines.into_iter().map(|line| line.text).collect(),
        }
    }

    pub fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// The text in lower case, to search for phrases.
    pub fn lower(&self) -> String {
        self.lines.join(" ").to_lowercase()
    }
}

/// The code and the server's text, short and on one line.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.lines.join(" ");
        let clean = words.chars().filter(|c| !c.is_control()).take(WORDS_MAX);
        let clean: String = clean.collect();
        let clean = clean.trim_end_matches(['.', ' ']).trim_start();
        match clean {
            "" => write!(f, "{}", self.code),
            words => write!(f, "{} {words}", self.code),
        }
    }
}

fn status(text: &str) -> Option<Status> {
    let first = text.trim_start().split([' ', ':', ';', '<']).next()?;
    let mut parts = first.split('.');
    let mut number = || {
        parts
            .next()
            .filter(|part| part.len() <= 3)?
            .parse::<u16>()
            .ok()
    };
    let (class, subject, detail) = (number()?, number()?, number()?);
    (parts.next().is_none() && matches!(class, 2 | 4 | 5))
        .then(|| Status(u8::try_from(class).unwrap_or_default(), subject, detail))
}

#[cfg(test)]
mod tests {
    use super::{Line, Reply, Status};

    fn reply(lines: &[&[u8]]) -> Reply {
        Reply::of(lines.iter().map(|line| Line::read(line).unwrap()).collect())
    }

    #[test]
    fn only_the_digits_count() {
        for (line, code, words) in [
            (b"250".as_slice(), 250, ""),
            (b"250 ", 250, ""),
            (b"250 ok", 250, "ok"),
            (b"250\tok", 250, "ok"),
            (b"550 bo\xeete pleine", 550, "boîte pleine"),
            ("550 boîte pleine".as_bytes(), 550, "boîte pleine"),
        ] {
            let reply = reply(&[line]);
            assert_eq!((reply.code, reply.lines[0].as_str()), (code, words));
        }
        for garbage in [b"".as_slice(), b"25", b"what?", b"650 x", b"2x0 y"] {
            assert!(Line::read(garbage).is_none());
        }
        assert!(!Line::read(b"250-more").unwrap().last);
    }

    #[test]
    fn enhanced_codes_are_found_where_they_are_and_nowhere_else() {
        let of = |text: &str| reply(&[format!("550 {text}").as_bytes()]).status;
        assert_eq!(of("5.1.1 no such user"), Some(Status(5, 1, 1)));
        assert_eq!(of("5.7.1: denied"), Some(Status(5, 7, 1)));
        assert_eq!(of("5.2.252 SendAsDenied"), Some(Status(5, 2, 252)));
        for none in [
            "",
            "gone",
            "1.2.3.4 blocked",
            "10.0.0.1",
            "3.1.1 x",
            "5.1 x",
            "5.1.1.1 x",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
        let several = reply(&[b"550-5.2.1 The account", b"550 5.2.1 is disabled"]);
        assert_eq!(several.status, Some(Status(5, 2, 1)));
        assert_eq!(
            several.to_string(),
            "550 5.2.1 The account 5.2.1 is disabled"
        );
    }
}
