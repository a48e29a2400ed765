//! Verifies the signature of a message with the certificate of SNS, an RSA key of at least 2048 bits.
//! Where the certificate comes from makes it trustworthy: HTTPS from a host of SNS.

use ring::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use webpki::EndEntityCert;
use webpki::ring::RSA_PKCS1_2048_8192_SHA256;

use super::message::Message;

/// Why a message is not verified.
#[derive(Debug, PartialEq, Eq)]
pub enum Unverified {
    /// It is not genuine.
    Refused(String),
    /// Its certificate cannot be had at the moment.
    Unavailable(String),
}

/// Verifies a signature by the message's version: 1 signs a SHA-1 hash, 2 a SHA-256 hash.
pub fn verify(pem: &[u8], message: &Message, signature: &[u8]) -> Result<(), Unverified> {
    let algorithm: &dyn SignatureVerificationAlgorithm = match message.signature_version.as_str() {
        "1" => &RsaSha1,
        "2" => RSA_PKCS1_2048_8192_SHA256,
        other => {
            return Err(Unverified::Refused(format!(
                "the signature version '{}' is unknown",
                other.escape_debug()
            )));
        }
    };
    let unreadable = |cause: String| {
        Unverified::Unavailable(format!("the certificate of SNS cannot be read: {cause}"))
    };
    let certificate =
        CertificateDer::from_pem_slice(pem).map_err(|error| unreadable(error.to_string()))?;
    let certificate =
        EndEntityCert::try_from(&certificate).map_err(|error| unreadable(error.to_string()))?;
    certificate
        .verify_signature(algorithm, message.signed().as_bytes(), signature)
        .map_err(|_| Unverified::Refused("the signature does not fit the message".into()))
}

/// RSA with PKCS #1 v1.5 and SHA-1, the default of SNS. Collisions of SHA-1 do not help a forger: the
/// topic is signed after everything that the sender of a message chooses.
#[derive(Debug)]
struct RsaSha1;

impl SignatureVerificationAlgorithm for RsaSha1 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let algorithm = &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY;
        UnparsedPublicKey::new(algorithm, public_key)
            .verify(message, signature)
            .map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    /// `sha1WithRSAEncryption`, 1.2.840.113549.1.1.5 (RFC 8017 appendix A.2.4).
    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        AlgorithmIdentifier::from_slice(&[
            0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00,
        ])
    }
}
