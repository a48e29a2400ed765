//! The settings plugins declare, and which delivery plugin is the active one.

use std::collections::{BTreeMap, HashSet};

use hogsend_plugin_api::{Kind, Manifest, Settings};

use super::reader::{QUOTED, is_quoted};
use super::sender as senders;
use super::{Config, Lookup, Problem};

/// What the plugins are started with.
#[derive(Debug, Default)]
pub struct PluginSettings {
    /// By plugin id; each plugin gets its own only.
    pub settings: BTreeMap<String, Settings>,
    /// The delivery plugins that take mail, in the order they are asked.
    pub deliveries: Vec<String>,
    /// Delivery plugins that take none, but whose webhooks about earlier mails are read.
    pub listening: Vec<String>,
    /// Delivery plugins that could take mail, where it is not settled which do.
    pub candidates: Vec<String>,
    /// Plugins that lack a required setting.
    pub incomplete: HashSet<String>,
    /// The sender: the first delivery plugin's own setting, or the host's.
    pub sender: String,
    /// Plugins whose webhooks are refused: in production those without a secret.
    pub closed_sources: HashSet<String>,
    /// What the operator should know, though nothing is wrong.
    pub warnings: Vec<String>,
}

/// Reads what the manifests declare. The error is every problem with it.
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

/// Reads what the manifests declare, and tells what is wrong with it. Where there is a problem, the
/// settings serve to look for further ones and for nothing else.
pub fn read_plugins(
    manifests: &[&Manifest],
    config: &Config,
    lookup: Lookup<'_>,
) -> (PluginSettings, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut all = PluginSettings::default();
    for manifest in manifests {
        let own = read(manifest, lookup, &mut problems);
        if !complete(manifest, &own) {
            all.incomplete.insert(manifest.id.clone());
        }
        all.settings.insert(manifest.id.clone(), own);
    }
    choose(manifests, config, &mut all, &mut problems);
    trusted(manifests, config, &mut problems);
    for manifest in manifests {
        let own = &all.settings[&manifest.id];
        let delivers = manifest.kinds.contains(&Kind::Delivery);
        let secret = manifest.webhook_secret.as_ref();
        let known = secret.is_some_and(|name| own.get(name).is_some());
        if !delivers || all.deliveries.contains(&manifest.id) {
            missing(manifest, own, &mut problems);
        } else if known && complete(manifest, own) {
            all.listening.push(manifest.id.clone());
        } else {
            continue;
        }
        let Some(name) = secret.filter(|_| !known) else {
            continue;
        };
        all.warnings.push(if config.production {
            all.closed_sources.insert(manifest.id.clone());
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
    all.sender = sender(manifests, config, &mut all, &mut problems);
    (all, problems)
}

/// Looks whether `TRUSTED_SOURCES` names event sources.
fn trusted(manifests: &[&Manifest], config: &Config, problems: &mut Vec<Problem>) {
    let reads = |manifest: &&&Manifest| manifest.kinds.contains(&Kind::EventSource);
    let sources = manifests.iter().filter(reads);
    let known: Vec<&str> = sources.map(|manifest| manifest.id.as_str()).collect();
    for id in &config.trusted_sources {
        if !known.contains(&id.as_str()) {
            let message = format!(
                "names '{id}', which no event source is called; known: {}",
                known.join(", ")
            );
            problems.push(Problem::new("TRUSTED_SOURCES", message));
        }
    }
}

/// The sender, which production does not do without: what would come from an address of ours would
/// be refused, or worse, delivered.
fn sender(
    manifests: &[&Manifest],
    config: &Config,
    all: &mut PluginSettings,
    problems: &mut Vec<Problem>,
) -> String {
    let active = |id: &String| manifests.iter().find(|manifest| manifest.id == *id);
    let active: Vec<&&Manifest> = all.deliveries.iter().filter_map(active).collect();
    for manifest in &active {
        let name = manifest.sender.as_deref();
        let own = name.and_then(|name| Some((name, all.settings[&manifest.id].get(name)?)));
        if let Some((name, text)) = own
            && let Some(wrong) = senders::wrong(text)
        {
            problems.push(Problem::new(name, wrong));
        }
    }
    let first = active.first().copied();
    let setting = first.and_then(|manifest| manifest.sender.as_deref());
    let own = first.zip(setting);
    let own = own.and_then(|(manifest, name)| all.settings[&manifest.id].get(name));
    if let Some(text) = own {
        return text.to_owned();
    }
    if !config.from_email.is_empty() {
        return config.from_email.clone();
    }
    if config.strict() {
        let or = setting.map(|name| format!(", or {name}"));
        let message = format!(
            "is required in production{}: who mails come from, at a domain your provider has \
             verified, as Acme <hello@acme.com>",
            or.unwrap_or_default()
        );
        problems.push(Problem::new("EMAIL_FROM", message));
    } else if first.is_some_and(|manifest| !manifest.local_only) && config.mode.runs() {
        all.warnings.push(format!(
            "EMAIL_FROM is not set: mails come from {}, which a provider refuses. Set it to an \
             address at a domain your provider has verified",
            senders::DEVELOPMENT
        ));
    }
    senders::DEVELOPMENT.to_owned()
}

fn read(manifest: &Manifest, lookup: Lookup<'_>, problems: &mut Vec<Problem>) -> Settings {
    let mut own = Settings::default();
    for setting in &manifest.settings {
        let set = lookup(&setting.name).map(|value| value.trim().to_owned());
        let set = set.filter(|value| !value.is_empty());
        let Some(value) = set.or_else(|| setting.default.clone()) else {
            continue;
        };
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

/// Settles which delivery plugins take mail: the list in `EMAIL_PROVIDER`, or the one provider whose
/// settings are there, or in development the plugin that keeps mails on this machine.
fn choose(
    manifests: &[&Manifest],
    config: &Config,
    read: &mut PluginSettings,
    problems: &mut Vec<Problem>,
) {
    const NAME: &str = "EMAIL_PROVIDER";
    let delivers = |manifest: &&&Manifest| manifest.kinds.contains(&Kind::Delivery);
    let all: Vec<&Manifest> = manifests.iter().filter(delivers).copied().collect();
    let ids = |of: &[&Manifest]| {
        let ids: Vec<&str> = of.iter().map(|manifest| manifest.id.as_str()).collect();
        ids.join(", ")
    };
    for id in &config.email_providers {
        let Some(manifest) = all.iter().find(|manifest| manifest.id == *id) else {
            let message = format!(
                "names '{id}', which no delivery plugin is called; known: {}",
                ids(&all)
            );
            problems.push(Problem::new(NAME, message));
            continue;
        };
        if read.deliveries.contains(id) {
            let message = format!("names '{id}' twice: each provider is asked once");
            problems.push(Problem::new(NAME, message));
            continue;
        }
        if manifest.local_only && config.strict() {
            read.warnings.push(format!(
                "EMAIL_PROVIDER names '{id}', which keeps mails on this machine: nobody gets them"
            ));
        }
        read.deliveries.push(id.clone());
    }
    if !config.email_providers.is_empty() {
        return;
    }
    let ready = |manifest: &&&Manifest| {
        !manifest.local_only && complete(manifest, &read.settings[&manifest.id])
    };
    let ready: Vec<&Manifest> = all.iter().filter(ready).copied().collect();
    match ready.as_slice() {
        [one] => read.deliveries.push(one.id.clone()),
        [] if config.strict() => {
            let providers = all.iter().filter(|manifest| !manifest.local_only);
            let needs = providers.map(|manifest| {
                let required = manifest.settings.iter().filter(|setting| setting.required);
                let names: Vec<_> = required.map(|setting| setting.name.as_str()).collect();
                format!("{} for '{}'", names.join(" and "), manifest.id)
            });
            let message = format!(
                "is not set and no delivery plugin has its settings; set {}",
                needs.collect::<Vec<_>>().join(", or ")
            );
            problems.push(Problem::new(NAME, message));
        }
        [] => {
            let local = all.iter().find(|manifest| manifest.local_only);
            read.deliveries
                .extend(local.map(|manifest| manifest.id.clone()));
        }
        // Which one is meant is a question of running, not of looking.
        several if !config.mode.runs() => {
            read.candidates = several.iter().map(|one| one.id.clone()).collect();
        }
        several => {
            let message = format!(
                "is not set and several providers are configured: set it to one of {}, or to several \
                 in the order they are to be asked, with commas between",
                ids(several)
            );
            problems.push(Problem::new(NAME, message));
            read.candidates = several.iter().map(|one| one.id.clone()).collect();
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
    fn a_missing_key_an_unknown_name_and_a_bad_url_are_told_with_their_fix() {
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
            assert!(settings.sender.contains("hello@acme.com"));
        }
        let (_, problems) = production(&[key, ("SWIFT_FROM", "\"Acme <hello@acme.com>\"")]);
        assert!(
            problems[0].starts_with("SWIFT_FROM stands between quotation marks"),
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
