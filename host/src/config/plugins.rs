//! The settings plugins declare, and which delivery plugin is the active one.

use std::collections::{BTreeMap, HashSet};

use hogsend_plugin_api::{Kind, Manifest, Settings};

use super::{Config, Lookup, Problem};

/// What the plugins are started with.
#[derive(Debug)]
pub struct PluginSettings {
    /// By plugin id; each plugin gets its own only.
    pub settings: BTreeMap<String, Settings>,
    /// The delivery plugins that take mail, in the order they are asked.
    pub deliveries: Vec<String>,
    /// Delivery plugins that take none, but whose webhooks about earlier mails are read.
    pub listening: Vec<String>,
    /// The first delivery plugin's own setting for the sender.
    pub from_email: Option<String>,
    /// Plugins whose webhooks are refused: in production those without a secret.
    pub closed_sources: HashSet<String>,
    /// What the operator should know, though nothing is wrong.
    pub warnings: Vec<String>,
}

/// Reads what the manifests declare.
pub fn plugin_settings(
    manifests: &[&Manifest],
    config: &Config,
    lookup: Lookup<'_>,
) -> Result<PluginSettings, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mut closed_sources = HashSet::new();
    let mut settings = BTreeMap::new();
    for manifest in manifests {
        settings.insert(manifest.id.clone(), read(manifest, lookup, &mut problems));
    }
    let deliveries = deliveries(manifests, config, &settings, &mut problems);
    let mut listening = Vec::new();
    for manifest in manifests {
        let own = &settings[&manifest.id];
        let delivers = manifest.kinds.contains(&Kind::Delivery);
        let secret = manifest.webhook_secret.as_ref();
        let known = secret.is_some_and(|name| own.get(name).is_some());
        if !delivers || deliveries.contains(&manifest.id) {
            missing(manifest, own, &mut problems);
        } else if known && complete(manifest, own) {
            listening.push(manifest.id.clone());
        } else {
            continue;
        }
        let Some(name) = secret.filter(|_| !known) else {
            continue;
        };
        warnings.push(if config.production {
            closed_sources.insert(manifest.id.clone());
            format!(
                "{name} is not set: webhooks of '{}' are refused",
                manifest.id
            )
        } else {
            format!(
                "{name} is not set: webhooks of '{}' are taken from anyone, as this is development",
                manifest.id
            )
        });
    }
    let from_email = deliveries.first().and_then(|id| {
        let manifest = manifests.iter().find(|manifest| manifest.id == *id)?;
        let name = manifest.sender.as_deref()?;
        settings[id].get(name).map(str::to_owned)
    });
    if problems.is_empty() {
        Ok(PluginSettings {
            settings,
            deliveries,
            listening,
            from_email,
            closed_sources,
            warnings,
        })
    } else {
        Err(problems)
    }
}

fn read(manifest: &Manifest, lookup: Lookup<'_>, problems: &mut Vec<Problem>) -> Settings {
    let mut own = Settings::default();
    for setting in &manifest.settings {
        let set = lookup(&setting.name).map(|value| value.trim().to_owned());
        let set = set.filter(|value| !value.is_empty());
        let Some(value) = set.or_else(|| setting.default.clone()) else {
            continue;
        };
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
        own.0.insert(setting.name.clone(), value);
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

/// Whether every required setting has a value.
fn complete(manifest: &Manifest, own: &Settings) -> bool {
    let mut required = manifest.settings.iter().filter(|setting| setting.required);
    required.all(|setting| own.get(&setting.name).is_some())
}

/// The list in `EMAIL_PROVIDER`, or the one provider whose settings are there, or in development the
/// plugin that keeps mails on this machine.
fn deliveries(
    manifests: &[&Manifest],
    config: &Config,
    settings: &BTreeMap<String, Settings>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let all: Vec<&Manifest> = manifests
        .iter()
        .copied()
        .filter(|manifest| manifest.kinds.contains(&Kind::Delivery))
        .collect();
    let ids = || {
        all.iter()
            .map(|manifest| manifest.id.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if !config.email_providers.is_empty() {
        let mut wanted: Vec<String> = Vec::new();
        for id in &config.email_providers {
            if !all.iter().any(|manifest| manifest.id == *id) {
                let message = format!(
                    "names '{id}', which no delivery plugin is called; known: {}",
                    ids()
                );
                problems.push(Problem::new("EMAIL_PROVIDER", message));
            } else if wanted.contains(id) {
                let message = format!("names '{id}' twice: each provider is asked once");
                problems.push(Problem::new("EMAIL_PROVIDER", message));
            } else {
                wanted.push(id.clone());
            }
        }
        return wanted;
    }
    let ready: Vec<&Manifest> = all
        .iter()
        .copied()
        .filter(|manifest| !manifest.local_only && complete(manifest, &settings[&manifest.id]))
        .collect();
    match ready.as_slice() {
        [one] => vec![one.id.clone()],
        [] if config.production => {
            let needs: Vec<String> = all
                .iter()
                .filter(|manifest| !manifest.local_only)
                .map(|manifest| {
                    let required = manifest.settings.iter().filter(|setting| setting.required);
                    let names: Vec<_> = required.map(|setting| setting.name.as_str()).collect();
                    format!("{} for '{}'", names.join(" and "), manifest.id)
                })
                .collect();
            let message = format!(
                "is not set and no delivery plugin has its settings; set {}",
                needs.join(", or ")
            );
            problems.push(Problem::new("EMAIL_PROVIDER", message));
            Vec::new()
        }
        [] => all
            .iter()
            .find(|manifest| manifest.local_only)
            .map(|manifest| manifest.id.clone())
            .into_iter()
            .collect(),
        several => {
            let ids: Vec<_> = several
                .iter()
                .map(|manifest| manifest.id.as_str())
                .collect();
            let message = format!(
                "is not set and several providers are configured: set it to one of {}, or to several in the order they are to be asked, with commas between",
                ids.join(", ")
            );
            problems.push(Problem::new("EMAIL_PROVIDER", message));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::{Kind, Manifest, Setting};

    use super::super::{Config, Mode};
    use super::{PluginSettings, plugin_settings};

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
        let active = |pairs: &[(&str, &str)]| settings(pairs).unwrap().deliveries.join(",");
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
            "postal,swift"
        );
    }

    #[test]
    fn webhooks_of_a_provider_that_takes_no_more_mail_are_still_read() {
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
    fn a_missing_key_an_unknown_name_and_a_bad_url_are_told_with_their_mend() {
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
