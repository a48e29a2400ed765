//! Which plugin may read which setting. A plugin declares the settings that it reads, so without a rule it
//! could declare a key of the host or of another vendor, and send it anywhere.

use std::collections::{BTreeMap, BTreeSet};

use hogsend_plugin_api::{Manifest, Setting};

use super::reader::Reader;
use super::{Problem, TABLE};

pub(super) const NAME: &str = "PLUGIN_SHARED_SETTINGS";
const CODE: &str = "PLUGIN-016";
/// Prefixes of the host's settings that are not in the table.
const OF_THE_HOST: [&str; 2] = ["HOGSEND_", "HATCHET_"];

/// A plugin that the operator lets read a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub plugin: String,
    pub setting: String,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Vec<Grant> {
    let parse = |text: &str| {
        let (plugin, setting) = text.split_once(':')?;
        let (plugin, setting) = (plugin.trim(), setting.trim());
        let sound = !plugin.is_empty() && !setting.is_empty();
        sound.then(|| Grant {
            plugin: plugin.to_owned(),
            setting: setting.to_owned(),
        })
    };
    let form = "a comma-separated list of plugin:SETTING, for example acme:RESEND_API_KEY";
    reader.list(NAME, parse, form)
}

/// The settings that plugins declare and do not get, by the plugins' ids. Each is a problem.
///
/// A setting of the host is denied to every plugin. One that several plugins declare belongs to all of
/// them if each declares it as [shared](Setting::shared), else to the one whose id its name begins with;
/// the others, or all if there is none, are denied it. The operator's grants come first.
pub(super) fn denied<'a>(
    manifests: &[&'a Manifest],
    grants: &[Grant],
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut claims: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    for manifest in manifests {
        for Setting { name, shared, .. } in &manifest.settings {
            let granted = |grant: &Grant| grant.plugin == manifest.id && grant.setting == *name;
            if !grants.iter().any(granted) {
                let own = claims.entry(name).or_default();
                // Two versions of a plugin are one plugin.
                let claim = own.entry(&manifest.id).or_insert(true);
                *claim &= *shared;
            }
        }
    }
    let mut denied: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, claims) in claims {
        let plugins: Vec<&str> = claims.keys().copied().collect();
        let (losers, whose) = if is_of_host(name) {
            (plugins, "of Hogsend".to_owned())
        } else if plugins.len() < 2 || claims.values().all(|shared| *shared) {
            continue;
        } else if let Some(owner) = plugins.iter().copied().find(|id| begins_with(name, id)) {
            let others = plugins.into_iter().filter(|id| *id != owner).collect();
            (others, format!("of the plugin '{owner}'"))
        } else {
            let all = format!("that several plugins read ({})", plugins.join(", "));
            (plugins, all)
        };
        for id in losers {
            let message = format!(
                "the plugin '{id}' reads {name}, a setting {whose}: if you want it to, set \
                 {NAME}={id}:{name}; if not, remove the plugin"
            );
            problems.push(Problem::new(CODE, message));
            denied.entry(id).or_default().insert(name);
        }
    }
    denied
}

/// A warning for each grant that nothing uses.
pub(super) fn unused(manifests: &[&Manifest], grants: &[Grant]) -> Vec<String> {
    let used = |grant: &&Grant| {
        let mut of_plugin = manifests.iter().filter(|one| one.id == grant.plugin);
        of_plugin.any(|one| one.settings.iter().any(|own| own.name == grant.setting))
    };
    let unused = grants.iter().filter(|grant| !used(grant));
    unused
        .map(|Grant { plugin, setting }| {
            format!("{NAME} names {plugin}:{setting}, but no plugin '{plugin}' reads {setting}: remove it")
        })
        .collect()
}

fn is_of_host(name: &str) -> bool {
    let prefix = OF_THE_HOST.iter().any(|prefix| name.starts_with(prefix));
    prefix || TABLE.iter().any(|variable| variable.name == name)
}

/// Whether a setting is named after the plugin: `ACME_API_KEY` after `acme`.
fn begins_with(name: &str, id: &str) -> bool {
    let prefix = id.to_ascii_uppercase().replace('-', "_");
    let rest = name.strip_prefix(&prefix);
    rest.is_some_and(|rest| rest.starts_with('_'))
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::{Manifest, Setting};

    use super::super::{Config, Mode, read_plugins};

    /// The problems, and the settings that each plugin gets.
    fn start(manifests: &[Manifest], grants: &str) -> (Vec<String>, String) {
        let lookup = |name: &str| match name {
            "PLUGIN_SHARED_SETTINGS" => Some(grants.to_owned()),
            "NODE_ENV" => None,
            "DATABASE_URL" => Some("postgres://u:hush@db/x".to_owned()),
            name if name.ends_with("_KEY") => Some("hush".to_owned()),
            _ => None,
        };
        let (config, problems) = Config::read(&lookup, Mode::Command);
        assert!(problems.is_empty(), "{problems:?}");
        let all: Vec<&Manifest> = manifests.iter().collect();
        let (read, problems) = read_plugins(&all, &config, &lookup);
        let given = read.settings.iter().map(|(id, own)| {
            let names: Vec<&str> = own.iter().map(|(name, _)| name).collect();
            format!("{id}: {}", names.join(" "))
        });
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(!problems.concat().contains("hush"), "{problems:?}");
        (problems, given.collect::<Vec<_>>().join("; "))
    }

    fn plugin(id: &str, settings: &[&str]) -> Manifest {
        let start = Manifest::new(id, "1.0.0");
        let settings = settings.iter();
        settings.fold(start, |all, name| {
            all.setting(Setting::new(name, "key").required())
        })
    }

    #[test]
    fn a_setting_of_the_host_is_given_to_no_plugin_unless_the_operator_says_so() {
        for name in [
            "ADMIN_API_KEY",
            "DATABASE_URL",
            "BETTER_AUTH_SECRET",
            "HOGSEND_TEST_KEY",
        ] {
            let acme = [plugin("acme", &[name, "ACME_KEY"])];
            let (problems, given) = start(&acme, "");
            assert_eq!(
                problems,
                [format!(
                    "PLUGIN-016 the plugin 'acme' reads {name}, a setting of Hogsend: if you want it to, \
                     set PLUGIN_SHARED_SETTINGS=acme:{name}; if not, remove the plugin"
                )]
            );
            assert_eq!(given, "acme: ACME_KEY");
        }
        let acme = [plugin("acme", &["ADMIN_API_KEY"])];
        let (problems, given) = start(&acme, "acme:ADMIN_API_KEY");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(given, "acme: ADMIN_API_KEY");
        // A grant is for one plugin.
        let (problems, _) = start(&acme, "other:ADMIN_API_KEY");
        assert_eq!(problems.len(), 1);
    }

    #[test]
    fn a_setting_of_another_plugin_is_the_others() {
        let swift = plugin("swift", &["SWIFT_API_KEY"]);
        let acme = plugin("acme", &["ACME_KEY", "SWIFT_API_KEY"]);
        let (problems, given) = start(&[acme.clone(), swift.clone()], "");
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].contains("'acme' reads SWIFT_API_KEY, a setting of the plugin 'swift'"),
            "{problems:?}"
        );
        assert_eq!(given, "acme: ACME_KEY; swift: SWIFT_API_KEY");
        let (problems, given) = start(&[acme, swift], "acme : SWIFT_API_KEY");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(given, "acme: ACME_KEY SWIFT_API_KEY; swift: SWIFT_API_KEY");
    }

    #[test]
    fn a_setting_named_after_neither_plugin_is_given_to_neither() {
        let two = [plugin("acme", &["AWS_KEY"]), plugin("ses", &["AWS_KEY"])];
        let (problems, given) = start(&two, "");
        assert_eq!(problems.len(), 2);
        assert!(
            problems[1]
                .contains("'ses' reads AWS_KEY, a setting that several plugins read (acme, ses)"),
            "{problems:?}"
        );
        assert_eq!(given, "acme: ; ses: ");
        let (problems, given) = start(&two, "acme:AWS_KEY");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(given, "acme: AWS_KEY; ses: AWS_KEY");
    }

    #[test]
    fn plugins_share_a_setting_if_all_of_them_say_so() {
        let shares = |id: &str| {
            Manifest::new(id, "1.0.0").setting(Setting::new("SWIFT_API_KEY", "key").shared())
        };
        let (problems, given) = start(&[shares("swift"), shares("swift-source")], "");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(given, "swift: SWIFT_API_KEY; swift-source: SWIFT_API_KEY");
        // One that says so alone gains nothing.
        let swift = plugin("swift", &["SWIFT_API_KEY"]);
        let (problems, given) = start(&[swift, shares("acme")], "");
        assert_eq!(problems.len(), 1);
        assert_eq!(given, "acme: ; swift: SWIFT_API_KEY");
        // Two versions of one plugin are not two plugins.
        let before = plugin("swift", &["SWIFT_API_KEY"]);
        let (problems, _) = start(&[before.clone(), before], "");
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn a_grant_that_cannot_be_read_is_named_and_one_that_nothing_uses_too() {
        let read = |text: &str| {
            let lookup = |name: &str| (name == super::NAME).then(|| text.to_owned());
            Config::load(&lookup, Mode::Command).map_err(|all| all[0].to_string())
        };
        for wrong in ["acme", "acme:", ":KEY"] {
            let problem = read(wrong).unwrap_err();
            assert!(
                problem.contains("plugin:SETTING, for example acme:RESEND_API_KEY"),
                "{problem}"
            );
        }
        let config = read("acme:SWIFT_KEY").unwrap();
        let swift = plugin("swift", &["SWIFT_KEY"]);
        let (read, _) = read_plugins(&[&swift], &config, &|_| None);
        assert!(
            read.warnings[0].contains("no plugin 'acme' reads SWIFT_KEY"),
            "{:?}",
            read.warnings
        );
    }
}
