//! Verifies the signature of webhooks, by Svix's scheme
//! (<https://docs.svix.com/receiving/verifying-payloads/how-manual>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use hogsend_plugin_api::Webhook;
use sha2::Sha256;

/// How far a signature's timestamp may be from the time of receipt, in seconds, in both directions.
const TOLERANCE: i64 = 5 * 60;

/// Verifies the signatures of one endpoint, by any of its secrets.
pub struct Signature(Vec<Hmac<Sha256>>);

impl Signature {
    /// Parses a secret: `whsec_` and Base64. The error names the fix, not the secret.
    pub fn new(secret: &str) -> Result<Self, String> {
        Self(Vec::new()).or(secret)
    }

    /// Accepts the signatures of this secret too, while one is being replaced.
    pub fn or(mut self, secret: &str) -> Result<Self, String> {
        let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
        let key = STANDARD
            .decode(encoded)
            .ok()
            .filter(|key| !key.is_empty())
            .ok_or("is not a signing secret: copy all of it, whsec_…, from the webhook's page")?;
        let key = Hmac::new_from_slice(&key).map_err(|error| error.to_string())?;
        self.0.push(key);
        Ok(self)
    }

    /// The id of a genuine message; `None` where it is not genuine. It compares in constant time, on
    /// the bytes as received. One matching signature of several is enough, for secret rotation.
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
        let signed = self.0.iter().map(|key| {
            key.clone()
                .chain_update(id)
                .chain_update(".")
                .chain_update(time)
                .chain_update(".")
                .chain_update(webhook.body.as_slice())
        });
        let signed: Vec<Hmac<Sha256>> = signed.collect();
        let fits = header("signature")?.split(' ').any(|part| {
            let given = part.strip_prefix("v1,").map(|text| STANDARD.decode(text));
            let Some(Ok(given)) = given else { return false };
            signed
                .iter()
                .any(|signed| signed.clone().verify_slice(&given).is_ok())
        });
        fits.then_some(id)
    }
}
