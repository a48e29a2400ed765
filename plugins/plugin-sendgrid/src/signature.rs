//! Verifies the signature of event webhooks: ECDSA on P-256 with SHA-256, over the timestamp and the
//! raw body
//! (<https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hogsend_plugin_api::Webhook;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

const SIGNATURE: &str = "x-twilio-email-event-webhook-signature";
const TIMESTAMP: &str = "x-twilio-email-event-webhook-timestamp";

/// What precedes the point in the DER form of every P-256 public key (RFC 5480 §2): a sequence of the
/// algorithm `id-ecPublicKey` with the curve `secp256r1`, and a bit string.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The length of an uncompressed point (SEC 1 §2.3.3).
const POINT: usize = 65;

/// Verifies the signatures of one webhook.
pub struct Signature(UnparsedPublicKey<Vec<u8>>);

impl Signature {
    /// Parses the key as SendGrid shows it: Base64 of its DER form, with or without PEM's lines. The
    /// error names the fix.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut encoded = text
            .replace("-----BEGIN PUBLIC KEY-----", "")
            .replace("-----END PUBLIC KEY-----", "");
        encoded.retain(|c| !c.is_whitespace());
        let der = STANDARD.decode(encoded).unwrap_or_default();
        let point = der.strip_prefix(&SPKI).filter(|point| {
            // 4 marks an uncompressed point.
            point.len() == POINT && point[0] == 4
        });
        let point = point.ok_or(
            "is not a verification key: copy all of it, MFkw…, from the settings of the signed event webhook",
        )?;
        Ok(Self(UnparsedPublicKey::new(
            &ECDSA_P256_SHA256_ASN1,
            point.to_vec(),
        )))
    }

    /// Verifies a webhook. SendGrid does not document whether it signs a repeated webhook again, up to
    /// a day later, so the timestamp may have any age; the ids of events identify repeats.
    ///
    /// # Errors
    ///
    /// Why it is not genuine.
    pub fn verify(&self, webhook: &Webhook) -> Result<(), &'static str> {
        let header = |name| webhook.header(name).map(str::trim);
        let (signature, timestamp) = header(SIGNATURE)
            .zip(header(TIMESTAMP))
            .ok_or("it is not signed: switch Signed Event Webhook on in the webhook's settings")?;
        let signature = STANDARD
            .decode(signature)
            .map_err(|_| "its signature is not Base64")?;
        // The raw body: the line break after the events is signed too.
        let signed = [timestamp.as_bytes(), webhook.body.as_slice()].concat();
        self.0.verify(&signed, &signature).map_err(|_| {
            "its signature does not fit: compare the verification key, and let no proxy change the body"
        })
    }
}
