//! Authenticates Mailgun's webhooks
//! (<https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks>).
//!
//! The signature covers a time and a random token, not the content: whoever has seen one webhook could
//! post another with its signature. So each token is remembered with the content it came with.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use hogsend_plugin_api::{Host, Refusal};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::SIGNING_KEY;

/// How old a signature may be: Mailgun repeats a webhook for 8 hours and does not document whether it
/// signs it anew.
const AGE_MAX: i64 = 9 * 3_600;
/// How far Mailgun's clock may be ahead, in seconds.
const AHEAD_MAX: i64 = 5 * 60;
/// How long a token is remembered: until its signature is too old.
const REMEMBERED: Duration = Duration::from_secs((AGE_MAX + 2 * AHEAD_MAX) as u64);
/// The most characters of a token. Mailgun's have 50.
const TOKEN_MAX: usize = 200;

/// Verifies signatures with the account's webhook signing keys: the present one, and the one before it.
pub struct Signature(Vec<Hmac<Sha256>>);

/// The field `signature` of a webhook.
#[derive(Deserialize)]
pub struct Proof {
    /// Seconds, as text.
    timestamp: Value,
    token: String,
    signature: String,
}

impl Signature {
    /// Accepts the signatures of each of these keys. None where there is no key.
    pub fn any<'a>(keys: impl Iterator<Item = &'a str>) -> Result<Option<Self>, String> {
        let keys = keys.map(|key| Hmac::new_from_slice(key.as_bytes()));
        let keys: Result<Vec<_>, _> = keys.collect();
        let keys = keys.map_err(|error| format!("{SIGNING_KEY}: {error}"))?;
        Ok((!keys.is_empty()).then_some(Self(keys)))
    }

    /// Verifies a proof, and that its token came with no other content than `content`. The cache may
    /// lose a token; then only its age protects.
    pub async fn verify(
        &self,
        host: &Host,
        proof: &Proof,
        content: &[u8],
        now: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        let timestamp = match &proof.timestamp {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let given = hex::decode(&proof.signature).unwrap_or_default();
        let fits = |key: &Hmac<Sha256>| {
            let signed = key.clone().chain_update(&timestamp);
            let signed = signed.chain_update(&proof.token);
            signed.verify_slice(&given).is_ok()
        };
        if proof.token.len() > TOKEN_MAX || !self.0.iter().any(fits) {
            return Err(Refusal::unauthorized_because(format!(
                "the signature does not fit: {SIGNING_KEY} is the HTTP webhook signing key of the account, not an API key"
            )));
        }
        let signed_at: Option<i64> = timestamp.parse().ok();
        let age = signed_at.and_then(|at| now.timestamp().checked_sub(at));
        if !age.is_some_and(|age| (-AHEAD_MAX..=AGE_MAX).contains(&age)) {
            return Err(Refusal::unauthorized_because(
                "the signature is older than 9 hours or from the future: check the clock of this machine",
            ));
        }
        let key = format!("mailgun:token:{}", proof.token);
        let hash = hex::encode(Sha256::digest(content));
        match host.cache_get(&key).await {
            Some(known) if known == hash => Ok(()),
            Some(_) => Err(Refusal::unauthorized_because(
                "the signature was used before, with other content",
            )),
            None => {
                host.cache_put(&key, &hash, REMEMBERED).await;
                Ok(())
            }
        }
    }
}
