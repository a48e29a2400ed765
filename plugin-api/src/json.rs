//! Parses JSON from outside so that everything in the result can be stored.
//!
//! JSON may contain text that Rust strings or Postgres cannot store: half of a surrogate pair
//! (`"\ud83d"`, RFC 8259 §8.2) and NUL (`"\u0000"`). Both become U+FFFD before the text is parsed,
//! in keys as well as in values.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Levels of nesting that [`lenient`] keeps; `serde_json` reads at most 127.
const DEPTH_MAX: usize = 100;
const REPLACEMENT: &str = "\u{fffd}";

/// Parses JSON after [`repaired`] has replaced what cannot be stored.
///
/// # Errors
///
/// The bytes are not JSON, or do not fit the type.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(&repaired(bytes))
}

/// Parses a vendor's JSON and loses as little of it as possible. In addition to what [`from_slice`]
/// replaces, bytes that are not UTF-8 become U+FFFD; values nested deeper than 100 levels, numbers
/// outside the range of a double, `NaN` and `Infinity` become null.
///
/// # Errors
///
/// The bytes are not JSON at all.
pub fn lenient(bytes: &[u8]) -> serde_json::Result<Value> {
    let bytes = repaired(bytes);
    serde_json::from_slice(&bytes).or_else(|error| {
        let text = String::from_utf8_lossy(&bytes);
        serde_json::from_str(&kept(&text)).map_err(|_| error)
    })
}

/// The same JSON with NUL and lone surrogates, escaped or not, replaced by U+FFFD. Everything else
/// stays unchanged, including other errors.
pub fn repaired(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut out: Option<Vec<u8>> = None;
    // Up to here the input is in `out`.
    let mut copied = 0;
    let mut at = 0;
    let mut quoted = false;
    while at < bytes.len() {
        let length = match bytes[at] {
            b'"' => {
                quoted = !quoted;
                at += 1;
                continue;
            }
            b'\\' if quoted => match bytes.get(at + 1) {
                Some(b'u') => match escape(&bytes[at..]) {
                    Escape::Sound(length) => {
                        at += length;
                        continue;
                    }
                    Escape::Broken => 6,
                },
                _ => {
                    at += 2;
                    continue;
                }
            },
            0 if quoted => 1,
            // A surrogate written as if it were a character (U+D800..U+DFFF).
            0xed if bytes.get(at + 1).is_some_and(|next| *next >= 0xa0)
                && bytes.get(at + 2).is_some_and(|next| *next >= 0x80) =>
            {
                3
            }
            _ => {
                at += 1;
                continue;
            }
        };
        let out = out.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
        out.extend_from_slice(&bytes[copied..at]);
        out.extend_from_slice(REPLACEMENT.as_bytes());
        at += length;
        copied = at;
    }
    match out {
        Some(mut out) => {
            out.extend_from_slice(&bytes[copied..]);
            Cow::Owned(out)
        }
        None => Cow::Borrowed(bytes),
    }
}

enum Escape {
    /// Valid; its length in bytes.
    Sound(usize),
    /// NUL or half of a pair.
    Broken,
}

/// The `\u` escape these bytes begin with.
fn escape(bytes: &[u8]) -> Escape {
    match unit(bytes) {
        Some(0) => Escape::Broken,
        Some(0xd800..=0xdbff) => match bytes.get(6..).and_then(unit) {
            Some(0xdc00..=0xdfff) => Escape::Sound(12),
            _ => Escape::Broken,
        },
        Some(0xdc00..=0xdfff) => Escape::Broken,
        // A malformed escape is left for the parser to refuse.
        Some(_) | None => Escape::Sound(2),
    }
}

/// The UTF-16 code unit of `\uXXXX`.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The JSON with null in place of the values that `serde_json` refuses.
fn kept(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        let begun = at;
        match bytes[at] {
            b'"' => {
                at = end_of_string(bytes, at);
                if depth <= DEPTH_MAX {
                    out.push_str(&text[begun..at]);
                }
            }
            b'[' | b'{' => {
                depth += 1;
                at += 1;
                match depth {
                    ..=DEPTH_MAX => out.push(char::from(bytes[begun])),
                    // In place of everything inside.
                    _ if depth == DEPTH_MAX + 1 => out.push_str("null"),
                    _ => {}
                }
            }
            b']' | b'}' => {
                if depth <= DEPTH_MAX {
                    out.push(char::from(bytes[begun]));
                }
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                let word =
                    |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
                at += bytes[at..].iter().take_while(|byte| word(byte)).count();
                if depth <= DEPTH_MAX {
                    out.push_str(scalar(&text[begun..at]));
                }
            }
            _ => {
                let rest = &text[at..];
                let length = rest.chars().next().map_or(1, char::len_utf8);
                at += length;
                if depth <= DEPTH_MAX {
                    out.push_str(&text[begun..at]);
                }
            }
        }
    }
    out
}

/// The index after the string that begins at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn scalar(word: &str) -> &str {
    match word {
        "NaN" | "Infinity" | "-Infinity" | "undefined" => "null",
        _ if word.parse::<f64>().is_ok_and(|number| !number.is_finite()) => "null",
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{from_slice, lenient, repaired};

    #[test]
    fn what_cannot_be_stored_is_replaced_in_keys_and_values() {
        for (text, expected) in [
            (r#"{"a":"cut \ud83d"}"#, json!({ "a": "cut \u{fffd}" })),
            (r#"{"a":"\udc00x"}"#, json!({ "a": "\u{fffd}x" })),
            (
                r#"{"a":"\ud83d\ud83d\ude00"}"#,
                json!({ "a": "\u{fffd}\u{1f600}" }),
            ),
            (r#"{"a":"\ud83d\u0041"}"#, json!({ "a": "\u{fffd}A" })),
            (
                r#"{"a\ud83d":[{"\u0000":"a\u0000b"}]}"#,
                json!({ "a\u{fffd}": [{ "\u{fffd}": "a\u{fffd}b" }] }),
            ),
            (
                r#"{"a":"\\ud83d \\\ud83d \" \uD83D\uDE00"}"#,
                json!({ "a": "\\ud83d \\\u{fffd} \" \u{1f600}" }),
            ),
            ("{\"a\":\"x\0y\"}", json!({ "a": "x\u{fffd}y" })),
        ] {
            assert_eq!(
                from_slice::<Value>(text.as_bytes()).unwrap(),
                expected,
                "{text}"
            );
        }
        let raw = from_slice::<Value>(b"[\"\xed\xa0\xbd\"]").unwrap();
        assert_eq!(raw, json!(["\u{fffd}"]));
    }

    #[test]
    fn everything_else_is_left_to_the_parser() {
        for text in [
            r#"{"a":"\u00e9 \\u0000 \ud83d\ude00"}"#,
            "",
            "{",
            "\"\\",
            "\"\\u",
            "\"\\u00",
            "\"\\u12x4\"",
            "\0{}",
            "\"\u{d7ff}\u{e000}\"",
        ] {
            assert_eq!(repaired(text.as_bytes()), text.as_bytes(), "{text}");
        }
        assert!(from_slice::<Value>(b"\"a\xff\"").is_err());
        assert!(from_slice::<Value>(b"\0{}").is_err());
    }

    #[test]
    fn a_vendors_json_loses_only_what_no_parser_takes() {
        let deep = format!(
            "{{\"a\":{}1{},\"b\":[1e999,-1e999,NaN,Infinity,1e5,\"NaN\"]}}",
            "[".repeat(300),
            "]".repeat(300)
        );
        let read = lenient(deep.as_bytes()).unwrap();
        assert_eq!(read["b"], json!([null, null, null, null, 1e5, "NaN"]));
        let mut inner = &read["a"];
        let mut levels = 0;
        while let Some(next) = inner.get(0) {
            inner = next;
            levels += 1;
        }
        assert_eq!((inner, levels), (&Value::Null, 99));
        assert_eq!(
            lenient(b"{\"a\":\"caf\xe9\"}").unwrap(),
            json!({ "a": "caf\u{fffd}" })
        );
        for text in ["", "{", "{\"a\":}", "[1,]", "nonsense"] {
            assert!(lenient(text.as_bytes()).is_err(), "{text}");
        }
    }
}
