//! One advance of a run: replay, perform, record.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::Properties;
use hogsend_plugin_api::journey::{AdvanceIn, RunStatus, TriggerEvent};
use serde_json::json;

use super::JourneyEntry;
use super::journal::Journal;
use super::person;
use super::step::{Effects, Performed, perform};
use crate::app::App;
use crate::db::{self, ClaimedState, Log, Progress, Topic};
use crate::ingest::{self, NewEvent};

/// Steps a single run may take: a journey that goes round in circles ends here.
const MAX_STEPS: usize = 2_000;
/// How long a run waits whose plugin is missing or gave no answer.
const PLUGIN_RETRY: TimeDelta = TimeDelta::minutes(1);

/// What an advance came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advanced {
    Recorded,
    /// Something else changed the run meanwhile; nothing was recorded and it is due again.
    Outdated,
    /// The plugin could not be asked; the run is due again later.
    Postponed,
}

/// Advances a claimed run as far as it goes without waiting.
///
/// Everything the run does is collected first and written in one transaction with the steps that
/// caused it, under the claim and the revision the journal was read at. So a step's effect exists
/// if and only if the step is recorded, whichever worker dies when.
pub async fn advance(app: &App, state: &ClaimedState) -> db::Result<Advanced> {
    let Some(entry) = app.catalog.journey(&state.journey_id).cloned() else {
        tracing::warn!(journey.id = %state.journey_id, state.id = %state.id,
            "no plugin brings this journey any more, its run waits");
        return postpone(app, state).await;
    };
    let rows = {
        let mut conn = app.db.conn().await?;
        db::steps_of(&mut conn, state.id).await?
    };
    let mut journal = Journal::new(rows, state.completions);
    let known_now;
    // Before the first step only: a replay has to see the person it saw then.
    let state = if journal.len() == 0 {
        known_now = person::complete(app, state).await;
        &known_now
    } else {
        state
    };
    let mut effects = Effects::default();
    let now = app.clock.now();

    let known = journal.len();
    for seq in journal.due(now) {
        journal.complete(seq, Ok(serde_json::Value::Null), now);
    }
    // Questions an earlier advance left for after its commit.
    perform_open(app, state, &entry, &mut journal, &mut effects, known, now).await?;

    let status = loop {
        let asked = journal.len();
        let advanced = entry.plugin.advance(input(state, &journal)).await;
        let out = match advanced {
            Ok(out) => out,
            Err(error) => {
                tracing::error!(journey.id = %state.journey_id, state.id = %state.id, %error,
                    "the journey's plugin gave no answer, its run waits");
                return postpone(app, state).await;
            }
        };
        if matches!(out.status, RunStatus::Diverged(_)) {
            // What code that does not fit the journal asks for is not to be done.
            break out.status;
        }
        for command in out.commands {
            journal.issue(command, now);
        }
        for seq in out.cancels {
            journal.cancel(seq);
        }
        if out.status != RunStatus::Waiting {
            break out.status;
        }
        if journal.len() > MAX_STEPS {
            break RunStatus::Failed {
                message: format!("the run took more than {MAX_STEPS} steps"),
                location: Some(entry.definition.location.clone()),
            };
        }
        let progressed =
            perform_open(app, state, &entry, &mut journal, &mut effects, asked, now).await?;
        if progressed != Round::Progressed {
            break RunStatus::Waiting;
        }
    };
    record(app, state, &journal, effects, status, now).await
}

fn input(state: &ClaimedState, journal: &Journal) -> AdvanceIn {
    AdvanceIn {
        journey: state.journey_id.clone(),
        run_id: state.id.into(),
        started_at: state.created_at,
        user: state.person.clone(),
        event: TriggerEvent {
            name: state.trigger_event.clone(),
            properties: state.context.clone(),
        },
        steps: journal.steps(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// A step ended: the code may go on.
    Progressed,
    Waiting,
}

/// Performs the open steps; those from number `fresh` on are new.
async fn perform_open(
    app: &App,
    state: &ClaimedState,
    entry: &JourneyEntry,
    journal: &mut Journal,
    effects: &mut Effects,
    fresh: usize,
    now: DateTime<Utc>,
) -> db::Result<Round> {
    let mut round = Round::Waiting;
    let open: Vec<_> = journal.open().cloned().collect();
    for row in open {
        let seq = row.step.seq;
        let is_new = seq as usize >= fresh;
        match perform(app, state, entry, &row, is_new, effects, now).await? {
            Performed::Done(result) => {
                journal.complete(seq, result, now);
                round = Round::Progressed;
            }
            Performed::Open => {}
            Performed::AfterCommit => return Ok(Round::Waiting),
        }
    }
    Ok(round)
}

/// Writes an advance: steps, mails, events and the run's new state, in one transaction.
async fn record(
    app: &App,
    state: &ClaimedState,
    journal: &Journal,
    effects: Effects,
    status: RunStatus,
    now: DateTime<Utc>,
) -> db::Result<Advanced> {
    let ending = Ending::of(&status);
    let mut tx = app.db.begin().await?;
    db::contact_lock(&mut tx, &[state.contact_id]).await?;
    if !db::state_fence(&mut tx, state).await? {
        db::state_release(&mut tx, state, now).await?;
        app.db.commit_and_wake(tx, &[Topic::Runs]).await?;
        return Ok(Advanced::Outdated);
    }
    if state.completions == 0 {
        db::state_person(&mut tx, state.id, &state.person).await?;
    }
    db::step_upsert(&mut tx, state.id, &journal.changed()).await?;
    for send in &effects.sends {
        db::send_insert(&mut tx, send, now).await?;
    }
    let has_mail = effects.sends.iter().any(|send| send.mail.is_ok());
    let asks_again = !effects.events.is_empty() && journal.open().any(|row| row.due_at.is_none());
    let mut events = effects.events;
    let mut enrolled = 0;
    if !events.is_empty() {
        let caused = std::mem::take(&mut events);
        enrolled += ingest::store(&mut tx, &app.catalog, now, caused)
            .await?
            .enrolled;
    }

    let node = journal
        .node()
        .unwrap_or_else(|| state.current_node_id.clone());
    let progress = Progress {
        status: ending.status,
        node: &node,
        wake_at: ending
            .waits()
            .then(|| {
                if asks_again {
                    Some(now)
                } else {
                    journal.next_due()
                }
            })
            .flatten(),
        completions: journal.completions(),
        error: ending.error.as_deref(),
    };
    // False where one of the run's own events ended it: that end stands.
    let stands = db::state_progress(&mut tx, state.id, &progress, now).await?;
    if stands && (!journal.changed().is_empty() || !ending.waits()) {
        let log = Log {
            state_id: state.id,
            from: Some(state.status.clone()),
            to: ending.status.into(),
            action: ending.action,
            detail: json!({
                "node": node,
                "steps": journal.changed().iter().map(|row| row.step.seq).collect::<Vec<_>>(),
                "error": ending.error,
            }),
        };
        db::log_insert(&mut tx, &[log], now).await?;
    }
    if stands && let Some(event) = ending.event(state) {
        enrolled += ingest::store(&mut tx, &app.catalog, now, vec![event])
            .await?
            .enrolled;
    }
    let mut topics = Vec::new();
    if enrolled > 0 || asks_again {
        topics.push(Topic::Runs);
    }
    if has_mail {
        topics.push(Topic::Mails);
    }
    app.db.commit_and_wake(tx, &topics).await?;
    Ok(Advanced::Recorded)
}

async fn postpone(app: &App, state: &ClaimedState) -> db::Result<Advanced> {
    let mut conn = app.db.conn().await?;
    db::state_release(&mut conn, state, app.clock.now() + PLUGIN_RETRY).await?;
    Ok(Advanced::Postponed)
}

/// How a run stands after an advance, in the words of the database.
struct Ending {
    status: &'static str,
    action: &'static str,
    error: Option<String>,
}

impl Ending {
    fn of(status: &RunStatus) -> Self {
        let (name, action, error) = match status {
            RunStatus::Waiting => ("waiting", "advanced", None),
            RunStatus::Completed => ("completed", "completed", None),
            RunStatus::Exited { reason } => ("exited", "exit_step", Some(reason.clone())),
            RunStatus::Failed { message, location } => {
                let place = location.as_deref().map(|place| format!(" at {place}"));
                (
                    "failed",
                    "failed",
                    Some(format!("{message}{}", place.unwrap_or_default())),
                )
            }
            RunStatus::Diverged(differs) => {
                let message = format!(
                    "the journey's code changed under this run: step {} was {}, the code now asks for {}",
                    differs.seq, differs.recorded, differs.code
                );
                ("stuck", "diverged", Some(message))
            }
            RunStatus::Stuck { message } => ("stuck", "stuck", Some(message.clone())),
        };
        Self {
            status: name,
            action,
            error: error.map(|text| text.replace('\0', "\u{fffd}")),
        }
    }

    fn waits(&self) -> bool {
        self.status == "waiting"
    }

    /// The event other journeys may be triggered by.
    fn event(&self, state: &ClaimedState) -> Option<NewEvent> {
        let name = match self.status {
            "completed" => "journey.completed",
            "failed" => "journey.failed",
            "exited" => "journey.exited",
            _ => return None,
        };
        let mut properties = Properties::new();
        properties.insert("journeyId".into(), json!(state.journey_id));
        properties.insert("stateId".into(), json!(state.id));
        if let Some(error) = &self.error {
            let name = if self.status == "exited" {
                "reason"
            } else {
                "error"
            };
            properties.insert(name.into(), json!(error));
        }
        let depth = state.depth.saturating_add(1);
        Some(NewEvent::from_journey(
            state.contact_id,
            name,
            properties,
            depth,
        ))
    }
}
