//! `hogsend plugin list`.

use hogsend_plugin_api::Kind;

use crate::cli::{Environment, Misconfigured, start};
use crate::plugins::Origin;

/// Prints each plugin with its settings, then everything that would keep a process from starting with them.
pub async fn list(environment: &Environment) -> anyhow::Result<()> {
    let (_, reading) = start::examine_aloud(environment).await?;
    for (plugin, manifest) in &reading.found {
        let kinds: Vec<&str> = plugin.kinds.iter().copied().map(kind).collect();
        let origin = match (&plugin.path, plugin.origin) {
            (Some(path), Origin::Loaded) => format!("loaded from {}", path.display()),
            (Some(path), Origin::Linked) => format!("described in {}", path.display()),
            (None, _) => "linked".to_owned(),
        };
        let apart = match plugin.isolated {
            true => ", in a process of its own",
            false => "",
        };
        println!(
            "{} {} (plugin-api {}): {}; {origin}{apart}",
            plugin.id,
            plugin.version,
            plugin.api,
            kinds.join(", ")
        );
        if let Some(sha256) = &plugin.sha256 {
            println!("    sha256 {sha256}");
        }
        for lacks in &plugin.lacks {
            println!("    this host lacks {lacks}: update Hogsend");
        }
        for setting in &manifest.settings {
            let mut notes = Vec::new();
            if setting.required {
                notes.push("required".to_owned());
            }
            if setting.secret {
                notes.push("secret".to_owned());
            }
            if let Some(default) = &setting.default {
                notes.push(format!("default {default}"));
            }
            let notes = if notes.is_empty() {
                String::new()
            } else {
                format!(" ({})", notes.join(", "))
            };
            println!("    {}{notes}: {}", setting.name, setting.help);
        }
    }
    match reading.problems.is_empty() {
        true => Ok(()),
        false => Err(Misconfigured::of(&reading.problems).into()),
    }
}

pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::EventSource => "event source",
        Kind::Delivery => "delivery",
        Kind::Analytics => "analytics",
        Kind::Journeys => "journeys",
        _ => "another kind",
    }
}
