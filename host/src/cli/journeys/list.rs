//! `hogsend journeys list`.

use std::time::Duration;

use hogsend_plugin_api::journey::{Condition, Definition, Entry, EventMatch, Op};
use serde_json::{Value, json};

use super::load;
use crate::cli::Environment;
use crate::cli::table::table;
use crate::durations;

/// Prints a line for each journey, or all of them as JSON.
pub async fn list(environment: &Environment, as_json: bool) -> anyhow::Result<()> {
    let (config, plugins) = load(environment).await?;
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for plugin in &plugins {
        for journey in &plugin.catalogue().journeys {
            let selected = config.enabled_journeys.as_ref();
            let selected = selected.is_none_or(|ids| ids.contains(&journey.id));
            rows.push(row(journey, selected, plugin.id(), plugin.version()));
            all.push(machine(journey, selected, plugin.id(), plugin.version()));
        }
    }
    if as_json {
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    rows.sort();
    rows.insert(
        0,
        ["ID", "TRIGGER", "ENTRY", "ENABLED", "PLUGIN", "EXITS"].map(str::to_owned),
    );
    println!("{}", table(rows).trim_fmt());
    for (alias, event) in config.aliases.iter() {
        println!("\nEVENT_ALIASES: {alias} is stored as {event}");
    }
    Ok(())
}

type Row = [String; 6];

fn row(journey: &Definition, selected: bool, plugin: &str, version: &str) -> Row {
    let exits: Vec<String> = journey.exit_on.iter().map(matched).collect();
    [
        journey.id.clone(),
        matched(&journey.trigger),
        entry(journey.entry),
        enabled(journey, selected).to_owned(),
        format!("{plugin} {version}"),
        exits.join(", "),
    ]
}

fn machine(journey: &Definition, selected: bool, plugin: &str, version: &str) -> Value {
    json!({
        "id": journey.id,
        "name": journey.name,
        "description": journey.description,
        "trigger": journey.trigger,
        "entry": journey.entry,
        "enabled": journey.enabled && selected,
        "exitOn": journey.exit_on,
        "suppressMs": journey.suppress_ms,
        "category": journey.category,
        "version": journey.version,
        "location": journey.location,
        "plugin": { "id": plugin, "version": version },
    })
}

fn enabled(journey: &Definition, selected: bool) -> &'static str {
    match (journey.enabled, selected) {
        (true, true) => "yes",
        (false, _) => "no, in code",
        (true, false) => "no, by ENABLED_JOURNEYS",
    }
}

fn entry(entry: Entry) -> String {
    match entry {
        Entry::Once => "once".to_owned(),
        Entry::Unlimited => "unlimited".to_owned(),
        Entry::OncePerMs(ms) => format!("once per {}", durations::show(Duration::from_millis(ms))),
        other => format!("{other:?}"),
    }
}

fn matched(event: &EventMatch) -> String {
    match &event.condition {
        Some(condition) => format!("{} where {}", event.event, described(condition)),
        None => event.event.clone(),
    }
}

fn described(condition: &Condition) -> String {
    let joined = |parts: &[Condition], word: &str| {
        let parts: Vec<String> = parts.iter().map(described).collect();
        format!("({})", parts.join(word))
    };
    match condition {
        Condition::All(parts) => joined(parts, " and "),
        Condition::Any(parts) => joined(parts, " or "),
        Condition::Property {
            path, op, value, ..
        } => match op {
            Op::Exists => format!("{path} exists"),
            Op::NotExists => format!("{path} does not exist"),
            Op::Eq => format!("{path} = {value}"),
            Op::Neq => format!("{path} ≠ {value}"),
            Op::Gt => format!("{path} > {value}"),
            Op::Gte => format!("{path} ≥ {value}"),
            Op::Lt => format!("{path} < {value}"),
            Op::Lte => format!("{path} ≤ {value}"),
            Op::Contains => format!("{path} contains {value}"),
            other => format!("{path} {other:?} {value}"),
        },
        other => format!("{other:?}"),
    }
}
