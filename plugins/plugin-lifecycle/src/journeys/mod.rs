//! One file for each journey.

mod activation_welcome;
mod test_onboarding;

use hogsend_plugin_api::journey::Journey;

pub fn all() -> Vec<Journey> {
    vec![activation_welcome::journey(), test_onboarding::journey()]
}
