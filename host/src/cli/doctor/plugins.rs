//! The plugins: whether they start, what they say of their own set-up, their webhook secrets, the lock.

use hogsend_plugin_api::{CheckResult, Manifest};

use super::finding::{Finding, Outcome};
use crate::config::Config;
use crate::installed::Reading;

/// Starts every plugin as it would run and lets it try out its set-up.
pub async fn examine(reading: &Reading, config: &Config) -> Vec<Finding> {
    let mut found: Vec<Finding> = reading
        .problems
        .iter()
        .map(|problem| Finding::of_sentence(Outcome::Failed, "plugins", problem))
        .collect();
    // What is said of webhook secrets follows for each plugin.
    let of_secrets = |text: &&String| {
        let mut secrets = reading
            .manifests
            .iter()
            .filter_map(|one| one.webhook_secret.as_deref());
        secrets.any(|name| text.starts_with(name))
    };
    let warnings = reading.warnings.iter().filter(|text| !of_secrets(text));
    found.extend(warnings.map(|text| Finding::of_sentence(Outcome::Warning, "plugins", text)));
    let plugins = reading.snapshot.plugins.running();
    let running: Vec<&str> = plugins
        .iter()
        .map(|plugin| plugin.manifest().id.as_str())
        .collect();
    found.push(Finding::ok(
        "plugins",
        format!("{} start: {}", running.len(), running.join(", ")),
    ));
    found.push(lock(config));
    for plugin in &plugins {
        let about = format!("plugin {}", plugin.manifest().id);
        match plugin.check().await {
            Ok(checked) => {
                found.extend(
                    checked
                        .into_iter()
                        .map(|one| of(&about, &one.what, one.result)),
                );
            }
            Err(error) => {
                let fix = "update the plugin, or remove it";
                found.push(Finding::failed(&about, error.to_string(), fix));
            }
        }
        found.extend(secret(plugin.manifest(), reading, config));
    }
    found
}

fn of(about: &str, what: &str, result: CheckResult) -> Finding {
    match result {
        CheckResult::Sound { detail, .. } => {
            let detail = detail
                .map(|detail| format!(" ({detail})"))
                .unwrap_or_default();
            Finding::ok(about, format!("{what} works{detail}"))
        }
        CheckResult::Faulty { reason, fix, .. } => {
            Finding::failed(about, format!("{what}: {reason}"), fix)
        }
        CheckResult::NotSet { setting, .. } => {
            Finding::skipped(about, format!("{what} is not used: {setting} is not set"))
        }
        _ => Finding::warning(
            about,
            format!("{what} could not be checked: the vendor did not answer"),
            "try again, and look whether this machine reaches the internet",
        ),
    }
}

/// Whether the webhooks of a plugin are authenticated.
fn secret(manifest: &Manifest, reading: &Reading, config: &Config) -> Option<Finding> {
    let setting = manifest.webhook_secret.as_deref()?;
    let about = format!("plugin {}", manifest.id);
    let settings = reading.settings.settings.get(&manifest.id);
    let value = settings.and_then(|all| all.get(setting));
    if value.is_some_and(|value| !value.is_empty()) {
        return Some(Finding::ok(
            about,
            format!("its webhooks are authenticated by {setting}"),
        ));
    }
    let detail = format!("{setting} is not set, so its webhooks are refused in production");
    match config.production && !manifest.optional {
        true => Some(Finding::warning(
            about,
            detail,
            format!(
                "set {setting} if you use them: `hogsend plugin setup` says what to enter at the vendor"
            ),
        )),
        false => Some(Finding::skipped(about, detail)),
    }
}

/// Whether the libraries in the folder were approved.
fn lock(config: &Config) -> Finding {
    const ABOUT: &str = "plugins.lock";
    let Some(folder) = &config.plugin_dir else {
        return Finding::skipped(ABOUT, "PLUGIN_DIR is not set, no libraries are loaded");
    };
    if folder.join("plugins.lock").is_file() {
        return Finding::ok(ABOUT, "only the libraries in it are loaded");
    }
    let detail = format!(
        "{} has none, so each library runs in a process of its own",
        folder.display()
    );
    Finding::skipped(ABOUT, detail)
}
