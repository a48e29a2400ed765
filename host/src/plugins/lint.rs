//! The rules for what a plugin says of itself. `hogsend plugin check` reports every breach, and loading
//! refuses a plugin with one.

use std::collections::{BTreeSet, HashSet};

use hogsend_plugin_api::journey::Catalogue;
use hogsend_plugin_api::{Kind, Manifest, limits};
use semver::Version;

/// Characters of the id of a journey, a template or a category.
const ID_MAX: usize = 100;
/// Characters of a version.
const VERSION_MAX: usize = 64;
/// Settings of one plugin, and characters of their names and help.
const SETTINGS_MAX: usize = limits::SETTINGS.most;
const SETTING_NAME_MAX: usize = 100;
const HELP_MAX: usize = 1_000;
/// Bytes of a sample webhook.
const SAMPLE_MAX: usize = 64 * 1024;

/// What is wrong with a plugin's id.
pub fn plugin_id(id: &str) -> Option<String> {
    let why = hogsend_semantics::plugin_id::wrong(id)?;
    Some(format!("the plugin has the id '{}': {why}", shown(id)))
}

/// Everything wrong with a manifest.
pub fn manifest(manifest: &Manifest) -> Vec<String> {
    let mut faults: Vec<String> = plugin_id(&manifest.id).into_iter().collect();
    let version = &manifest.version;
    if version.len() > VERSION_MAX || Version::parse(version).is_err() {
        faults.push(format!(
            "the plugin has the version '{}': a version is semantic, for example 1.0.0, and has at most \
             {VERSION_MAX} characters",
            shown(version)
        ));
    }
    settings(manifest, &mut faults);
    let declared: HashSet<&str> = manifest.settings.iter().map(|one| &*one.name).collect();
    let named = [
        ("webhook_secret", &manifest.webhook_secret),
        ("captures_with", &manifest.captures_with),
        ("sender", &manifest.sender),
    ];
    let hosts = manifest.http_hosts.iter();
    let hosts = hosts.filter_map(|host| Some(("http_host", host.strip_prefix('$')?)));
    let named = named
        .iter()
        .filter_map(|(what, name)| Some((*what, name.as_deref()?)));
    for (what, name) in named.chain(hosts) {
        if !declared.contains(name) {
            faults.push(format!(
                "{what} names the setting '{}', which the manifest does not declare: add it with `.setting(…)`",
                shown(name)
            ));
        }
    }
    for host in manifest
        .http_hosts
        .iter()
        .filter(|host| !host.starts_with('$'))
    {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '*');
        if host.is_empty() || host.len() > 253 || !host.chars().all(fits) {
            faults.push(format!(
                "http_host has '{}': write a host name without scheme, port and path",
                shown(host)
            ));
        }
    }
    if let Some(sample) = &manifest.sample_webhook {
        if sample.contains('\n') || sample.len() > SAMPLE_MAX {
            faults.push(format!(
                "the sample webhook must be one line of at most {} KiB",
                SAMPLE_MAX / 1024
            ));
        }
        if !manifest.kinds.contains(&Kind::EventSource) {
            faults.push("a sample webhook is for an event source: remove it".into());
        }
    }
    faults
}

fn settings(manifest: &Manifest, faults: &mut Vec<String>) {
    if manifest.settings.len() > SETTINGS_MAX {
        faults.push(format!(
            "the manifest declares more than {SETTINGS_MAX} settings"
        ));
    }
    let mut seen = HashSet::new();
    for setting in manifest.settings.iter().take(SETTINGS_MAX) {
        let name = shown(&setting.name);
        let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let sound = setting.name.starts_with(|c: char| c.is_ascii_uppercase())
            && setting.name.len() <= SETTING_NAME_MAX
            && setting.name.chars().all(fits);
        if !sound {
            faults.push(format!(
                "the setting '{name}' is no variable's name: write up to {SETTING_NAME_MAX} capital letters, \
                 digits and underscores, beginning with a letter"
            ));
        }
        if !seen.insert(&setting.name) {
            faults.push(format!("the setting {name} is declared twice: remove one"));
        }
        if setting.help.trim().is_empty() || setting.help.len() > HELP_MAX {
            faults.push(format!(
                "the setting {name} needs a help text of 1 to {HELP_MAX} characters that says what it is and \
                 where to get it"
            ));
        }
        if setting.required && setting.default.is_some() {
            faults.push(format!(
                "the setting {name} is required and has a default: choose one"
            ));
        }
        if setting.secret && setting.default.is_some() {
            faults.push(format!(
                "the setting {name} is secret and has a default: remove the default"
            ));
        }
    }
}

/// Everything wrong with the ids of journeys, templates and categories.
pub fn catalogue(catalogue: &Catalogue) -> Vec<String> {
    let mut faults = BTreeSet::new();
    let journeys = catalogue.journeys.iter();
    let journeys = journeys.map(|journey| ("journey", journey.id.as_str()));
    let templates = catalogue.templates.iter();
    let templates = templates.map(|template| ("template", template.key.as_str()));
    let lists = catalogue.categories.iter();
    let lists = lists.map(|list| ("category", list.id.as_str()));
    let journeys_lists = catalogue.journeys.iter();
    let journeys_lists = journeys_lists.map(|journey| ("category", journey.category.as_str()));
    let own = catalogue.templates.iter();
    let own = own.filter_map(|template| Some(("category", template.category.as_deref()?)));
    let all = journeys.chain(templates).chain(lists);
    for (what, id) in all.chain(journeys_lists).chain(own) {
        if !is_id(id) {
            faults.insert(format!(
                "the {what} '{}' has no valid id: an id has 1 to {ID_MAX} characters, which are letters, \
                 digits, hyphens, underscores and dots, and begins with a letter or digit",
                shown(id)
            ));
        }
    }
    faults.into_iter().collect()
}

fn is_id(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= ID_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(fits)
}

fn shown(text: &str) -> String {
    let start: String = text.chars().take(80).collect();
    start.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::{Manifest, Setting};

    use super::{is_id, manifest};

    #[test]
    fn each_breach_of_a_rule_is_named() {
        let sound = Manifest::new("acme", "1.2.3-rc.1")
            .setting(Setting::new("ACME_SECRET", "from Acme's page").secret())
            .webhook_secret("ACME_SECRET")
            .http_host("api.acme.com");
        assert_eq!(manifest(&sound), Vec::<String>::new());
        let setting = |name: &str, help: &str| {
            Manifest::new("acme", "1.0.0").setting(Setting::new(name, help))
        };
        for (broken, expected) in [
            (Manifest::new("acme", "latest"), "version 'latest'"),
            (Manifest::new("acme", ""), "semantic"),
            (Manifest::new("Acme", "1.0.0"), "id 'Acme'"),
            (
                Manifest::new(&"a".repeat(65), "1.0.0"),
                "1 to 64 lower-case letters",
            ),
            (Manifest::new("db", "1.0.0"), "Hogsend's own"),
            (setting("acme_key", "x"), "'acme_key'"),
            (setting("ACME_KEY", " "), "help text"),
            (
                setting("ACME_KEY", "x").setting(Setting::new("ACME_KEY", "x")),
                "twice",
            ),
            (Manifest::new("acme", "1.0.0").sender("FROM"), "'FROM'"),
            (
                Manifest::new("acme", "1.0.0").http_host("https://acme.com/x"),
                "without scheme",
            ),
            (Manifest::new("acme", "1.0.0").http_host("$URL"), "'URL'"),
            (sound.sample_webhook("{}"), "event source"),
        ] {
            let faults = manifest(&broken);
            assert!(
                faults.iter().any(|fault| fault.contains(expected)),
                "{expected}: {faults:?}"
            );
        }
    }

    #[test]
    fn an_id_is_a_plain_name() {
        for id in ["welcome", "Trial_1.b-c", "7-days"] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", "Fault Journey/../x", ".hidden", "ä", &"x".repeat(101)] {
            assert!(!is_id(id), "{id}");
        }
    }
}
