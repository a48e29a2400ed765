//! Assigns people to the arms of an experiment.

use hogsend_plugin_api::StepError;
use hogsend_plugin_api::journey::VariantArgs;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The arm of a person, chosen by the SHA-256 of journey, key and person and evenly distributed.
///
/// # Errors
///
/// `variant_without_arms` where `args` has no arms.
pub fn arm(args: &VariantArgs, journey: &str, person: Uuid) -> Result<String, StepError> {
    let mut hash = Sha256::new();
    for part in [journey.as_bytes(), args.key.as_bytes(), person.as_bytes()] {
        // The lengths distinguish "ab", "c" from "a", "bc".
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    u64::from_be_bytes(first)
        .checked_rem(args.arms.len() as u64)
        .and_then(|place| args.arms.get(place as usize).cloned())
        .ok_or_else(|| {
            let message = format!("the variant '{}' has no arms: name at least one", args.key);
            StepError::new("variant_without_arms", message)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_spread_evenly_and_stay_where_they_are() {
        let args = VariantArgs::new("subject", &["a", "b", "c"]);
        let mut counts = [0; 3];
        for person in 0..3_000 {
            let person = Uuid::from_u128(person);
            let arm = super::arm(&args, "welcome", person).unwrap();
            assert_eq!(arm, super::arm(&args, "welcome", person).unwrap());
            counts[args.arms.iter().position(|one| *one == arm).unwrap()] += 1;
        }
        assert!(
            counts.iter().all(|count| (900..1_100).contains(count)),
            "{counts:?}"
        );
        let none = VariantArgs::new("subject", &[]);
        let error = super::arm(&none, "welcome", Uuid::nil()).unwrap_err();
        assert_eq!(error.code, "variant_without_arms");
    }
}
