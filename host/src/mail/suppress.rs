//! Addresses that get no mail, known by a keyed hash so that an erased person's is refused without
//! being kept.

use hmac::{Hmac, Mac};
use hogsend_plugin_api::mime;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Hashes addresses. The key is derived from the installation's secret: whoever changes that secret
/// lifts the suppression of people who were erased, not of those whose address is kept.
pub struct AddressHash(Hmac<Sha256>);

impl AddressHash {
    pub fn new(secret: &SecretString) -> Self {
        let key = Hmac::new_from_slice(secret.expose_secret().as_bytes()).expect("any length");
        Self(key.chain_update(b"address\0"))
    }

    /// Addresses that differ in case only are one, and so are the two forms of a domain.
    pub fn of(&self, address: &str) -> Vec<u8> {
        let address = address.trim().to_lowercase();
        let address = mime::bare_address("address", &address).unwrap_or(address);
        let hash = self.0.clone().chain_update(address).finalize();
        hash.into_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::AddressHash;

    #[test]
    fn case_makes_no_difference_and_the_key_does() {
        let hash = AddressHash::new(&"one secret".into());
        assert_eq!(hash.of("Ann@Example.com"), hash.of(" ann@example.COM "));
        assert_eq!(
            hash.of("ann@bücher.example"),
            hash.of("ann@xn--bcher-kva.example")
        );
        assert_ne!(hash.of("ann@example.com"), hash.of("ann+x@example.com"));
        let other = AddressHash::new(&"another".into());
        assert_ne!(hash.of("ann@example.com"), other.of("ann@example.com"));
    }
}
