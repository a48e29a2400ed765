//! `hogsend plugin check` without a file, and `hogsend plugin setup`.

use hogsend_plugin_api::CheckResult;

use crate::cli::{Environment, Misconfigured, start};

/// Lets every plugin try out its set-up and prints what came out. Fails where something does not work.
pub async fn check(environment: &Environment) -> anyhow::Result<()> {
    let (_, reading) = start::examine_aloud(environment).await?;
    let mut problems = reading.problems;
    for plugin in reading.snapshot.plugins.running() {
        let id = &plugin.manifest().id;
        let checked = match plugin.check().await {
            Ok(checked) => checked,
            Err(error) => {
                problems.push(error.to_string());
                continue;
            }
        };
        for one in checked {
            match one.result {
                CheckResult::Sound { detail, .. } => {
                    let detail = detail.map(|detail| format!(" ({detail})"));
                    println!("{id}: {} works{}", one.what, detail.unwrap_or_default());
                }
                CheckResult::Faulty { reason, fix, .. } => {
                    problems.push(format!("{id}: {}: {reason}: {fix}", one.what));
                }
                CheckResult::NotSet { setting, .. } => {
                    println!("{id}: {} is not used: {setting} is not set", one.what);
                }
                _ => println!("{id}: {} could not be checked", one.what),
            }
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Misconfigured::of(&problems).into()),
    }
}

/// Prints what to enter at the vendors.
pub async fn setup(environment: &Environment) -> anyhow::Result<()> {
    let (config, reading) = start::examine_aloud(environment).await?;
    let mut problems = reading.problems;
    let url = config.api_public_url.trim_end_matches('/');
    for plugin in reading.snapshot.plugins.running() {
        let id = &plugin.manifest().id;
        match plugin.setup().await {
            Ok(items) => {
                for item in items {
                    let value = item.value.replace("{url}", url);
                    println!("{id}: {} = {value}", item.label);
                    println!("    at {}", item.place);
                }
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Misconfigured::of(&problems).into()),
    }
}
