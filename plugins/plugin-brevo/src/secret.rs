//! Authenticates Brevo's webhooks. Brevo does not sign them, but sends the basic auth, the token or the
//! custom headers of the webhook's settings
//! (<https://developers.brevo.com/docs/username-and-password-authentication>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hogsend_plugin_api::Webhook;
use subtle::ConstantTimeEq;

/// Whether the webhook has the secret: as basic auth (the password, or `user:password` as a whole),
/// as a bearer token, or in the header `x-brevo-webhook-secret`.
pub fn knows(webhook: &Webhook, secret: &str) -> bool {
    let equal = |given: &[u8]| bool::from(given.ct_eq(secret.as_bytes()));
    let own = webhook
        .header("x-brevo-webhook-secret")
        .is_some_and(|given| equal(given.as_bytes()));
    let Some((scheme, rest)) = webhook
        .header("authorization")
        .and_then(|value| value.split_once(' '))
    else {
        return own;
    };
    let rest = rest.trim();
    let authorized = if scheme.eq_ignore_ascii_case("bearer") {
        equal(rest.as_bytes())
    } else if scheme.eq_ignore_ascii_case("basic") {
        // RFC 7617 §2: a user name has no colon, a password may have one.
        let pair = STANDARD.decode(rest).unwrap_or_default();
        let colon = pair.iter().position(|byte| *byte == b':');
        let password = colon.map_or(&[][..], |at| &pair[at + 1..]);
        equal(&pair) | equal(password)
    } else {
        false
    };
    own | authorized
}
