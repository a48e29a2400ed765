//! The secret itself in a header.

use hogsend_plugin_api::Webhook;
use subtle::ConstantTimeEq as _;

use super::{mismatch, missing};

pub fn verify(name: &str, prefix: &str, keys: &[Vec<u8>], webhook: &Webhook) -> Result<(), String> {
    let mut given = webhook.headers.iter().filter(|(key, _)| key == name);
    let equal = |(_, value): &(String, String)| {
        let Some(value) = after(value.trim(), prefix) else {
            return false;
        };
        keys.iter()
            .any(|key| bool::from(value.as_bytes().ct_eq(key)))
    };
    if webhook.header(name).is_none() {
        return Err(missing(name));
    }
    given.any(equal).then_some(()).ok_or_else(|| mismatch(name))
}

/// The value after the prefix, whose case does not matter: schemes of `Authorization` have none
/// (RFC 9110 §11.1).
fn after<'a>(value: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    start
        .eq_ignore_ascii_case(prefix)
        .then_some(rest.trim_start())
}
