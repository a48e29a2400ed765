//! One file for each journey, and shared helpers.
//!
//! All journeys read `url` of the trigger event, the target of the buttons in their mails. The
//! description of a journey names the other properties it reads; each may be missing.

mod activation_nudge_series;
mod activation_welcome;
mod churn_prevention;
mod conversion_abandoned_checkout;
mod conversion_trial_upgrade;
mod feedback_nps;
mod reactivation_dormancy;
mod referral_invite;
mod retention_milestone;
mod test_onboarding;

mod daytime;
mod values;

use hogsend_plugin_api::journey::Journey;

pub fn all() -> Vec<Journey> {
    vec![
        activation_welcome::journey(),
        activation_nudge_series::journey(),
        conversion_trial_upgrade::journey(),
        conversion_abandoned_checkout::journey(),
        churn_prevention::journey(),
        reactivation_dormancy::journey(),
        retention_milestone::journey(),
        feedback_nps::journey(),
        referral_invite::journey(),
        test_onboarding::journey(),
    ]
}
