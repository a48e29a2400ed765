//! Signatures according to the Standard Webhooks specification, version 1.
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;
use uuid::Uuid;

use super::announce::message_id;

const PREFIX: &str = "whsec_";
/// How many characters of a secret are displayed to identify it.
const SHOWN: usize = PREFIX.len() + 4;

/// `whsec_` and 32 random bytes in base64: the specification asks for 24 to 64.
pub fn new_secret() -> String {
    let random: [u8; 32] = rand::random();
    format!("{PREFIX}{}", STANDARD.encode(random))
}

pub fn secret_prefix(secret: &str) -> String {
    secret.chars().take(SHOWN).collect()
}

/// The headers of a signed request. During a rotation there are two secrets and a signature by
/// each, so a receiver that knows either one can verify it.
pub fn signed_headers(secrets: &[&str], id: Uuid, at: DateTime<Utc>, body: &str) -> HeaderMap {
    let id = message_id(id);
    let timestamp = at.timestamp().to_string();
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| format!("v1,{}", signature(secret, &id, &timestamp, body)))
        .collect();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in [
        ("webhook-id", id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", signatures.join(" ")),
    ] {
        // All values are ASCII.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}

fn signature(secret: &str, id: &str, timestamp: &str, body: &str) -> String {
    let key = secret.strip_prefix(PREFIX).unwrap_or(secret);
    // Secrets we generate always decode.
    let key = STANDARD.decode(key).unwrap_or_default();
    let mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
    let mac = mac
        .chain_update(id)
        .chain_update(".")
        .chain_update(timestamp)
        .chain_update(".")
        .chain_update(body);
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the `svix` package's own test, which its `Webhook.sign` gives as well.
    #[test]
    fn the_signature_is_that_of_the_reference() {
        let signed = signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_give_two_signatures_and_one_id() {
        let (one, other) = (new_secret(), new_secret());
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let headers = signed_headers(&[&one, &other], Uuid::from_u128(7), at, "{}");
        let signatures = headers["webhook-signature"].to_str().unwrap();
        assert_eq!(signatures.split(' ').count(), 2);
        assert_eq!(
            headers["webhook-id"],
            "msg_00000000000000000000000000000007"
        );
        assert_eq!(headers["webhook-timestamp"], "1700000000");
        assert_eq!(secret_prefix(&one).len(), 10);
    }
}
