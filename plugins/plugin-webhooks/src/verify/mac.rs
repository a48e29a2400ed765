//! Message authentication codes (RFC 2104).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::digest::Output;
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Hex,
    Base64,
}

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Encoding {
    /// The bytes; `None` where the text is not of this encoding.
    pub fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => hex::decode(text).ok(),
            Self::Base64 => BASE64.decode(text).ok(),
        }
    }
}

impl Algorithm {
    /// Whether one of the given codes is that of the message under one of the keys.
    pub fn any(self, keys: &[Vec<u8>], message: &[&[u8]], given: &[Vec<u8>]) -> bool {
        keys.iter().any(|key| {
            let own = self.code(key, message);
            let equal = |code: &Vec<u8>| bool::from(code.ct_eq(&own));
            given.iter().any(equal)
        })
    }

    /// The code of a message that consists of these parts.
    pub fn code(self, key: &[u8], message: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha1 => bytes(Hmac::<Sha1>::new_from_slice(key).ok(), message),
            Self::Sha256 => bytes(Hmac::<Sha256>::new_from_slice(key).ok(), message),
            Self::Sha512 => bytes(Hmac::<Sha512>::new_from_slice(key).ok(), message),
        }
    }
}

/// HMAC takes keys of any length, so there always is a code.
fn bytes<M: hmac::Mac>(mac: Option<M>, message: &[&[u8]]) -> Vec<u8> {
    let code: Option<Output<M>> = mac.map(|mut mac| {
        for part in message {
            mac.update(part);
        }
        mac.finalize().into_bytes()
    });
    code.map(|code| code.to_vec()).unwrap_or_default()
}
