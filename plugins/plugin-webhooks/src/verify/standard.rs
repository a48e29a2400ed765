//! Standard Webhooks, and Svix, whose scheme it is
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>,
//! <https://docs.svix.com/receiving/verifying-payloads/how-manual>).

use hogsend_plugin_api::Webhook;

use super::mac::{Algorithm, Encoding};
use super::{fresh, mismatch, missing};

/// The keys in a secret: `whsec_` and Base64, after `v1,` where Supabase shows it so. Several secrets are
/// separated by `|`. The error continues a sentence about the setting.
pub fn keys(secret: &str) -> Result<Vec<Vec<u8>>, String> {
    let key = |one: &str| {
        let one = one.trim();
        let one = one.strip_prefix("v1,").unwrap_or(one);
        let encoded = one.strip_prefix("whsec_").unwrap_or(one);
        let key = Encoding::Base64.decode(encoded);
        key.filter(|key| !key.is_empty()).ok_or_else(|| {
            "is not a signing secret: copy all of it, whsec_…, from the vendor's page".to_owned()
        })
    };
    secret.split('|').map(key).collect()
}

pub fn verify(tolerance: i64, keys: &[Vec<u8>], webhook: &Webhook) -> Result<(), String> {
    let header = |name: &str| {
        let own = webhook.header(&format!("svix-{name}"));
        own.or_else(|| webhook.header(&format!("webhook-{name}")))
    };
    let (Some(id), Some(time), Some(signatures)) =
        (header("id"), header("timestamp"), header("signature"))
    else {
        return Err(missing(
            "webhook-id, webhook-timestamp or webhook-signature",
        ));
    };
    let signed_at = time
        .trim()
        .parse()
        .map_err(|_| "webhook-timestamp is no time")?;
    fresh(signed_at, tolerance, webhook)?;
    // Supabase puts a comma before the space.
    let parts = signatures.split(' ').map(|part| part.trim_end_matches(','));
    let given: Vec<Vec<u8>> = parts
        .filter_map(|part| Encoding::Base64.decode(part.strip_prefix("v1,")?))
        .collect();
    let body = webhook.body.as_slice();
    let message = [id.as_bytes(), b".", time.as_bytes(), b".", body];
    let fits = Algorithm::Sha256.any(keys, &message, &given);
    fits.then_some(())
        .ok_or_else(|| mismatch("webhook-signature"))
}
