//! What this host offers plugins, and what a plugin misses here.

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
    feature::JOURNEY_NOT_AFTER,
];

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
    use hogsend_plugin_api::wire::LeftOut;
    use hogsend_plugin_api::{Manifest, feature};

    use super::lacks;

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
