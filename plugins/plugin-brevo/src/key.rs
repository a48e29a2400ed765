//! Idempotency keys, which Brevo wants to be UUIDs.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// The UUID of a key: the key itself where it is one, else a hash of it in the form of version 4.
pub fn of(key: &str) -> Uuid {
    key.parse().unwrap_or_else(|_| {
        let hash = Sha256::digest(key.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Builder::from_random_bytes(bytes).into_uuid()
    })
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_key_is_always_the_same_uuid_and_no_other_keys() {
        let own = "0198f0a1-0000-7000-8000-000000000001";
        assert_eq!(of(own).to_string(), own);
        let made = of(&format!("{own}-3"));
        assert_eq!(made.to_string(), "2af2919f-7efc-43cc-a027-caf5d30e756d");
        assert_eq!(made.get_version_num(), 4);
        assert_ne!(made, of(&format!("{own}-4")));
    }
}
