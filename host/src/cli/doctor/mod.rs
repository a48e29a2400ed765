//! `hogsend doctor`: examines an installation and says what to fix.

mod finding;
mod plugins;
mod reach;
mod settings;
mod store;

use clap::Args;

use self::finding::{Finding, Report};
use super::{Environment, start};

#[derive(Args)]
pub struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The selector of the DKIM key, to look it up at the sender's domain
    #[arg(long, value_name = "NAME")]
    dkim_selector: Option<String>,
}

/// Examines everything, whatever has failed before, and prints what was found. Returns whether nothing failed.
pub async fn run(environment: &Environment, wanted: &Doctor) -> anyhow::Result<bool> {
    let (config, mut found) = settings::read(environment);
    let examined = start::examine(environment).await;
    match &examined {
        Ok((_, reading)) => {
            let manifests: Vec<_> = reading.manifests.iter().collect();
            found.extend(settings::misspelt(environment, &manifests));
        }
        // Wrong settings, which are findings already.
        Err(_) => found.extend(settings::misspelt(environment, &[])),
    }
    let (database, redis, public, engine) = tokio::join!(
        store::database(&config),
        store::redis(&config),
        reach::public_url(&config),
        reach::engine(&config)
    );
    found.extend(database);
    found.push(redis);
    found.push(public);
    found.extend(engine);
    if let Ok((_, reading)) = &examined {
        found.extend(plugins::examine(reading, &config).await);
        let senders = &reading.settings.senders;
        let senders = [&senders.lifecycle, &senders.transactional];
        let senders: Vec<&str> = senders.iter().map(|one| one.as_str()).collect();
        let selector = wanted.dkim_selector.as_deref();
        found.extend(reach::domains(&config, &senders, selector).await);
    } else {
        let detail = "not examined, because settings are wrong";
        found.push(Finding::skipped("plugins", detail));
    }
    let report = Report::new(config.production, found);
    match wanted.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => println!("{}", report.text()),
    }
    Ok(report.failed == 0)
}
