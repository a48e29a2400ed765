//! Who mails come from.

use hogsend_plugin_api::mime;

use super::reader::{QUOTED, Reader, is_quoted};

/// The sender of mails that stay on this machine.
pub(super) const DEVELOPMENT: &str = "Hogsend <noreply@hogsend.com>";

/// Reads a sender of the host's own settings; one that cannot be parsed is a problem.
pub(super) fn read(reader: &mut Reader<'_>, name: &str) -> Option<String> {
    let text = reader.optional(name)?;
    if let Some(wrong) = wrong(&text) {
        reader.problem(name, wrong);
    }
    Some(text)
}

/// Why a text is no single sender, `Name <local@domain>` or a bare address (RFC 5322 §3.4).
pub(super) fn wrong(text: &str) -> Option<String> {
    const FORM: &str = "use one address, as hello@acme.com or Acme <hello@acme.com>";
    if is_quoted(text) {
        return Some(QUOTED.to_owned());
    }
    let shown = text.escape_debug();
    if outside_quotes(text).matches('@').count() > 1 {
        return Some(format!("is '{shown}', which is several addresses: {FORM}"));
    }
    match mime::ascii_address("sender", text) {
        Ok(_) => None,
        Err(_) => Some(format!("is '{shown}', which is no address: {FORM}")),
    }
}

/// A text without its quoted parts, in which any character may stand (RFC 5322 §3.2.4).
fn outside_quotes(text: &str) -> String {
    let mut quoted = false;
    let mut escaped = false;
    let mut outside = String::new();
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted => outside.push(c),
            _ => {}
        }
    }
    outside
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
        ] {
            assert!(wrong(refused).is_some(), "{refused}");
        }
    }
}
