//! User and password (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hogsend_plugin_api::Webhook;
use subtle::ConstantTimeEq as _;

use super::{mismatch, missing};

/// A key is `user:password`, or a password for any user.
pub fn verify(keys: &[Vec<u8>], webhook: &Webhook) -> Result<(), String> {
    let Some(value) = webhook.header("authorization") else {
        return Err(missing("authorization"));
    };
    let pair = value.trim().split_once(' ').and_then(|(scheme, rest)| {
        let basic = scheme.eq_ignore_ascii_case("basic");
        STANDARD.decode(rest.trim()).ok().filter(|_| basic)
    });
    let pair = pair.ok_or("authorization is not of the form Basic <base64>")?;
    // A user name has no colon, a password may have one.
    let colon = pair.iter().position(|byte| *byte == b':');
    let password = colon.map_or(&[][..], |at| &pair[at + 1..]);
    let fits = keys.iter().any(|key| {
        let given = if key.contains(&b':') { &pair } else { password };
        bool::from(given.ct_eq(key))
    });
    fits.then_some(()).ok_or_else(|| mismatch("authorization"))
}
