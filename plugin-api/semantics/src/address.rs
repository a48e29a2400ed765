//! What an email address is, and when two of them are the same mailbox.
//!
//! All code that accepts, compares, stores or sends to an address uses this module, so every address
//! that the API accepts can be mailed, and two spellings are the same mailbox everywhere or nowhere.
//! SQL's `lower` is never used: it depends on the server's locale.

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Octets before the `@` (RFC 5321 §4.5.3.1.1).
pub const LOCAL_MAX: usize = 64;
/// Octets of an address: a path has 256, two of them the angle brackets (RFC 5321 §4.5.3.1.3).
pub const ADDRESS_MAX: usize = 254;

/// The form in which addresses are compared: trimmed, NFC, without format characters (Unicode
/// category Cf), the domain in lower-case punycode, the local part in simple lower case. `None`
/// where the text is not an address. The function is idempotent.
pub fn normalise(text: &str) -> Option<String> {
    Mailbox::parse(text).ok().map(|it| it.normalised())
}

/// [`normalise`]; for a text that is not an address (older versions stored some) the whole text in
/// lower case and NFC. For comparisons with stored values.
pub fn comparable(text: &str) -> String {
    normalise(text).unwrap_or_else(|| lower(&visible(text)))
}

/// A parsed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    local: String,
    /// As written.
    domain: String,
    /// The domain in lower-case ASCII (punycode).
    ascii: String,
}

impl Mailbox {
    /// Parses `local@domain`: a dot-atom (RFC 5322 §3.2.3, with non-ASCII letters by RFC 6532 §3.2)
    /// and a domain name, which may be internationalized (RFC 5890 §2.3.2). Surrounding whitespace
    /// and invisible format characters are removed. Quoted local parts, comments and address
    /// literals are refused: no person's mailbox needs them.
    ///
    /// # Errors
    ///
    /// Why the text is not an address.
    pub fn parse(text: &str) -> Result<Self, NoAddress> {
        let text = visible(text);
        let (local, domain) = text.rsplit_once('@').ok_or(NoAddress::Form)?;
        if !is_dot_atom(local) {
            return Err(NoAddress::Form);
        }
        if local.len() > LOCAL_MAX {
            return Err(NoAddress::LongLocal);
        }
        // RFC 5891 reserves names with hyphens in the third and fourth place, but registries had
        // assigned some before.
        let ascii = Uts46::new()
            .to_ascii(
                domain.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::Verify,
            )
            .map_err(|_| NoAddress::Domain)?
            .into_owned();
        if local.len() + 1 + ascii.len() > ADDRESS_MAX {
            return Err(NoAddress::Long);
        }
        Ok(Self {
            local: local.to_owned(),
            domain: domain.to_owned(),
            ascii,
        })
    }

    /// The address as written, without invisible characters.
    pub fn written(&self) -> String {
        format!("{}@{}", self.local, self.domain)
    }

    /// The form for mail servers: the domain in ASCII, the local part unchanged, because only the
    /// recipient's server knows whether its case matters (RFC 5321 §2.4).
    pub fn ascii(&self) -> String {
        format!("{}@{}", self.local, self.ascii)
    }

    /// See [`normalise`].
    pub fn normalised(&self) -> String {
        format!("{}@{}", lower(&self.local), self.ascii)
    }
}

/// Why a text is not an address. The message continues "… is not an email address: ".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// It is not `local@domain`, or the local part is not a dot-atom.
    #[error("it is not of the form name@domain")]
    Form,
    /// The domain is not a valid host name.
    #[error("its domain is not a valid name")]
    Domain,
    /// The local part exceeds [`LOCAL_MAX`].
    #[error("there are more than {LOCAL_MAX} octets before the @")]
    LongLocal,
    /// The address exceeds [`ADDRESS_MAX`].
    #[error("it is longer than {ADDRESS_MAX} octets")]
    Long,
}

/// The text in NFC, trimmed and without format characters: zero-width spaces and joiners, byte order
/// marks, soft hyphens, direction marks.
fn visible(text: &str) -> String {
    let seen = text
        .chars()
        .filter(|c| c.general_category() != GeneralCategory::Format);
    let composed: String = seen.nfc().collect();
    composed.trim().to_owned()
}

/// Simple lower case: one character for one, regardless of its context. `İ` becomes `i`, and a
/// capital sigma always becomes the non-final small one.
fn lower(text: &str) -> String {
    text.chars()
        .filter_map(|c| c.to_lowercase().next())
        .nfc()
        .collect()
}

/// Whether it consists of non-empty atoms separated by dots (RFC 5322 §3.2.3).
fn is_dot_atom(local: &str) -> bool {
    let atext = |c: char| {
        c.is_ascii_alphanumeric()
            || "!#$%&'*+-/=?^_`{|}~".contains(c)
            || !c.is_ascii() && !c.is_control() && !c.is_whitespace()
    };
    local
        .split('.')
        .all(|part| !part.is_empty() && part.chars().all(atext))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(a: &str, b: &str) {
        let (left, right) = (normalise(a), normalise(b));
        assert!(left.is_some(), "{a:?}");
        assert_eq!(left, right, "{a:?} {b:?}");
    }

    #[test]
    fn spellings_of_one_mailbox_are_one() {
        same("Ann@Example.COM", "ann@example.com");
        same("  ann@example.com\t\n", "ann@example.com");
        same("ann@bücher.test", "ann@xn--bcher-kva.test");
        same("ann@BÜCHER.test", "ann@XN--BCHER-KVA.TEST");
        // Composed and decomposed.
        same(
            "jos\u{e9}@b\u{fc}cher.test",
            "jose\u{301}@bu\u{308}cher.test",
        );
        same("ÜNÏ@x.test", "ünï@x.test");
        // Turkish and Greek, whatever the locale of the process or the database.
        same("İrem@x.test", "irem@x.test");
        same("ΝΊΚΟΣ@x.test", "νίκοσ@x.test");
        // Invisible characters.
        for c in [
            '\u{200b}',
            '\u{feff}',
            '\u{ad}',
            '\u{200d}',
            '\u{2060}',
            '\u{202e}',
            '\u{e0001}',
        ] {
            same(&format!("{c}a{c}nn@exa{c}mple.com{c}"), "ann@example.com");
            same(&format!("{c} ann@example.com {c}"), "ann@example.com");
        }
        // A full-width dot and ideographic stop separate labels (UTS 46).
        same("ann@example。com", "ann@example.com");
    }

    #[test]
    fn different_mailboxes_stay_different() {
        for (a, b) in [
            ("ann@example.com", "ann+x@example.com"),
            ("a.nn@gmail.com", "ann@gmail.com"),
            ("ann@example.com", "ann@example.org"),
            ("ırem@x.test", "irem@x.test"),
            // `ß` is kept in names since IDNA 2008.
            ("ann@straße.test", "ann@strasse.test"),
        ] {
            assert_ne!(normalise(a).unwrap(), normalise(b).unwrap(), "{a} {b}");
        }
    }

    #[test]
    fn exact_forms() {
        let mailbox = Mailbox::parse(" Zo\u{eb}@B\u{fc}cher.Test\u{200b}").unwrap();
        assert_eq!(mailbox.written(), "Zoë@Bücher.Test");
        assert_eq!(mailbox.ascii(), "Zoë@xn--bcher-kva.test");
        assert_eq!(mailbox.normalised(), "zoë@xn--bcher-kva.test");
        assert_eq!(normalise("İ@x.test").unwrap(), "i@x.test");
        assert_eq!(normalise("ΑΣ@x.test").unwrap(), "ασ@x.test");
        assert_eq!(comparable(" Not An\u{200b} Address "), "not an address");
    }

    #[test]
    fn what_can_be_mailed_is_taken_and_nothing_else() {
        for good in [
            "a@b",
            "a@b.co",
            "user+tag@example.com",
            "ünï@exämple.de",
            "o'hara@x.ie",
            "a@ab--cd.example",
            "用户@例え.jp",
            "!#$%&'*+-/=?^_`{|}~@x.test",
        ] {
            assert!(Mailbox::parse(good).is_ok(), "{good}");
        }
        let long = format!("{}@b.co", "a".repeat(65));
        let longer = format!("a@{}.test", vec!["b".repeat(60); 5].join("."));
        for bad in [
            "",
            " ",
            "@",
            "a",
            "a@",
            "@b",
            "a b@c.d",
            "a@b@c.d",
            "a@b..c",
            "a@.b",
            "a@b.",
            "A <a@b.co>",
            "a\n@b.co",
            "a\0@b.co",
            "a..b@c.d",
            ".a@c.d",
            "a.@c.d",
            "\"a b\"@c.d",
            "a@[127.0.0.1]",
            "a@ex_ample.com",
            "a@-b.co",
            "a@b-.co",
            "a@xn--\u{fc}.test",
            "a,b@c.d",
            "a@c.d,e@f.g",
            "mailto:a@b.co",
            "a@b.co?x",
            "\u{200b}@b.co",
            "a@xn--zz--.test",
            &long,
            &longer,
        ] {
            assert!(Mailbox::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in r"\PC{1,12}@[a-zA-Z0-9äöüİßΣ\u{301}\u{200b}-]{1,10}\.[a-z]{2,3}") {
            if let Some(once) = normalise(&text) {
                prop_assert_eq!(normalise(&once), Some(once));
            }
            let once = comparable(&text);
            prop_assert_eq!(comparable(&once), once);
        }

        #[test]
        fn what_an_address_is_does_not_depend_on_its_form(text in r"\PC{1,8}@[a-zäöü]{1,8}\.test") {
            if let Ok(mailbox) = Mailbox::parse(&text) {
                for form in [mailbox.written(), mailbox.ascii(), mailbox.normalised()] {
                    prop_assert_eq!(normalise(&form), Some(mailbox.normalised()));
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = comparable(&text);
        }
    }
}
