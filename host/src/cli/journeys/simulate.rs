//! `hogsend journeys simulate`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::Trust;
use hogsend_plugin_api::call::CallError;
use hogsend_plugin_api::journey::{AdvanceIn, AdvanceOut, Catalogue};
use hogsend_plugin_kit as kit;
use hogsend_plugin_kit::sim::{Advance, Arrival, Entry, Outcome, Policy, Sim};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::load;
use super::script::{self, Line, Scene};
use crate::cli::Environment;
use crate::config::Config;
use crate::durations;
use crate::nearest::nearest;
use crate::plugins::JourneysRef;

/// How long a simulation continues after the last line while runs still wait.
const LONGEST: TimeDelta = TimeDelta::days(2 * 365);

/// The arguments of `hogsend journeys simulate`.
#[derive(clap::Args)]
pub struct Simulate {
    /// The journey's id
    id: String,
    /// A file with a JSON object on each line, such as {"after":"2d","userId":"ada","event":"x"}; - for
    /// standard input
    #[arg(long)]
    events: PathBuf,
    /// How long to simulate from the start, for example 90d [default: until no run waits any longer]
    #[arg(long, value_parser = length)]
    until: Option<Duration>,
    /// The seed for ids: the same seed gives the same trace
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Also simulate all other journeys
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn length(text: &str) -> Result<Duration, String> {
    durations::parse(text).ok_or_else(|| "use a form like 90d or 2d3h".to_owned())
}

/// A plugin as the simulator calls it.
struct Loaded(JourneysRef, Handle);

impl Advance for Loaded {
    fn catalogue(&self) -> Result<Catalogue, CallError> {
        Ok(self.0.catalogue().clone())
    }

    fn advance(&self, run: &AdvanceIn) -> Result<AdvanceOut, CallError> {
        self.1
            .block_on(self.0.advance(run.clone()))
            .map_err(|error| CallError::new(CallError::BAD_INPUT, error.to_string()))
    }
}

/// Simulates the events and prints the result.
pub async fn simulate(environment: &Environment, wanted: Simulate) -> anyhow::Result<()> {
    let (config, plugins) = load(environment).await?;
    let known: Vec<&str> = plugins
        .iter()
        .flat_map(|plugin| &plugin.catalogue().journeys)
        .map(|journey| journey.id.as_str())
        .collect();
    if !known.contains(&wanted.id.as_str()) {
        anyhow::bail!(
            "there is no journey '{}'; known: {}",
            wanted.id,
            known.join(", ")
        );
    }
    let (begins, mut scenes) = script::read(&wanted.events)?;
    for scene in &mut scenes {
        if let Some(event) = &mut scene.what.event {
            *event = config.aliases.name(event).to_owned();
        }
    }
    let ends = wanted.until.map(|length| later(begins, length));
    if let Some(ends) = ends
        && let Some(late) = scenes.iter().find(|scene| scene.at > ends)
    {
        anyhow::bail!(
            "{}:{}: is at {}, after the end of the simulation at {ends}: remove it or raise --until",
            script::name(&wanted.events),
            late.line,
            late.at
        );
    }
    let handle = Handle::current();
    let loaded = plugins
        .iter()
        .map(|plugin| Loaded(plugin.clone(), handle.clone()));
    // The simulator is synchronous: its plugin calls block this thread.
    tokio::task::block_in_place(|| {
        let mut sim = world(&wanted, &config, loaded)?
            .seed(wanted.seed)
            .starting(begins);
        play(&mut sim, &scenes, ends).map_err(|(line, problem)| {
            anyhow::anyhow!("{}:{line}: {problem}", script::name(&wanted.events))
        })?;
        if wanted.json {
            println!("{}", serde_json::to_string_pretty(&report(&sim, &wanted))?);
        } else {
            print!("{}", timeline(&sim));
            for note in unheard(&wanted, &plugins, &scenes) {
                println!("{note}");
            }
        }
        Ok(())
    })
}

fn world(
    wanted: &Simulate,
    config: &Config,
    mut plugins: impl Iterator<Item = Loaded>,
) -> anyhow::Result<Sim<'static>> {
    let first = plugins.next().context("no plugin provides journeys")?;
    let mut sim = plugins.fold(Sim::of(first), Sim::source);
    if !wanted.all {
        sim = sim.only(&wanted.id);
    } else if let Some(selected) = &config.enabled_journeys {
        let off: Vec<String> = sim.journeys().map(str::to_owned).collect();
        for id in off {
            if id != wanted.id && !selected.contains(&id) {
                sim = sim.disable(&id);
            }
        }
    }
    let policy = &config.policy;
    Ok(sim.policy(Policy {
        frequency_cap: policy.cap.map(|cap| (cap.limit, cap.window)),
        send_window: policy.window.map(|window| (window.start, window.end)),
        default_zone: policy.zone,
    }))
}

/// The error is a line number and its problem.
fn play(
    sim: &mut Sim<'_>,
    scenes: &[Scene],
    ends: Option<DateTime<Utc>>,
) -> Result<(), (usize, String)> {
    for scene in scenes {
        sim.advance_to(scene.at);
        enact(sim, &scene.what).map_err(|problem| (scene.line, problem))?;
    }
    let longest = sim.now() + LONGEST;
    match ends {
        Some(ends) => {
            sim.advance_to(ends);
        }
        None => {
            while let Some(due) = sim.next_due().filter(|due| *due <= longest) {
                sim.advance_to(due);
            }
        }
    }
    Ok(())
}

fn enact(sim: &mut Sim<'_>, line: &Line) -> Result<(), String> {
    match (line.user_id.as_deref(), line.email.as_deref()) {
        (None, None) => sim.person("user-1"),
        (id, email) => sim.named_by(id, email, Trust::from(!line.untrusted)),
    };
    if let Some(answer) = &line.answer {
        let body = match &answer.body {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        sim.http(&answer.url, kit::response(answer.status, &[], body));
    }
    match &line.event {
        Some(event) => {
            let told = Arrival {
                contact_properties: line.contact_properties.clone(),
                trust: Trust::from(!line.untrusted),
                historical: line.historical,
                occurred_at: line.occurred_at,
            };
            sim.event_as(event, line.properties.clone(), told)
        }
        None => sim.set_contact(Value::Object(line.contact_properties.clone())),
    };
    if let Some(category) = &line.unsubscribe {
        sim.unsubscribe(category);
    }
    if let Some(category) = &line.resubscribe {
        sim.resubscribe(category);
    }
    for (template, clicked) in [(&line.opened, false), (&line.clicked, true)] {
        if let Some(template) = template
            && !sim.engaged(template, clicked)
        {
            let at = sim.now();
            return Err(format!(
                "the contact has received no mail '{template}' by {at}"
            ));
        }
    }
    Ok(())
}

/// The output for people: the timeline and a summary.
fn timeline(sim: &Sim<'_>) -> String {
    let mut text = String::new();
    let width = |least: usize, name: fn(&Entry) -> &str| {
        let widths = sim
            .timeline()
            .iter()
            .map(|entry| name(entry).chars().count());
        widths.max().unwrap_or_default().max(least)
    };
    let journey = |entry: &Entry| entry.journey.as_deref().unwrap_or_default().len();
    let journeys = sim.timeline().iter().map(journey).max();
    let (people, journeys) = (
        width(12, |entry| &entry.person),
        journeys.unwrap_or_default().max(20),
    );
    // Show seconds only if there are any.
    let round = sim
        .timeline()
        .iter()
        .all(|entry| entry.at.timestamp() % 60 == 0);
    let format = if round { "%F %R" } else { "%F %T" };
    for entry in sim.timeline() {
        text += &format!(
            "{}  {:<people$}  {:<journeys$}  {}\n",
            entry.at.format(format),
            entry.person,
            entry.journey.as_deref().unwrap_or_default(),
            entry.what
        );
    }
    let mut runs: BTreeMap<String, u64> = BTreeMap::new();
    for run in sim.runs() {
        *runs.entry(run.status.to_string()).or_default() += 1;
    }
    let mut mails: BTreeMap<String, u64> = BTreeMap::new();
    for mail in sim.mails() {
        *mails.entry(end_of(&mail.outcome)).or_default() += 1;
    }
    text += &format!(
        "\n{}{}\n{}{}\n",
        number(sim.runs().len(), "run"),
        counts(&runs),
        number(sim.mails().len(), "mail"),
        counts(&mails)
    );
    for (journey, reason, count) in sim.refusals() {
        text += &format!("{count} × not entered: {journey}, {reason}\n");
    }
    text
}

/// `1 run`, `2 runs`.
fn number(count: usize, of: &str) -> String {
    match count {
        1 => format!("1 {of}"),
        _ => format!("{count} {of}s"),
    }
}

/// Warnings about events that had no effect.
fn unheard(wanted: &Simulate, plugins: &[JourneysRef], scenes: &[Scene]) -> Vec<String> {
    let journeys = plugins
        .iter()
        .flat_map(|plugin| &plugin.catalogue().journeys);
    let played: Vec<_> = journeys
        .filter(|journey| wanted.all || journey.id == wanted.id)
        .collect();
    let begins: BTreeSet<&str> = played
        .iter()
        .map(|journey| journey.trigger.event.as_str())
        .collect();
    let ends = played.iter().flat_map(|journey| &journey.exit_on);
    let known: BTreeSet<&str> = ends
        .map(|exit| exit.event.as_str())
        .chain(begins.iter().copied())
        .collect();
    let events: BTreeSet<&str> = scenes
        .iter()
        .filter_map(|scene| scene.what.event.as_deref())
        .collect();
    let mut notes = Vec::new();
    for event in &events {
        if let Some(near) = nearest(event, known.iter().copied()).filter(|_| !known.contains(event))
        {
            notes.push(format!(
                "no journey starts or ends with '{event}': did you mean '{near}'?"
            ));
        }
    }
    if !events.iter().any(|event| begins.contains(event)) {
        let names: Vec<String> = begins.iter().map(|name| format!("'{name}'")).collect();
        let what = if wanted.all { "a journey" } else { &wanted.id };
        notes.push(format!(
            "no event of the file starts {what}, which starts with {}",
            names.join(" or ")
        ));
    }
    notes
}

fn end_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Queued => "waiting".into(),
        Outcome::Sent(_) => "sent".into(),
        Outcome::Skipped(reason) => format!("skipped ({reason})"),
        Outcome::Failed(reason) => format!("failed ({reason})"),
    }
}

fn counts(by_name: &BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = by_name
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(": {}", parts.join(", "))
    }
}

/// The output for programs.
fn report(sim: &Sim<'_>, wanted: &Simulate) -> Value {
    let runs: Vec<Value> = sim
        .runs()
        .iter()
        .map(|run| {
            json!({
                "journey": *run.journey,
                "person": *run.person,
                "status": run.status,
                "reason": run.reason,
                "enteredAt": run.entered_at,
                "endedAt": run.ended_at,
                "checkpoints": run.checkpoints,
            })
        })
        .collect();
    let mails: Vec<Value> = sim
        .mails()
        .iter()
        .map(|mail| {
            let (outcome, reason) = match &mail.outcome {
                Outcome::Queued => ("waiting", None),
                Outcome::Sent(_) => ("sent", None),
                Outcome::Skipped(reason) => ("skipped", Some(reason)),
                Outcome::Failed(reason) => ("failed", Some(reason)),
            };
            json!({
                "id": mail.id,
                "journey": *mail.journey,
                "person": *mail.person,
                "template": mail.template,
                "to": mail.to,
                "category": mail.category,
                "props": mail.props,
                "outcome": outcome,
                "reason": reason,
                "sentAt": mail.sent_at(),
            })
        })
        .collect();
    let refusals: Vec<Value> = sim
        .refusals()
        .map(|(journey, reason, count)| {
            json!({ "journey": journey, "reason": reason, "count": count })
        })
        .collect();
    json!({
        "journey": wanted.id,
        "seed": wanted.seed,
        "endsAt": sim.now(),
        "timeline": sim.timeline(),
        "runs": runs,
        "mails": mails,
        "refusals": refusals,
    })
}

fn later(from: DateTime<Utc>, length: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(length)
        .ok()
        .and_then(|length| from.checked_add_signed(length))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
