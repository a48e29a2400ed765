//! Text that can be stored.

use sha2::{Digest, Sha256};

const REPLACEMENT: &str = "\u{fffd}";
/// Hexadecimal digits of the hash that replaces the rest of a long key.
const HASH_DIGITS: usize = 32;

/// Replaces characters that Postgres cannot store.
pub fn cleaned(text: &mut String) {
    if text.contains('\0') {
        *text = text.replace('\0', REPLACEMENT);
    }
}

/// The text without NUL, truncated to `max` characters.
pub fn text(text: &str, max: usize) -> String {
    let end = text
        .char_indices()
        .nth(max)
        .map_or(text.len(), |(at, _)| at);
    text[..end].replace('\0', REPLACEMENT)
}

/// The text as a lookup key, without NUL. If it has more than `max` characters (at least 40), a hash
/// replaces the rest, so that long texts remain distinct. The same text always gives the same key.
pub fn key(whole: &str, max: usize) -> String {
    if whole.char_indices().nth(max).is_none() {
        return text(whole, max);
    }
    let hash = hex::encode(Sha256::digest(whole));
    let head = text(whole, max.saturating_sub(HASH_DIGITS + 1));
    format!("{head}~{}", &hash[..HASH_DIGITS])
}

#[cfg(test)]
mod tests {
    use super::{key, text};

    #[test]
    fn text_is_cut_between_characters_and_holds_no_nul() {
        assert_eq!(text("a\0b", 10), "a\u{fffd}b");
        assert_eq!(text("äöü", 2), "äö");
        assert_eq!(text("", 0), "");
    }

    #[test]
    fn long_keys_stay_apart_and_short_ones_as_they_are() {
        let (one, two) = ("x".repeat(8_000) + "1", "x".repeat(8_000) + "2");
        assert_eq!(key("re_1", 100), "re_1");
        assert_eq!(key(&one, 100).chars().count(), 100);
        assert_ne!(key(&one, 100), key(&two, 100));
        assert_eq!(key(&one, 100), key(&one, 100));
        assert!(!key(&format!("\0{one}"), 100).contains('\0'));
    }
}
