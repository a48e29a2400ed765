//! `hogsend connect`: the set-up at a vendor.

use anyhow::Context as _;
use clap::Args;
use hogsend_plugin_api::{ConnectIn, Connected};

use super::{Environment, Misconfigured, start};
use crate::plugins::PluginRef;

#[derive(Args)]
pub struct Connect {
    /// The plugin's id, for example posthog
    plugin: String,
    /// An event that the vendor is to send, as it spells it; repeat for more. By default all
    #[arg(long = "event", value_name = "NAME")]
    events: Vec<String>,
    /// Only show what to enter
    #[arg(long)]
    print: bool,
}

/// Prints what to enter at the vendor, and enters it there if the plugin can and has what it needs.
pub async fn run(environment: &Environment, wanted: Connect) -> anyhow::Result<()> {
    let (config, reading) = start::examine_aloud(environment).await?;
    let running = reading.snapshot.plugins.running();
    let is = |plugin: &&PluginRef| plugin.manifest().id == wanted.plugin;
    let Some(plugin) = running.iter().find(is) else {
        return Err(not_running(&wanted.plugin, &running, &reading.problems));
    };
    let url = config.api_public_url.trim_end_matches('/').to_owned();
    show(plugin, &url).await?;
    if wanted.print {
        return Ok(());
    }
    let connected = plugin.connect(&ConnectIn::new(url, wanted.events)).await?;
    match connected {
        Connected::Made { what, .. } => println!("made {what}"),
        Connected::Found { what, .. } => println!("found {what}: nothing to do"),
        Connected::Corrected { what, .. } => println!("corrected {what}"),
        Connected::NotSet { setting, .. } => {
            println!("enter it there by hand, or set {setting} and run this again");
        }
        Connected::Failed { reason, .. } => anyhow::bail!("{reason}"),
        _ => println!("enter it there by hand"),
    }
    Ok(())
}

async fn show(plugin: &PluginRef, url: &str) -> anyhow::Result<()> {
    let id = &plugin.manifest().id;
    let items = plugin.setup().await;
    let items = items.with_context(|| format!("what to enter for '{id}' is not known"))?;
    let mut place = String::new();
    for item in items {
        if item.place != place {
            println!("at {}", item.place);
            place = item.place;
        }
        println!("    {}: {}", item.label, item.value.replace("{url}", url));
    }
    Ok(())
}

/// There is no such plugin, or it does not start.
fn not_running(id: &str, running: &[PluginRef], problems: &[String]) -> anyhow::Error {
    let about = |problem: &&String| problem.contains(id);
    let own: Vec<&String> = problems.iter().filter(about).collect();
    if !own.is_empty() {
        return Misconfigured::of(&own).into();
    }
    let ids: Vec<&str> = running.iter().map(|it| it.manifest().id.as_str()).collect();
    anyhow::anyhow!("no plugin '{id}' runs here; these do: {}", ids.join(", "))
}
