//! What this host offers plugins, and what a plugin misses here.

use hogsend_plugin_api::journey::Catalogue;
use hogsend_plugin_api::wire::LeftOut;
use hogsend_plugin_api::{HostInfo, Manifest, feature};

/// The features of this host. A plugin that needs another one is loaded all the same, and named.
const FEATURES: &[&str] = &[
    feature::WEBHOOK_REQUESTS,
    feature::WEBHOOK_ANSWER,
    feature::LOG,
    feature::DEADLINE,
    feature::CHECK,
    feature::SETUP,
    feature::CONNECT,
    feature::HISTORY,
    feature::JOURNEY_NOT_AFTER,
];

/// What journeys declare that has no effect in this host, one sentence for each of them.
pub fn without_effect(catalogue: &Catalogue) -> Vec<String> {
    let lacks = |feature| !FEATURES.contains(&feature);
    let journeys = catalogue.journeys.iter();
    let sentences = journeys.filter_map(|journey| {
        let goal = journey.goal.is_some() && lacks(feature::GOALS);
        let holdout = journey.holdout_percent > 0 && lacks(feature::HOLDOUTS);
        let what = match (goal, holdout) {
            (true, true) => {
                "a goal, which is not measured, and a holdout: everybody enters all the same"
            }
            (true, false) => "a goal, which is not measured",
            (false, true) => "a holdout: everybody enters all the same",
            (false, false) => return None,
        };
        let id = journey.id.escape_debug();
        Some(format!(
            "journey '{id}' declares {what}, until a later version of Hogsend"
        ))
    });
    sentences.collect()
}

/// What plugins are told of this host.
pub(super) fn host() -> HostInfo {
    HostInfo::new(env!("CARGO_PKG_VERSION"), FEATURES)
}

/// What this host lacks for a plugin: the features it needs, and what of its manifest cannot be read.
pub(super) fn lacks(manifest: &Manifest, left_out: LeftOut) -> Vec<String> {
    let needs = manifest.needs.iter();
    let needs = needs.filter(|need| !FEATURES.contains(&need.as_str()));
    let needs = needs.map(|need| format!("the feature '{}'", need.escape_debug()));
    needs.chain(left_out.named).collect()
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::journey::{self, Ctx, Journey, User, days};
    use hogsend_plugin_api::wire::LeftOut;
    use hogsend_plugin_api::{Manifest, feature};
    use serde_json::json;

    use super::{lacks, without_effect};

    async fn nothing(_: User, _: Ctx) -> journey::Result {
        Ok(())
    }

    #[test]
    fn what_a_journey_declares_in_vain_is_named() {
        let plain = Journey::new("plain", nothing).trigger("x");
        let goal = Journey::new("goal", nothing).goal("paid", days(7));
        let both = Journey::new("both", nothing)
            .goal("paid", days(7))
            .holdout(10);
        let journeys = [plain, goal, both].map(|journey| json!(journey.definition()));
        let catalogue = json!({ "journeys": journeys });
        let named = without_effect(&serde_json::from_value(catalogue).unwrap());
        assert_eq!(named.len(), 2, "{named:?}");
        assert!(named[0].starts_with("journey 'goal' declares a goal, which is not measured"));
        assert!(named[1].contains("a holdout: everybody enters all the same"));
    }

    #[test]
    fn what_a_plugin_needs_and_the_host_has_not_is_named() {
        let manifest = Manifest::new("x", "1.0.0")
            .needs(feature::LOG)
            .needs("telepathy");
        let mut left_out = LeftOut::default();
        left_out.named.push("the kind 'telepath'".into());
        assert_eq!(
            lacks(&manifest, left_out),
            ["the feature 'telepathy'", "the kind 'telepath'"]
        );
    }
}
