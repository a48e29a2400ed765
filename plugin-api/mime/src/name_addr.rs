//! An address with a display name, as people write it in settings and requests (RFC 5322 §3.4).

use std::fmt;

use hogsend_semantics::address::{Mailbox, NoAddress};

/// The longest display name, in characters: a line of a message has at most 998 octets.
const NAME_MAX: usize = 200;

/// A display name and an address. [`Display`](fmt::Display) writes it in the syntax of RFC 5322, so
/// it can be passed to a provider that parses mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name, without the quotes it may have been written in.
    pub name: Option<String>,
    /// `local@domain`, with the domain in ASCII (RFC 5890 §2.3.2.1).
    pub address: String,
}

/// Why a text cannot be parsed. The message continues "the sender …" or "EMAIL_FROM …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameAddrError {
    /// There is no `local@domain`.
    NoAddress,
    /// The domain is not a valid host name.
    Domain,
    /// The local part exceeds 64 octets (RFC 5321 §4.5.3.1.1).
    LongLocalPart,
    /// The address exceeds 254 octets (RFC 5321 §4.5.3.1.3).
    Long,
    /// There is more than one address.
    SeveralAddresses,
    /// The whole text is in quotes, usually those of a shell or an environment file.
    QuotedWhole,
    /// A quoted name without its closing quote, or angle brackets within a name.
    Name,
    /// The display name exceeds 200 characters.
    LongName,
    /// A line break or another control character, which could begin another header.
    ControlCharacter,
}

impl fmt::Display for NameAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAddress => "is not an email address",
            Self::Domain => "is not an email address, its domain is not a valid name",
            Self::LongLocalPart => {
                "is not an email address, there are more than 64 octets before the @"
            }
            Self::Long => "is not an email address, it is longer than 254 octets",
            Self::SeveralAddresses => "has several addresses: give one",
            Self::QuotedWhole => {
                "is not an email address, it is in quotation marks: leave them out"
            }
            Self::Name => {
                "has a name with a single quotation mark or with angle brackets: write \"Name\" <address>"
            }
            Self::LongName => "has a name of more than 200 characters",
            Self::ControlCharacter => "contains a line break or another control character",
        })
    }
}

impl std::error::Error for NameAddrError {}

impl std::str::FromStr for NameAddr {
    type Err = NameAddrError;

    /// Parses `local@domain`, `<local@domain>`, `Name <local@domain>` or `"Name" <local@domain>`. A
    /// name with commas or other special characters need not be quoted.
    ///
    /// # Errors
    ///
    /// Why the text cannot be parsed.
    fn from_str(text: &str) -> Result<Self, NameAddrError> {
        if text.contains(char::is_control) {
            return Err(NameAddrError::ControlCharacter);
        }
        let text = text.trim();
        let Some(inner) = text.strip_suffix('>') else {
            return Ok(Self {
                name: None,
                address: address(text).map_err(|error| guess(text, error))?,
            });
        };
        let (name, bare) = inner.rsplit_once('<').ok_or(NameAddrError::NoAddress)?;
        let name = name.trim();
        if !name.contains('"') && is_list(name) {
            return Err(NameAddrError::SeveralAddresses);
        }
        let name = phrase(name)?;
        if name.chars().count() > NAME_MAX {
            return Err(NameAddrError::LongName);
        }
        Ok(Self {
            name: Some(name).filter(|name| !name.is_empty()),
            address: address(bare.trim())?,
        })
    }
}

impl fmt::Display for NameAddr {
    /// Quotes a name that is not only plain words (RFC 5322 §3.2.4). Non-ASCII letters stay unencoded
    /// (RFC 6532 §3.2): the message builder or the provider encodes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = &self.name else {
            return f.write_str(&self.address);
        };
        let plain = |c: char| is_atext(c) || c == ' ';
        // Mail clients would decode a name that looks encoded (RFC 2047 §5).
        if name.chars().all(plain) && !name.contains("=?") && !name.contains("  ") {
            return write!(f, "{name} <{}>", self.address);
        }
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        write!(f, "\"{quoted}\" <{}>", self.address)
    }
}

impl NameAddr {
    /// The part after the `@`, in ASCII.
    pub fn domain(&self) -> &str {
        self.address
            .rsplit_once('@')
            .map_or("", |(_, domain)| domain)
    }
}

/// A more specific error for the usual mistakes in a text without angle brackets.
fn guess(text: &str, error: NameAddrError) -> NameAddrError {
    let unquoted = ['"', '\'', '`', '“']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote))
        .map(|text| text.trim_end_matches(['"', '\'', '`', '”']));
    if unquoted.is_some_and(|text| text.parse::<NameAddr>().is_ok()) {
        return NameAddrError::QuotedWhole;
    }
    if is_list(text) {
        return NameAddrError::SeveralAddresses;
    }
    error
}

/// Whether the text is a list, separated by commas or semicolons, with at least one address.
fn is_list(text: &str) -> bool {
    let parts: Vec<&str> = text.split([',', ';']).collect();
    parts.len() > 1
        && parts
            .iter()
            .any(|part| part.trim().parse::<NameAddr>().is_ok())
}

/// A display name: words, quoted or not (RFC 5322 §3.2.5).
fn phrase(text: &str) -> Result<String, NameAddrError> {
    let mut name = String::new();
    let mut quoted = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => name.push(chars.next().ok_or(NameAddrError::Name)?),
            '>' if !quoted => return Err(NameAddrError::Name),
            c => name.push(c),
        }
    }
    if quoted {
        return Err(NameAddrError::Name);
    }
    Ok(name.trim().to_owned())
}

fn address(text: &str) -> Result<String, NameAddrError> {
    match Mailbox::parse(text) {
        Ok(mailbox) => Ok(mailbox.ascii()),
        Err(NoAddress::Form) => Err(NameAddrError::NoAddress),
        Err(NoAddress::Domain) => Err(NameAddrError::Domain),
        Err(NoAddress::LongLocal) => Err(NameAddrError::LongLocalPart),
        Err(NoAddress::Long) => Err(NameAddrError::Long),
    }
}

/// RFC 5322 §3.2.3, with RFC 6532 §3.2 for non-ASCII letters.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(c)
        || !c.is_ascii() && !c.is_control() && !c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::{NameAddr, NameAddrError as E};

    #[test]
    fn a_name_with_specials_is_quoted_and_others_are_not() {
        for (given, written) in [
            ("hello@acme.example", "hello@acme.example"),
            ("<hello@acme.example>", "hello@acme.example"),
            (" Acme <hello@acme.example> ", "Acme <hello@acme.example>"),
            ("Acme<hello@acme.example>", "Acme <hello@acme.example>"),
            ("\"\" <hello@acme.example>", "hello@acme.example"),
            (
                "Acme, Inc. <hello@acme.example>",
                "\"Acme, Inc.\" <hello@acme.example>",
            ),
            (
                "\"Acme, Inc.\" <hello@acme.example>",
                "\"Acme, Inc.\" <hello@acme.example>",
            ),
            ("\"Acme\" <hello@acme.example>", "Acme <hello@acme.example>"),
            (
                "Ann (Acme) <hello@acme.example>",
                "\"Ann (Acme)\" <hello@acme.example>",
            ),
            ("J. Doe <j@acme.example>", "\"J. Doe\" <j@acme.example>"),
            (
                "Ann @ Acme <a@acme.example>",
                "\"Ann @ Acme\" <a@acme.example>",
            ),
            (
                "a@acme.example <a@acme.example>",
                "\"a@acme.example\" <a@acme.example>",
            ),
            (
                r#""The \"Best\" \\ <Shop>" <a@acme.example>"#,
                r#""The \"Best\" \\ <Shop>" <a@acme.example>"#,
            ),
            ("a\\b <a@acme.example>", r#""a\\b" <a@acme.example>"#),
            (
                "O'Neil & Söhne <a@acme.example>",
                "O'Neil & Söhne <a@acme.example>",
            ),
            (
                "株式会社、例 <a@acme.example>",
                "株式会社、例 <a@acme.example>",
            ),
            (
                "=?utf-8?Q?Ann?= <a@acme.example>",
                "\"=?utf-8?Q?Ann?=\" <a@acme.example>",
            ),
            ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
        ] {
            let mailbox: NameAddr = given
                .parse()
                .unwrap_or_else(|error| panic!("{given}: {error}"));
            assert_eq!(mailbox.to_string(), written);
            assert_eq!(
                written.parse(),
                Ok(mailbox),
                "what is written is read again"
            );
        }
    }

    #[test]
    fn what_is_no_mailbox_is_refused_with_the_reason() {
        for (given, error) in [
            ("", E::NoAddress),
            ("foo", E::NoAddress),
            ("<>", E::NoAddress),
            ("Acme <>", E::NoAddress),
            ("Acme <hello>", E::NoAddress),
            ("Acme hello@acme.example", E::NoAddress),
            ("Acme <hello@acme.example", E::NoAddress),
            ("Acme <hello@acme.example> x", E::NoAddress),
            ("hello@acme_shop.example", E::Domain),
            ("\"Acme <hello@acme.example>\"", E::QuotedWhole),
            ("'Acme <hello@acme.example>'", E::QuotedWhole),
            ("\"hello@acme.example\"", E::QuotedWhole),
            ("'hello@acme.example'", E::QuotedWhole),
            ("a@acme.example, b@acme.example", E::SeveralAddresses),
            ("a@acme.example;b@acme.example", E::SeveralAddresses),
            (
                "A <a@acme.example>, B <b@acme.example>",
                E::SeveralAddresses,
            ),
            ("a@acme.example, B <b@acme.example>", E::SeveralAddresses),
            ("A <b> <a@acme.example>", E::Name),
            ("\"Acme <a@acme.example>", E::Name),
            ("5\" Screens <a@acme.example>", E::Name),
            ("Acme\r\nBcc: x@y.z <a@acme.example>", E::ControlCharacter),
            ("Acme <a@acme.example>\n", E::ControlCharacter),
            ("Ac\u{0}me <a@acme.example>", E::ControlCharacter),
            ("Ac\u{85}me <a@acme.example>", E::ControlCharacter),
        ] {
            assert_eq!(given.parse::<NameAddr>(), Err(error), "{given:?}");
        }
        let long = format!("{} <a@acme.example>", "x".repeat(201));
        assert_eq!(long.parse::<NameAddr>(), Err(E::LongName));
    }
}
