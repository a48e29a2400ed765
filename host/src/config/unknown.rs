//! Unknown environment variables that look like Hogsend's settings; most are spelling mistakes.

use std::collections::BTreeSet;

use hogsend_plugin_api::Manifest;

use super::{Lookup, TABLE};
use crate::nearest::nearest;

/// Prefixes of the host's settings.
const FAMILIES: [&str; 7] = [
    "HOGSEND_",
    "EMAIL_",
    "BRAND_",
    "BETTER_AUTH_",
    "RATE_LIMIT_",
    "TRUSTED_",
    "EVENT_",
];
/// Settings of the host, with the names other programs use for them.
const ELSEWHERE: [(&str, &[&str]); 4] = [
    (
        "DATABASE_URL",
        &[
            "POSTGRES_URL",
            "POSTGRESQL_URL",
            "POSTGRES_URI",
            "POSTGRES_DSN",
            "POSTGRES_HOST",
            "POSTGRES_USER",
            "POSTGRES_PASSWORD",
            "POSTGRES_DB",
            "PG_URL",
            "PGHOST",
            "DB_URL",
            "DATABASE_URI",
            "DATABASE_DSN",
        ],
    ),
    ("EMAIL_FROM", &["FROM_EMAIL", "MAIL_FROM", "DEFAULT_FROM"]),
    ("REDIS_URL", &["REDIS_URI", "REDIS_HOST", "VALKEY_URL"]),
    (
        "API_PUBLIC_URL",
        &["PUBLIC_URL", "PUBLIC_API_URL", "API_URL"],
    ),
];
/// Prefixes of settings that are not in the table: those of tests, and those that only Hatchet's own programs read.
const NOT_IN_THE_TABLE: [&str; 2] = ["HOGSEND_TEST_", "HATCHET_"];
/// The most variables that are named.
const MOST: usize = 20;

/// A warning for each of `names` that looks like a setting of the host or of a plugin but is not one.
pub fn unknown<'a>(
    names: impl IntoIterator<Item = &'a str>,
    manifests: &[&Manifest],
    lookup: Lookup<'_>,
) -> Vec<String> {
    let own = TABLE.iter().map(|variable| variable.name);
    let plugins = manifests.iter().flat_map(|manifest| &manifest.settings);
    let plugins: Vec<&str> = plugins.map(|setting| setting.name.as_str()).collect();
    let known: BTreeSet<&str> = own.chain(plugins.iter().copied()).collect();
    // Names that begin with that of a vendor most installations do not connect, or with one that many
    // programs share (`AWS_`), are most likely another program's.
    let in_use = manifests.iter().filter(|manifest| !manifest.optional);
    let families: BTreeSet<String> = in_use
        .filter_map(|manifest| manifest.id.split('-').next())
        .map(|vendor| format!("{}_", vendor.to_ascii_uppercase()))
        .chain(FAMILIES.map(str::to_owned))
        .collect();
    let unset = |name: &str| lookup(name).is_none_or(|value| value.trim().is_empty());
    let names: BTreeSet<&str> = names.into_iter().collect();
    let mut warnings = Vec::new();
    for name in names {
        let skipped = known.contains(name)
            || NOT_IN_THE_TABLE
                .iter()
                .any(|prefix| name.starts_with(prefix))
            || unset(name);
        if skipped {
            continue;
        }
        let near = nearest(name, known.iter().copied());
        let elsewhere = ELSEWHERE
            .iter()
            .find(|(ours, theirs)| theirs.contains(&name) && unset(ours));
        let upper = name.to_ascii_uppercase();
        let family = families.iter().any(|family| upper.starts_with(family));
        let meant = match (near, elsewhere) {
            (_, Some((ours, _))) => Some(*ours),
            // Another program's variable may be similar to ours: suggest ours only if it is not set.
            (Some(near), None) if family || (name.len() > 5 && unset(near)) => Some(near),
            (_, None) if family => None,
            _ => continue,
        };
        warnings.push(match meant {
            Some(meant) => format!("{name} is not a setting of Hogsend: did you mean {meant}?"),
            None => format!(
                "{name} is not a setting of Hogsend or of a plugin: `hogsend settings` lists them"
            ),
        });
    }
    let more = warnings.len().saturating_sub(MOST);
    if more > 0 {
        warnings.truncate(MOST);
        warnings.push(format!(
            "{more} more variables look like settings but are not"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::{Manifest, Setting};

    use super::unknown;

    #[test]
    fn misspelt_settings_are_named_with_the_nearest_and_the_rest_of_the_environment_is_left_alone()
    {
        let swift = Manifest::new("swift", "1.0.0")
            .setting(Setting::new("SWIFT_API_KEY", "key"))
            .setting(Setting::new("AWS_ACCESS_KEY_ID", "key"));
        let set = [
            ("SWIFT_APIKEY", "SWIFT_API_KEY"),
            ("SWIFT_COLOUR", "hogsend settings"),
            ("POSTGRES_URL", "DATABASE_URL"),
            ("database_url", "DATABASE_URL"),
            ("ENABLED_JOURNEY", "ENABLED_JOURNEYS"),
            ("EMAIL_FORM", "EMAIL_FROM"),
            ("NODE_EVN", "NODE_ENV"),
            ("AWS_ACCES_KEY_ID", "AWS_ACCESS_KEY_ID"),
        ];
        let fine = [
            "PATH",
            "HOME",
            "USER",
            "PWD",
            "LANG",
            "TERM",
            "HOSTNAME",
            "SHLVL",
            "OLDPWD",
            "NODE_OPTIONS",
            "NODE_VERSION",
            "RAILWAY_PROJECT_ID",
            "KUBERNETES_PORT",
            "LOGNAME",
            "SWIFT_API_KEY",
            "HOGSEND_TEST_CLOCK",
            "CARGO_HOME",
            "SSH_AUTH_SOCK",
            "REDIS_PORT",
            // Others of the vendor's programs read them.
            "AWS_CA_BUNDLE",
            "AWS_PROFILE",
        ];
        let lookup = |name: &str| {
            let some = set.iter().any(|(set, _)| *set == name) || fine.contains(&name);
            some.then(|| "hush".to_owned())
        };
        let names = set.iter().map(|(name, _)| *name).chain(fine);
        let warnings = unknown(names, &[&swift], &lookup);
        assert_eq!(warnings.len(), set.len(), "{warnings:#?}");
        for (name, meant) in set {
            let warning = warnings.iter().find(|text| text.starts_with(name)).unwrap();
            assert!(
                warning.contains(meant) && !warning.contains("hush"),
                "{warning}"
            );
        }
    }
}
