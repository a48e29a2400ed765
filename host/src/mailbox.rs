//! Mailboxes: the addresses that consent and suppression apply to, independent of contacts.

use hmac::{Hmac, Mac};
use hogsend_mime as mime;
use hogsend_semantics::address::comparable;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Bytes of the hash that identifies a mailbox in links and keys.
pub const SHORT: usize = 16;

/// Hashes addresses with the installation's secret, so that the mailbox of an erased contact is
/// recognised without storing the address. Previous secrets still recognise what they hashed.
pub struct Addresses(Vec<Hmac<Sha256>>);

impl Addresses {
    pub fn new(secret: &SecretString, previous: &[SecretString]) -> Self {
        let keys = std::iter::once(secret).chain(previous).map(|secret| {
            let key = Hmac::new_from_slice(secret.expose_secret().as_bytes()).expect("any length");
            key.chain_update(b"address\0")
        });
        Self(keys.collect())
    }

    /// The hash of an address with the current secret.
    pub fn of(&self, address: &str) -> Vec<u8> {
        hash(&self.0[0], &comparable(address)).to_vec()
    }

    pub fn mailbox(&self, address: &str) -> Mailbox {
        let address = comparable(address);
        let hashes: Vec<_> = self.0.iter().map(|key| hash(key, &address)).collect();
        // Older versions normalised addresses differently; their hashes are still in the store.
        let earlier = earlier(&address);
        let mut suppressed = hashes.clone();
        if earlier != address {
            suppressed.extend(self.0.iter().map(|key| hash(key, &earlier)));
        }
        Mailbox {
            hashes: hashes.iter().map(short).collect(),
            suppressed: suppressed.iter().map(|hash| hash.to_vec()).collect(),
            address: Some(address),
        }
    }
}

/// A mailbox, with every key the store may have for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Normalised; None where only the hash is known.
    address: Option<String>,
    /// The hash by the current secret first.
    hashes: Vec<[u8; SHORT]>,
    suppressed: Vec<Vec<u8>>,
}

impl Mailbox {
    /// A mailbox without hashes: it does not find rows stored under a hash.
    pub fn plain(address: &str) -> Self {
        Self {
            address: Some(comparable(address)),
            hashes: Vec::new(),
            suppressed: Vec::new(),
        }
    }

    /// A mailbox of which only the hash is known.
    pub fn hashed(hash: [u8; SHORT]) -> Self {
        Self {
            address: None,
            hashes: vec![hash],
            suppressed: Vec::new(),
        }
    }

    /// The normalised address, where it is known.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Its identifier in a link.
    pub fn short(&self) -> [u8; SHORT] {
        self.hashes.first().copied().unwrap_or_default()
    }

    pub fn has_hash(&self, hash: &[u8; SHORT]) -> bool {
        self.hashes.contains(hash)
    }

    /// The key it is stored under.
    pub fn key(&self) -> String {
        match &self.address {
            Some(address) => address.clone(),
            None => hashed_key(&self.short()),
        }
    }

    /// Every key it may be stored under.
    pub fn keys(&self) -> Vec<String> {
        let address = self.address.iter().cloned();
        address.chain(self.hashes.iter().map(hashed_key)).collect()
    }

    /// The key it is stored under once its address is erased.
    pub fn forgotten_key(&self) -> String {
        hashed_key(&self.short())
    }

    /// Every hash a suppression of it may have, the current one first.
    pub fn suppressed_as(&self) -> &[Vec<u8>] {
        &self.suppressed
    }
}

/// Cannot collide with an address, which contains an `@`.
fn hashed_key(hash: &[u8; SHORT]) -> String {
    format!("#{}", hex::encode(hash))
}

fn hash(key: &Hmac<Sha256>, address: &str) -> [u8; 32] {
    let hash = key.clone().chain_update(address).finalize();
    hash.into_bytes().into()
}

fn short(hash: &[u8; 32]) -> [u8; SHORT] {
    std::array::from_fn(|at| hash[at])
}

/// The normalisation of older versions.
fn earlier(address: &str) -> String {
    let address = address.trim().to_lowercase();
    mime::bare_address("address", &address).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::{Addresses, Mailbox};

    #[test]
    fn hashes_ignore_spelling_and_depend_on_the_secret() {
        let ours = Addresses::new(&"one secret".into(), &[]);
        assert_eq!(ours.of("Ann@Example.com"), ours.of(" ann@example.COM "));
        assert_eq!(
            ours.of("ann@bücher.example"),
            ours.of("ann@xn--bcher-kva.example")
        );
        assert_eq!(
            ours.of("ann@ex\u{ad}ample.com"),
            ours.of("ann@example.com\u{200b}")
        );
        assert_ne!(ours.of("ann@example.com"), ours.of("ann+x@example.com"));
        let other = Addresses::new(&"another".into(), &[]);
        assert_ne!(ours.of("ann@example.com"), other.of("ann@example.com"));
    }

    #[test]
    fn hashes_of_previous_secrets_are_still_recognised() {
        let before = Addresses::new(&"old".into(), &[]).mailbox("ann@example.com");
        let rotated = Addresses::new(&"new".into(), &["older".into(), "old".into()]);
        let now = rotated.mailbox("Ann@Example.com");
        assert!(now.has_hash(&before.short()) && now.short() != before.short());
        assert!(now.keys().contains(&before.forgotten_key()));
        assert!(now.suppressed_as().contains(&before.suppressed_as()[0]));
        let lost = Addresses::new(&"new".into(), &[]).mailbox("ann@example.com");
        assert!(!lost.has_hash(&before.short()));
        // Rows stored under the address itself need no secret.
        assert_eq!(lost.key(), before.key());
        assert_eq!(Mailbox::plain("ANN@example.com").key(), before.key());
        let only = Mailbox::hashed(before.short());
        assert_eq!(only.keys(), [before.forgotten_key()]);
    }
}
