//! The rules for what a plugin says of itself.
//!
//! There is one judgement: the host refuses a plugin at the first fault, `hogsend plugin check` reports
//! every one, and the test kit fails at any.

use std::collections::HashSet;

use hogsend_plugin_api::{Kind, Manifest, Setting, limits};
use semver::Version;

use crate::plugin_id;

/// Characters of a version.
const VERSION_MAX: usize = 64;
/// Characters of the name and the help of a setting.
const SETTING_NAME_MAX: usize = 100;
const HELP_MAX: usize = 1_000;
/// Bytes of a sample webhook.
const SAMPLE_MAX: usize = 64 * 1024;
/// Bytes of a host name (RFC 1035 §2.3.4, without the root's dot).
const HOST_MAX: usize = 253;

/// Everything wrong with a manifest, one sentence each.
pub fn faults(manifest: &Manifest) -> Vec<String> {
    let mut faults: Vec<String> = beyond_limits(manifest);
    faults.extend(wrong_id(&manifest.id));
    let version = &manifest.version;
    if version.len() > VERSION_MAX || Version::parse(version).is_err() {
        faults.push(format!(
            "the plugin has the version '{}': a version is semantic, for example 1.0.0, and has at most \
             {VERSION_MAX} characters",
            shown(version)
        ));
    }
    settings(manifest, &mut faults);
    references(manifest, &mut faults);
    hosts(manifest, &mut faults);
    sample(manifest, &mut faults);
    faults
}

/// What is wrong with a plugin's id.
fn wrong_id(id: &str) -> Option<String> {
    let why = plugin_id::wrong(id)?;
    Some(format!("the plugin has the id '{}': {why}", shown(id)))
}

/// What exceeds a limit of the table in `docs/reference/plugins.md`.
fn beyond_limits(manifest: &Manifest) -> Vec<String> {
    let texts = |one: &Setting| {
        let default = one.default.as_deref().unwrap_or_default();
        [&*one.name, &*one.help, default].map(str::to_owned)
    };
    let of_settings = manifest.settings.iter().flat_map(texts);
    let own = [manifest.version.clone(), manifest.api.clone()];
    let lists = manifest.http_hosts.iter().chain(&manifest.needs).cloned();
    let mut all = of_settings.chain(own).chain(lists);
    let long = all.find_map(|text| limits::MANIFEST_TEXT.check(text.chars().count()).err());
    // A linked plugin is not read from bytes.
    let bytes = serde_json::to_vec(manifest).map_or(usize::MAX, |all| all.len());
    let beyond = [
        limits::SETTINGS.check(manifest.settings.len()).err(),
        limits::HTTP_HOSTS.check(manifest.http_hosts.len()).err(),
        long,
        limits::MANIFEST.check(bytes).err(),
    ];
    let beyond = beyond.into_iter().flatten();
    beyond.map(|why| format!("the manifest {why}")).collect()
}

fn settings(manifest: &Manifest, faults: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for setting in manifest.settings.iter().take(limits::SETTINGS.most) {
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
        let help = &setting.help;
        if help.trim().is_empty() || help.chars().count() > HELP_MAX || help.contains('\n') {
            faults.push(format!(
                "the setting {name} needs one line of help with 1 to {HELP_MAX} characters that says what it \
                 is and where to get it"
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

/// Settings that the manifest names elsewhere are declared.
fn references(manifest: &Manifest, faults: &mut Vec<String>) {
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
}

fn hosts(manifest: &Manifest, faults: &mut Vec<String>) {
    let hosts = manifest.http_hosts.iter();
    for host in hosts.filter(|host| !host.starts_with('$')) {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '*');
        if host.is_empty() || host.len() > HOST_MAX || !host.chars().all(fits) {
            faults.push(format!(
                "http_host has '{}': write a host name without scheme, port and path",
                shown(host)
            ));
        }
    }
}

fn sample(manifest: &Manifest, faults: &mut Vec<String>) {
    let Some(sample) = &manifest.sample_webhook else {
        return;
    };
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

/// The beginning of a text of the plugin, for a message of one line.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(80).collect();
    start.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::{Manifest, Setting};

    use super::faults;

    fn setting(name: &str, help: &str) -> Manifest {
        Manifest::new("acme", "1.0.0").setting(Setting::new(name, help))
    }

    #[test]
    fn each_breach_of_a_rule_is_named() {
        let sound = Manifest::new("acme", "1.2.3-rc.1")
            .setting(Setting::new("ACME_SECRET", "from Acme's page").secret())
            .webhook_secret("ACME_SECRET")
            .http_host("api.acme.com");
        assert_eq!(faults(&sound), Vec::<String>::new());
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
            (setting("ACME_KEY", " "), "one line of help"),
            (setting("ACME_KEY", "one\ntwo"), "one line of help"),
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
            let found = faults(&broken);
            assert!(
                found.iter().any(|fault| fault.contains(expected)),
                "{expected}: {found:?}"
            );
        }
    }

    #[test]
    fn what_exceeds_a_limit_is_named_with_the_limit() {
        let many = |count: usize| {
            let start = Manifest::new("acme", "1.0.0");
            (0..count).fold(start, |all, n| {
                all.setting(Setting::new(&format!("ACME_{n}"), "help"))
            })
        };
        assert_eq!(faults(&many(100)), Vec::<String>::new());
        let default = Setting::new("ACME_URL", "help").default(&"x".repeat(2_001));
        let sample = "x".repeat(1024 * 1024);
        for (broken, expected) in [
            (many(101), "settings of a manifest: 101, at most 100"),
            (
                Manifest::new("acme", "1.0.0").setting(default),
                "2001 characters, at most 2,000 characters",
            ),
            (
                Manifest::new("acme", "1.0.0").sample_webhook(&sample),
                "at most 1 MiB",
            ),
        ] {
            let found = faults(&broken);
            assert!(
                found.iter().any(|fault| fault.contains(expected)),
                "{expected}: {found:?}"
            );
        }
    }

    #[test]
    fn a_fault_is_one_short_line() {
        let broken = setting(&"\n".repeat(9_000), "x").http_host(&"\u{7}".repeat(9_000));
        for fault in faults(&broken) {
            assert!(!fault.contains('\n') && fault.len() < 1_000, "{fault}");
        }
    }
}
