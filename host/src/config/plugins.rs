//! The settings that plugins declare, and which delivery plugins are active.

use std::collections::BTreeSet;

use hogsend_plugin_api::{Kind, Manifest, Setting, Settings, limits};

use super::reader::{QUOTED, is_quoted};
use super::started::{PluginSettings, complete};
use super::{Config, Lookup, Problem, providers, shared};

/// Reads the settings that the manifests declare.
///
/// # Errors
/// Every problem with them.
pub fn plugin_settings(
    manifests: &[&Manifest],
    config: &Config,
    lookup: Lookup<'_>,
) -> Result<PluginSettings, Vec<Problem>> {
    match read_plugins(manifests, config, lookup) {
        (settings, problems) if problems.is_empty() => Ok(settings),
        (_, problems) => Err(problems),
    }
}

/// Reads the settings that the manifests declare and reports every problem with them. If there is one,
/// the settings may only be used to look for further problems.
pub fn read_plugins(
    manifests: &[&Manifest],
    config: &Config,
    lookup: Lookup<'_>,
) -> (PluginSettings, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut all = PluginSettings::default();
    let denied = shared::denied(manifests, &config.shared_settings, &mut problems);
    all.warnings
        .extend(shared::unused(manifests, &config.shared_settings));
    for manifest in manifests {
        let none = BTreeSet::new();
        let denied = denied.get(manifest.id.as_str()).unwrap_or(&none);
        let own = read(manifest, denied, lookup, &mut problems);
        if !complete(manifest, &own) || !denied.is_empty() {
            all.incomplete.insert(manifest.id.clone());
        }
        all.settings.insert(manifest.id.clone(), own);
    }
    providers::choose(manifests, config, &mut all, &mut problems);
    trusted(manifests, config, &mut problems);
    let allowed = |manifest: &&&Manifest| !denied.contains_key(manifest.id.as_str());
    for manifest in manifests.iter().filter(allowed) {
        validate(manifest, config, &mut all, &mut problems);
    }
    all.senders = providers::senders(manifests, config, &mut all, &mut problems);
    (all, problems)
}

/// Checks the settings of a plugin that is in use, and whether its webhooks can be verified. A
/// delivery plugin that is not active is in use for its webhooks alone, unless it has another kind.
fn validate(
    manifest: &Manifest,
    config: &Config,
    all: &mut PluginSettings,
    problems: &mut Vec<Problem>,
) {
    let own = &all.settings[&manifest.id];
    let delivers = manifest.kinds.contains(&Kind::Delivery);
    let only_delivers = manifest.kinds == [Kind::Delivery];
    let secret = manifest.webhook_secret.as_ref();
    let known = secret.is_some_and(|name| own.get(name).is_some());
    let active = !all.deliveries.purposes(&manifest.id).is_empty();
    let listens = delivers && !active && known && complete(manifest, own);
    if active || !only_delivers {
        missing(manifest, own, problems);
    } else if !listens {
        return;
    }
    if listens {
        all.listening.push(manifest.id.clone());
    }
    let Some(name) = secret.filter(|_| !known) else {
        return;
    };
    let id = &manifest.id;
    if config.production {
        all.closed_sources.insert(id.clone());
    }
    if manifest.optional {
        return;
    }
    all.warnings.push(if config.production {
        format!("{name} is not set: webhooks of '{id}' are refused")
    } else {
        format!("{name} is not set: in development, webhooks of '{id}' are accepted from anyone")
    });
}

/// Checks that `TRUSTED_SOURCES` names event sources.
fn trusted(manifests: &[&Manifest], config: &Config, problems: &mut Vec<Problem>) {
    let reads = |manifest: &&&Manifest| manifest.kinds.contains(&Kind::EventSource);
    let sources = manifests.iter().filter(reads);
    let known: Vec<&str> = sources.map(|manifest| manifest.id.as_str()).collect();
    for id in &config.trusted_sources {
        if !known.contains(&id.as_str()) {
            let message = format!(
                "names '{id}', but no event source has this id; known: {}",
                known.join(", ")
            );
            problems.push(Problem::new("TRUSTED_SOURCES", message));
        }
    }
}

fn read(
    manifest: &Manifest,
    denied: &BTreeSet<&str>,
    lookup: Lookup<'_>,
    problems: &mut Vec<Problem>,
) -> Settings {
    let mut own = Settings::default();
    let allowed = |setting: &&Setting| !denied.contains(setting.name.as_str());
    for setting in manifest.settings.iter().filter(allowed) {
        let set = lookup(&setting.name).map(|value| value.trim().to_owned());
        let set = set.filter(|value| !value.is_empty());
        let Some(value) = set.or_else(|| setting.default.clone()) else {
            continue;
        };
        if let Err(why) = limits::SETTING_VALUE.check(value.len()) {
            problems.push(Problem::new(&setting.name, why));
            continue;
        }
        if is_quoted(&value) && !setting.secret {
            problems.push(Problem::new(&setting.name, QUOTED));
            continue;
        }
        let is_url =
            reqwest::Url::parse(&value).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if setting.url && !is_url {
            let message = format!(
                "is not a URL of the form https://… (plugin '{}': {})",
                manifest.id, setting.help
            );
            problems.push(Problem::new(&setting.name, message));
            continue;
        }
        own.insert(&setting.name, &value);
    }
    own
}

fn missing(manifest: &Manifest, own: &Settings, problems: &mut Vec<Problem>) {
    let unset = manifest
        .settings
        .iter()
        .filter(|setting| setting.required && own.get(&setting.name).is_none());
    for setting in unset {
        let reported = problems.iter().any(|problem| problem.name == setting.name);
        if !reported {
            let message = format!("is required by plugin '{}': {}", manifest.id, setting.help);
            problems.push(Problem::new(&setting.name, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::{Kind, Manifest, Setting};

    use super::super::{Config, Mode};
    use super::{PluginSettings, plugin_settings, read_plugins};

    fn manifests() -> [Manifest; 3] {
        let delivery = |id: &str| {
            let mut manifest = Manifest::new(id, "1.0.0");
            manifest.kinds = vec![Kind::Delivery];
            manifest
        };
        let key = |name: &str| {
            Setting::new(name, "make one at the provider")
                .required()
                .secret()
        };
        [
            delivery("swift")
                .setting(key("SWIFT_KEY"))
                .setting(Setting::new("SWIFT_URL", "base").url())
                .setting(Setting::new("SWIFT_HOOK", "signs webhooks").secret())
                .webhook_secret("SWIFT_HOOK"),
            delivery("postal").setting(key("POSTAL_KEY")),
            delivery("folder").local_only(),
        ]
    }

    fn settings(pairs: &[(&str, &str)]) -> Result<PluginSettings, Vec<String>> {
        let lookup = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let all = manifests();
        let config = Config::load(&lookup, Mode::Dev).unwrap();
        plugin_settings(&all.each_ref(), &config, &lookup)
            .map_err(|all| all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_active_provider_follows_from_what_is_set() {
        let active = |pairs: &[(&str, &str)]| settings(pairs).unwrap().deliveries.describe();
        assert_eq!(active(&[]), "folder");
        assert_eq!(active(&[("POSTAL_KEY", "k")]), "postal");
        assert_eq!(
            active(&[
                ("POSTAL_KEY", "k"),
                ("SWIFT_KEY", "k"),
                ("EMAIL_PROVIDER", "swift")
            ]),
            "swift"
        );
        assert_eq!(
            active(&[
                ("POSTAL_KEY", "k"),
                ("SWIFT_KEY", "k"),
                ("EMAIL_PROVIDER", "postal, swift")
            ]),
            "postal, swift"
        );
    }

    #[test]
    fn webhooks_of_a_former_provider_are_still_read() {
        let all = settings(&[
            ("POSTAL_KEY", "k"),
            ("SWIFT_KEY", "k"),
            ("SWIFT_HOOK", "s"),
            ("EMAIL_PROVIDER", "postal"),
        ]);
        assert_eq!(all.unwrap().listening, ["swift"]);
        let all = settings(&[("SWIFT_HOOK", "s"), ("EMAIL_PROVIDER", "folder")]);
        assert!(all.unwrap().listening.is_empty());
    }

    #[test]
    fn a_plugin_with_another_kind_than_delivery_is_in_use_whichever_provider_is_active() {
        let kinds = [Kind::EventSource, Kind::Analytics, Kind::Journeys];
        for others in [&kinds[..0], &kinds[..1], &kinds[1..2], &kinds[2..], &kinds] {
            let [mut acme, _, folder] = manifests();
            acme.kinds.extend(others);
            let read = |pairs: &[(&str, &str)]| {
                let lookup = |name: &str| {
                    let own = [("EMAIL_PROVIDER", "folder")];
                    let found = own.iter().chain(pairs).find(|(key, _)| *key == name);
                    found.map(|(_, value)| (*value).to_owned())
                };
                let config = Config::load(&lookup, Mode::Dev).unwrap();
                let (all, problems) = read_plugins(&[&acme, &folder], &config, &lookup);
                assert_eq!(all.deliveries.describe(), "folder");
                (all, problems)
            };
            let (_, problems) = read(&[]);
            let missing = problems.iter().any(|one| one.name == "SWIFT_KEY");
            assert_eq!(missing, !others.is_empty(), "{others:?}");
            let (all, problems) = read(&[("SWIFT_KEY", "k")]);
            assert!(
                problems.is_empty() && all.listening.is_empty(),
                "{others:?}"
            );
            let (all, _) = read(&[("SWIFT_KEY", "k"), ("SWIFT_HOOK", "s")]);
            assert_eq!(all.listening, ["swift"], "{others:?}");
        }
    }

    #[test]
    fn a_missing_key_an_unknown_name_and_a_bad_url_are_reported_with_their_fix() {
        let problems =
            settings(&[("EMAIL_PROVIDER", "swift"), ("SWIFT_URL", "nonsense")]).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(
            problems[1].contains("SWIFT_KEY is required by plugin 'swift': make one"),
            "{problems:?}"
        );
        let problems = settings(&[("EMAIL_PROVIDER", "pigeon")]).unwrap_err();
        assert!(
            problems[0].contains("known: swift, postal, folder"),
            "{problems:?}"
        );
        let problems = settings(&[("EMAIL_PROVIDER", "folder,folder")]).unwrap_err();
        assert!(problems[0].contains("twice"), "{problems:?}");
        let problems = settings(&[("POSTAL_KEY", "k"), ("SWIFT_KEY", "k")]).unwrap_err();
        assert!(
            problems[0].contains("set it to one of swift, postal"),
            "{problems:?}"
        );
    }

    fn production(pairs: &[(&str, &str)]) -> (PluginSettings, Vec<String>) {
        let lookup = |name: &str| match name {
            "NODE_ENV" => Some("production".to_owned()),
            name => {
                let found = pairs.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            }
        };
        let mut all = manifests();
        all[0] = all[0]
            .clone()
            .setting(Setting::new("SWIFT_FROM", "sender"))
            .sender("SWIFT_FROM");
        let (config, _) = Config::read(&lookup, Mode::Api);
        let (settings, problems) = read_plugins(&all.each_ref(), &config, &lookup);
        (settings, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn production_needs_a_sender_that_can_be_parsed_and_a_provider_that_sends() {
        let key = ("SWIFT_KEY", "k");
        let (_, problems) = production(&[key]);
        assert!(
            problems[0].starts_with("EMAIL_FROM is required in production, or SWIFT_FROM:"),
            "{problems:?}"
        );
        for pairs in [
            [key, ("EMAIL_FROM", "Acme <hello@acme.com>")],
            [key, ("SWIFT_FROM", "hello@acme.com")],
        ] {
            let (settings, problems) = production(&pairs);
            assert!(problems.is_empty(), "{problems:?}");
            assert!(settings.senders.lifecycle.contains("hello@acme.com"));
        }
        let (_, problems) = production(&[key, ("SWIFT_FROM", "\"Acme <hello@acme.com>\"")]);
        assert!(
            problems[0].starts_with("SWIFT_FROM is in quotation marks"),
            "{problems:?}"
        );
        let (_, problems) = production(&[key, ("SWIFT_FROM", "foo")]);
        assert!(
            problems[0].starts_with("SWIFT_FROM is 'foo'"),
            "{problems:?}"
        );
        let (settings, problems) =
            production(&[("EMAIL_PROVIDER", "folder"), ("EMAIL_FROM", "a@acme.com")]);
        assert!(problems.is_empty(), "{problems:?}");
        assert!(settings.warnings[0].contains("keeps mails on this machine"));
        let (_, problems) = production(&[("EMAIL_FROM", "a@acme.com")]);
        assert!(
            problems[0].contains("SWIFT_KEY for 'swift', or POSTAL_KEY for 'postal'"),
            "{problems:?}"
        );
    }

    #[test]
    fn transactional_mail_has_providers_and_a_sender_of_its_own() {
        let keys = [("SWIFT_KEY", "k"), ("POSTAL_KEY", "k")];
        let with = |more: &[(&'static str, &'static str)]| {
            let (settings, problems) = production(&[&keys[..], more].concat());
            let senders = settings.senders;
            (
                settings.deliveries.describe(),
                format!("{} {}", senders.lifecycle, senders.transactional),
                problems,
            )
        };
        let (_, _, problems) = with(&[("EMAIL_PROVIDER_TRANSACTIONAL", "swift")]);
        assert!(
            problems[0].starts_with("EMAIL_PROVIDER is not set"),
            "{problems:?}"
        );
        let apart = [
            ("EMAIL_PROVIDER", "postal"),
            ("EMAIL_PROVIDER_TRANSACTIONAL", "swift, postal"),
            ("EMAIL_FROM", "news@acme.com"),
        ];
        let cases: [(&[_], _); 3] = [
            (&[], "news@acme.com news@acme.com"),
            // The setting of the first provider of this purpose, as for other mail.
            (
                &[("SWIFT_FROM", "swift@acme.com")],
                "news@acme.com swift@acme.com",
            ),
            (
                &[
                    ("SWIFT_FROM", "swift@acme.com"),
                    ("EMAIL_FROM_TRANSACTIONAL", "accounts@acme.com"),
                ],
                "news@acme.com accounts@acme.com",
            ),
        ];
        for (more, expected) in cases {
            let (providers, senders, problems) = with(&[&apart[..], more].concat());
            assert!(problems.is_empty(), "{problems:?}");
            assert_eq!(
                providers,
                "postal; transactional mail through swift, postal"
            );
            assert_eq!(senders, expected);
        }
        let wrong = [("EMAIL_PROVIDER_TRANSACTIONAL", "swift,pigeon,swift")];
        let (_, _, problems) = with(&[&apart[..1], &apart[2..], &wrong[..]].concat());
        assert!(
            problems[0].starts_with("EMAIL_PROVIDER_TRANSACTIONAL names 'pigeon'"),
            "{problems:?}"
        );
        assert!(problems[1].contains("'swift' twice"), "{problems:?}");
        // A provider of transactional mail alone needs its settings, too.
        let (_, problems) = production(&[
            ("POSTAL_KEY", "k"),
            ("EMAIL_FROM", "news@acme.com"),
            ("EMAIL_PROVIDER_TRANSACTIONAL", "swift"),
        ]);
        assert!(
            problems[0].starts_with("SWIFT_KEY is required by plugin 'swift'"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_trusted_source_is_an_event_source_that_is_there() {
        let load = |id: &str| {
            let lookup = |name: &str| (name == "TRUSTED_SOURCES").then(|| id.to_owned());
            let mut source = Manifest::new("tracker", "1.0.0").untrusted();
            source.kinds = vec![Kind::EventSource];
            let [delivery, ..] = manifests();
            let config = Config::load(&lookup, Mode::Migrate)
                .unwrap_or_else(|_| Config::read(&lookup, Mode::Migrate).0);
            let (_, problems) = read_plugins(&[&source, &delivery], &config, &lookup);
            let all = problems.iter().map(ToString::to_string);
            all.filter(|text| text.starts_with("TRUSTED_SOURCES"))
                .collect::<Vec<_>>()
        };
        assert!(load("tracker").is_empty());
        for unknown in ["swift", "trakcer", "tracker, other"] {
            let problems = load(unknown);
            assert!(problems[0].ends_with("known: tracker"), "{problems:?}");
        }
    }

    #[test]
    fn a_plugin_gets_its_own_settings_only() {
        let all = settings(&[
            ("SWIFT_KEY", "s"),
            ("POSTAL_KEY", "p"),
            ("EMAIL_PROVIDER", "swift"),
        ])
        .unwrap();
        assert_eq!(all.settings["swift"].get("SWIFT_KEY"), Some("s"));
        assert_eq!(all.settings["swift"].get("POSTAL_KEY"), None);
    }
}
