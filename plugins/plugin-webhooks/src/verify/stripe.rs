//! Stripe's signature (<https://docs.stripe.com/webhooks#verify-manually>).

use hogsend_plugin_api::Webhook;

use super::mac::{Algorithm, Encoding};
use super::{fresh, mismatch, missing};

const HEADER: &str = "stripe-signature";

/// The key: the whole text of the secret, with `whsec_`. The error continues a sentence about the
/// setting.
pub fn key(secret: &str) -> Result<Vec<u8>, String> {
    let api_key = ["sk_", "rk_", "pk_"]
        .iter()
        .any(|one| secret.starts_with(one));
    if api_key {
        return Err(
            "is an API key: copy the signing secret (whsec_…) of the webhook endpoint".into(),
        );
    }
    Ok(secret.as_bytes().to_vec())
}

/// The header is `t=<seconds>,v1=<hex>`, with several `v1` while a secret is being replaced and other
/// schemes, which do not count.
pub fn verify(tolerance: i64, keys: &[Vec<u8>], webhook: &Webhook) -> Result<(), String> {
    let value = webhook.header(HEADER).ok_or_else(|| missing(HEADER))?;
    let parts = value
        .split(',')
        .filter_map(|part| part.trim().split_once('='));
    let parts: Vec<(&str, &str)> = parts.collect();
    let time = parts.iter().find(|(name, _)| *name == "t");
    let time = time.map_or("", |(_, value)| *value);
    let signed_at = time
        .parse()
        .map_err(|_| format!("{HEADER} has no time (t=…)"))?;
    fresh(signed_at, tolerance, webhook)?;
    let signatures = parts.iter().filter(|(name, _)| *name == "v1");
    let given: Vec<Vec<u8>> = signatures
        .filter_map(|(_, value)| Encoding::Hex.decode(value))
        .collect();
    let message = [time.as_bytes(), b".", webhook.body.as_slice()];
    let fits = Algorithm::Sha256.any(keys, &message, &given);
    fits.then_some(()).ok_or_else(|| mismatch(HEADER))
}
