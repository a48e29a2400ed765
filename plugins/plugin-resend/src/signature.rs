//! The signature of webhooks, as Svix makes it
//! (<https://docs.svix.com/receiving/verifying-payloads/how-manual>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use hogsend_plugin_api::Webhook;
use sha2::Sha256;

/// How far the time of a signature may be from ours, either way, in seconds.
const TOLERANCE: i64 = 5 * 60;

/// Checks signatures of one endpoint.
pub struct Signature(Hmac<Sha256>);

impl Signature {
    /// Reads a secret, `whsec_` and base64. The error names the mend and not the secret.
    pub fn new(secret: &str) -> Result<Self, String> {
        let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
        let key = STANDARD
            .decode(encoded)
            .ok()
            .filter(|key| !key.is_empty())
            .ok_or(
                "is no signing secret: copy the whole of it, whsec_…, from the webhook's page",
            )?;
        let key = Hmac::new_from_slice(&key).map_err(|error| error.to_string())?;
        Ok(Self(key))
    }

    /// The id of a genuine message; `None` where it is not. Compared in constant time, on the bytes
    /// as they came; one matching signature of several is enough, as during a rotation.
    pub fn verify<'a>(&self, webhook: &'a Webhook) -> Option<&'a str> {
        let header = |name: &str| {
            webhook
                .header(&format!("svix-{name}"))
                .or_else(|| webhook.header(&format!("webhook-{name}")))
        };
        let (id, time) = (header("id")?, header("timestamp")?);
        let signed_at: i64 = time.parse().ok()?;
        let apart = webhook.received_at.timestamp().checked_sub(signed_at)?;
        if !(-TOLERANCE..=TOLERANCE).contains(&apart) {
            return None;
        }
        let signed = self
            .0
            .clone()
            .chain_update(id)
            .chain_update(".")
            .chain_update(time)
            .chain_update(".")
            .chain_update(webhook.body.as_slice());
        let fits = header("signature")?.split(' ').any(|part| {
            let given = part.strip_prefix("v1,").map(|text| STANDARD.decode(text));
            let Some(Ok(given)) = given else { return false };
            signed.clone().verify_slice(&given).is_ok()
        });
        fits.then_some(id)
    }
}
