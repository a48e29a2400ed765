//! The sender of mails.

use hogsend_mime::NameAddr;

use super::reader::{QUOTED, Reader, is_quoted};

/// The sender in development, where mails stay on this machine.
pub(super) const DEVELOPMENT: &str = "Hogsend <noreply@hogsend.com>";

pub(super) const FROM: &str = "EMAIL_FROM";
pub(super) const FROM_TRANSACTIONAL: &str = "EMAIL_FROM_TRANSACTIONAL";

/// Reads a sender from the host's settings; empty where it is not set. One that cannot be parsed is a
/// problem.
pub(super) fn read(reader: &mut Reader<'_>, name: &str) -> String {
    let Some(text) = reader.optional(name) else {
        return String::new();
    };
    if let Some(wrong) = wrong(&text) {
        reader.problem(name, wrong);
    }
    text
}

/// The problem of a text that is not a single sender, `Name <local@domain>` or a bare address (RFC
/// 5322 §3.4).
pub(super) fn wrong(text: &str) -> Option<String> {
    if is_quoted(text) {
        return Some(QUOTED.to_owned());
    }
    let error = text.parse::<NameAddr>().err()?;
    Some(format!(
        "is '{}', which {error}: use one address, for example hello@acme.com or Acme <hello@acme.com>",
        text.escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::wrong;

    #[test]
    fn a_sender_is_one_address_with_or_without_a_name() {
        for right in [
            "hello@acme.com",
            "Acme <hello@acme.com>",
            "\"Acme, Inc. @ home\" <hello@acme.com>",
            "Acme, Inc. <hello@acme.com>",
            "Bücher <hallo@bücher.example>",
        ] {
            assert_eq!(wrong(right), None, "{right}");
        }
        for refused in [
            "foo",
            "Acme",
            "Acme <hello>",
            "Acme hello@acme.com",
            "a@acme.com, b@acme.com",
            "A <a@acme.com>, B <b@acme.com>",
            "\"Acme <hello@acme.com>\"",
            "'hello@acme.com'",
            "hello@",
            "@acme.com",
            "hello@acme..com",
            "Acme\r\nBcc: x@y.z <hello@acme.com>",
        ] {
            assert!(wrong(refused).is_some(), "{refused}");
        }
    }
}
