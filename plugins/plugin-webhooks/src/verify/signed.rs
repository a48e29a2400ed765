//! A signature of a text that the file describes.

use chrono::DateTime;
use hogsend_plugin_api::Webhook;
use serde_json::Value;

use super::mac::{Algorithm, Encoding};
use super::{fresh, mismatch, missing};
use crate::place::{Place, Seen};
use crate::template::Template;

/// How a vendor signs.
#[derive(Clone, Debug)]
pub struct Signed {
    pub algorithm: Algorithm,
    pub encoding: Encoding,
    /// The header with one or several signatures, in lower case.
    pub header: String,
    /// What precedes a signature: `sha256=`.
    pub prefix: String,
    /// What is signed.
    pub text: Template,
    /// How the secret is written; `None` where its text is the key.
    pub secret_encoding: Option<Encoding>,
    /// Where the time of signing is, and how many seconds it may be off.
    pub time: Option<(Place, i64)>,
}

impl Signed {
    /// The key of a secret. The error continues a sentence about the setting.
    pub fn key(&self, secret: &str) -> Result<Vec<u8>, String> {
        let Some(encoding) = self.secret_encoding else {
            return Ok(secret.as_bytes().to_vec());
        };
        let key = encoding.decode(secret).filter(|key| !key.is_empty());
        key.ok_or_else(|| {
            format!("is not valid {encoding:?}, which authentication.secret_encoding asks for")
        })
    }

    pub fn verify(&self, keys: &[Vec<u8>], webhook: &Webhook) -> Result<(), String> {
        let Some(value) = webhook.header(&self.header) else {
            return Err(missing(&self.header));
        };
        if let Some((place, tolerance)) = &self.time {
            let signed_at = time(place, webhook)
                .ok_or_else(|| format!("{place} has no time, in seconds or as RFC 3339"))?;
            fresh(signed_at, *tolerance, webhook)?;
        }
        // While a vendor replaces a secret it may send a signature of each.
        let parts = value.split([',', ' ']);
        let given: Vec<Vec<u8>> = parts
            .filter_map(|part| {
                let part = part.trim().strip_prefix(self.prefix.as_str())?;
                self.encoding.decode(part).filter(|code| !code.is_empty())
            })
            .collect();
        let Some(message) = self.text.bytes(webhook) else {
            return Err("it lacks a value that authentication.signed names".into());
        };
        let fits = self.algorithm.any(keys, &[&message], &given);
        fits.then_some(()).ok_or_else(|| mismatch(&self.header))
    }
}

/// The time of signing, in seconds.
fn time(place: &Place, webhook: &Webhook) -> Option<i64> {
    // Places in the body are part of the signed text, which is checked to have them.
    let body = match place {
        Place::Header(_) => Value::Null,
        _ => hogsend_plugin_api::json::lenient(webhook.body.as_slice()).ok()?,
    };
    let seen = Seen {
        webhook,
        body: &body,
        event: &body,
    };
    let text = place.text(&seen)?;
    let text = text.trim();
    match text.parse::<i64>() {
        // Later than the year 5000 in seconds: milliseconds.
        Ok(number) if number.unsigned_abs() > 100_000_000_000 => Some(number / 1_000),
        Ok(number) => Some(number),
        Err(_) => Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp()),
    }
}
