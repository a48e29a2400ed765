//! Whether a webhook is its vendor's. All comparisons take constant time, on the bytes as received.

mod basic;
mod header;
mod mac;
mod signed;
mod standard;
mod stripe;

use hogsend_plugin_api::{Settings, Webhook};

pub use mac::{Algorithm, Encoding};
pub use signed::Signed;

/// How a vendor authenticates its webhooks.
#[derive(Debug)]
pub struct Authentication {
    pub scheme: Scheme,
    /// The environment variable with the secret.
    pub secret: String,
    /// The environment variable with the former secret, while it is being replaced.
    pub previous_secret: Option<String>,
    /// For the operator: where the secret comes from.
    pub help: String,
}

#[derive(Clone, Debug)]
pub enum Scheme {
    /// The secret itself, in a header after a fixed prefix.
    Header { name: String, prefix: String },
    /// User and password (RFC 7617).
    Basic,
    /// A signature of a text that the file describes.
    Hmac(Signed),
    /// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
    Standard { tolerance: i64 },
    /// <https://docs.stripe.com/webhooks#verify-manually>
    Stripe { tolerance: i64 },
}

impl Scheme {
    /// Whether the elements of an array after the first are unauthenticated.
    pub fn signs_first_item_only(&self) -> bool {
        matches!(self, Self::Hmac(signed) if signed.text.is_of_first_item())
    }
}

impl Authentication {
    /// The verifier with the secrets that are set; `None` where none is.
    ///
    /// # Errors
    ///
    /// A secret is malformed. The message names the setting and the fix, never the value.
    pub fn verifier(&self, settings: &Settings) -> Result<Option<Verifier>, String> {
        let names = [Some(&self.secret), self.previous_secret.as_ref()];
        let mut keys = Vec::new();
        for name in names.into_iter().flatten() {
            if let Some(secret) = settings.get(name) {
                let of_scheme = self.scheme.keys(secret.trim());
                keys.extend(of_scheme.map_err(|wrong| format!("{name} {wrong}"))?);
            }
        }
        let scheme = self.scheme.clone();
        Ok((!keys.is_empty()).then_some(Verifier { scheme, keys }))
    }
}

impl Scheme {
    /// The keys in a secret. The error continues a sentence about the setting.
    fn keys(&self, secret: &str) -> Result<Vec<Vec<u8>>, String> {
        match self {
            Self::Header { .. } | Self::Basic => Ok(vec![secret.as_bytes().to_vec()]),
            Self::Hmac(signed) => signed.key(secret).map(|key| vec![key]),
            Self::Standard { .. } => standard::keys(secret),
            Self::Stripe { .. } => stripe::key(secret).map(|key| vec![key]),
        }
    }
}

/// A scheme with its keys, of which one has to match.
pub struct Verifier {
    scheme: Scheme,
    keys: Vec<Vec<u8>>,
}

impl Verifier {
    /// # Errors
    ///
    /// Why the webhook is not genuine, for the operator's log; never a header's value.
    pub fn verify(&self, webhook: &Webhook) -> Result<(), String> {
        match &self.scheme {
            Scheme::Header { name, prefix } => header::verify(name, prefix, &self.keys, webhook),
            Scheme::Basic => basic::verify(&self.keys, webhook),
            Scheme::Hmac(signed) => signed.verify(&self.keys, webhook),
            Scheme::Standard { tolerance } => standard::verify(*tolerance, &self.keys, webhook),
            Scheme::Stripe { tolerance } => stripe::verify(*tolerance, &self.keys, webhook),
        }
    }
}

/// Checks that a signature's time, in seconds, is within the tolerance of the time of receipt.
fn fresh(signed_at: i64, tolerance: i64, webhook: &Webhook) -> Result<(), String> {
    let apart = webhook.received_at.timestamp().checked_sub(signed_at);
    match apart {
        Some(apart) if (-tolerance..=tolerance).contains(&apart) => Ok(()),
        Some(apart) if apart < 0 => Err(format!(
            "it was signed {} s ahead of this machine's clock: set the clock",
            apart.unsigned_abs()
        )),
        Some(apart) => Err(format!(
            "it was signed {apart} s ago, more than {tolerance} s: it was delayed or replayed, or this \
             machine's clock is wrong"
        )),
        None => Err("the time of its signature is none".into()),
    }
}

fn missing(header: &str) -> String {
    format!(
        "it has no header {header}: set the secret at the vendor, and check that no proxy removes headers"
    )
}

fn mismatch(header: &str) -> String {
    format!(
        "{header} does not match: the secret here is not the one at the vendor, or a proxy changes the body"
    )
}
