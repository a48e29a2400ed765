//! Which delivery plugins take mail of each purpose, in which order, and from which sender it comes.

use hogsend_plugin_api::{Kind, Manifest};

use super::sender::{self, FROM};
use super::started::{PluginSettings, complete};
use super::table::required_or_plugin;
use super::{Config, Problem};
use crate::purpose::{ByPurpose, Purpose};

pub(super) const PROVIDER: &str = "EMAIL_PROVIDER";
pub(super) const PROVIDER_TRANSACTIONAL: &str = "EMAIL_PROVIDER_TRANSACTIONAL";

/// Chooses the delivery plugins that take mail: the list in `EMAIL_PROVIDER`; else the one provider
/// whose settings are there; else, in development, the plugin that keeps mails on this machine.
/// Transactional mail has the list in `EMAIL_PROVIDER_TRANSACTIONAL`, else the same.
pub(super) fn choose(
    manifests: &[&Manifest],
    config: &Config,
    read: &mut PluginSettings,
    problems: &mut Vec<Problem>,
) {
    let delivers = |manifest: &&&Manifest| manifest.kinds.contains(&Kind::Delivery);
    let all: Vec<&Manifest> = manifests.iter().filter(delivers).copied().collect();
    let lifecycle = if config.email_providers.lifecycle.is_empty() {
        by_settings(&all, config, read, problems)
    } else {
        by_name(&all, config, Purpose::Lifecycle, read, problems)
    };
    let transactional = if config.email_providers.transactional.is_empty() {
        lifecycle.clone()
    } else {
        by_name(&all, config, Purpose::Transactional, read, problems)
    };
    read.deliveries = ByPurpose {
        lifecycle,
        transactional,
    };
}

/// The providers that follow from the settings that are there.
fn by_settings(
    all: &[&Manifest],
    config: &Config,
    read: &mut PluginSettings,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let ready: Vec<&Manifest> = all
        .iter()
        .filter(|one| !one.local_only && complete(one, &read.settings[&one.id]))
        .copied()
        .collect();
    match ready.as_slice() {
        [one] => vec![one.id.clone()],
        [] if config.strict() => {
            problems.push(Problem::new(PROVIDER, nothing_set(all)));
            Vec::new()
        }
        [] => {
            let local = all.iter().find(|manifest| manifest.local_only);
            local
                .map(|manifest| manifest.id.clone())
                .into_iter()
                .collect()
        }
        several => {
            read.candidates = several.iter().map(|one| one.id.clone()).collect();
            // A command that sends no mail does not have to know.
            if config.mode.runs() {
                let message = format!(
                    "is not set and several providers are configured: set it to one of {}, or to a \
                     comma-separated list of several in order of preference",
                    ids(several)
                );
                problems.push(Problem::new(PROVIDER, message));
            }
            Vec::new()
        }
    }
}

/// The providers that the operator named for this purpose.
fn by_name(
    all: &[&Manifest],
    config: &Config,
    purpose: Purpose,
    read: &mut PluginSettings,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let setting = match purpose {
        Purpose::Lifecycle => PROVIDER,
        Purpose::Transactional => PROVIDER_TRANSACTIONAL,
    };
    let mut chosen = Vec::new();
    for id in config.email_providers.of(purpose) {
        let manifest = match named(all, id, &chosen) {
            Ok(manifest) => manifest,
            Err(message) => {
                problems.push(Problem::new(setting, message));
                continue;
            }
        };
        if manifest.local_only && config.strict() {
            read.warnings.push(format!(
                "{setting} names '{id}', which keeps mails on this machine: nobody gets them"
            ));
        }
        chosen.push(id.clone());
    }
    chosen
}

/// The delivery plugin with this id, which is not among those chosen before. The error says why
/// not.
fn named<'a>(all: &[&'a Manifest], id: &str, chosen: &[String]) -> Result<&'a Manifest, String> {
    let Some(manifest) = all.iter().copied().find(|one| one.id == id) else {
        return Err(format!(
            "names '{id}', but no delivery plugin has this id; known: {}",
            ids(all)
        ));
    };
    if chosen.iter().any(|one| one == id) {
        return Err(format!("names '{id}' twice: remove one of the two"));
    }
    Ok(manifest)
}

/// Why production has no provider, with the settings that would choose one.
fn nothing_set(all: &[&Manifest]) -> String {
    let providers = all.iter().filter(|manifest| !manifest.local_only);
    let needs = providers.map(|manifest| {
        let required = manifest.settings.iter().filter(|setting| setting.required);
        let names: Vec<_> = required.map(|setting| setting.name.as_str()).collect();
        format!("{} for '{}'", names.join(" and "), manifest.id)
    });
    format!(
        "is not set and no delivery plugin has its settings; set {}",
        needs.collect::<Vec<_>>().join(", or ")
    )
}

fn ids(of: &[&Manifest]) -> String {
    let ids: Vec<&str> = of.iter().map(|manifest| manifest.id.as_str()).collect();
    ids.join(", ")
}

/// The senders. Production requires one: mail from the default address would be refused, or worse,
/// delivered.
pub(super) fn senders(
    manifests: &[&Manifest],
    config: &Config,
    all: &mut PluginSettings,
    problems: &mut Vec<Problem>,
) -> ByPurpose<String> {
    for id in all.deliveries.union() {
        if let Some((name, text)) = own(manifests, all, &id)
            && let Some(wrong) = sender::wrong(text)
        {
            problems.push(Problem::new(name, wrong));
        }
    }
    let mut senders = ByPurpose::both(sender::DEVELOPMENT.to_owned());
    match of_first(
        manifests,
        all,
        &all.deliveries.lifecycle,
        &config.senders.lifecycle,
    ) {
        Some(from) => senders = ByPurpose::both(from),
        None => missing(manifests, config, all, problems),
    }
    if !config.senders.transactional.is_empty() {
        senders
            .transactional
            .clone_from(&config.senders.transactional);
    } else if all.deliveries.transactional.first() != all.deliveries.lifecycle.first() {
        let first = &all.deliveries.transactional;
        if let Some(from) = of_first(manifests, all, first, &config.senders.lifecycle) {
            senders.transactional = from;
        }
    }
    senders
}

/// The sender that the first of these plugins has in its own setting, else the host's.
fn of_first(
    manifests: &[&Manifest],
    all: &PluginSettings,
    deliveries: &[String],
    host: &str,
) -> Option<String> {
    let own = deliveries.first().and_then(|id| own(manifests, all, id));
    let own = own.map(|(_, from)| from);
    own.or_else(|| Some(host).filter(|from| !from.is_empty()))
        .map(str::to_owned)
}

/// The setting for the sender that a plugin has of its own, and its value.
fn own<'a>(
    manifests: &'a [&Manifest],
    all: &'a PluginSettings,
    id: &str,
) -> Option<(&'a str, &'a str)> {
    let manifest = manifests.iter().find(|manifest| manifest.id == id)?;
    let name = manifest.sender.as_deref()?;
    Some((name, all.settings[&manifest.id].get(name)?))
}

/// Nobody named a sender.
fn missing(
    manifests: &[&Manifest],
    config: &Config,
    all: &mut PluginSettings,
    problems: &mut Vec<Problem>,
) {
    let active: Vec<&&Manifest> = manifests
        .iter()
        .filter(|manifest| !all.deliveries.purposes(&manifest.id).is_empty())
        .collect();
    if let (true, Some(what)) = (config.strict(), required_or_plugin(FROM)) {
        let first = all.deliveries.lifecycle.first();
        let first = active.iter().find(|manifest| Some(&manifest.id) == first);
        let setting = first.and_then(|manifest| manifest.sender.as_deref());
        let or = setting.map(|name| format!(", or {name}"));
        let or = or.unwrap_or_default();
        let message = format!("is required in production{or}: {what}");
        problems.push(Problem::new(FROM, message));
    } else if active.iter().any(|manifest| !manifest.local_only) && config.mode.runs() {
        all.warnings.push(format!(
            "{FROM} is not set: mails come from {}, which a provider refuses. Set it to an address at \
             a domain your provider has verified",
            sender::DEVELOPMENT
        ));
    }
}
