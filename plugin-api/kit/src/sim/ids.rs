//! Ids that are the same in every simulation with the same seed.

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The id of a person, run or mail, by its kind and name.
pub(super) fn id(seed: u64, kind: &str, name: &str) -> Uuid {
    let text = format!("{kind}\0{name}");
    uuid::Builder::from_random_bytes(xxh3_128_with_seed(text.as_bytes(), seed).to_be_bytes())
        .into_uuid()
}
