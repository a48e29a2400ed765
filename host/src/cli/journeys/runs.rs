//! `hogsend journeys broken | show | retry | resume | restart | exit | dismiss`: runs that need an
//! operator.

use clap::Subcommand;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::audit::{Actor, Change, audit};
use crate::cli::{Environment, require_schema, start};
use crate::config::Mode;
use crate::db::{self, Db, StateRow, StepRow, Tx};
use crate::ids::StateId;
use crate::runs::decide;
use crate::runs::decide::{AdminError, Restarted};
use crate::states::RunState;

#[derive(Subcommand)]
pub enum RunCommand {
    /// List the runs that failed or are stuck, newest first
    Broken {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a run with its steps
    Show {
        run: Uuid,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Continue a failed run from the step that failed
    Retry { run: Uuid },
    /// Continue a stuck run, with the plugin version it started with if that is loaded
    Resume { run: Uuid },
    /// End a failed or stuck run and start a new one with the same event
    Restart {
        run: Uuid,
        /// Also restart a run that is neither; it may send its mails again
        #[arg(long)]
        force: bool,
    },
    /// End a run; its mails that no worker has attempted yet are not sent
    Exit {
        run: Uuid,
        /// The reason in the journey.exited event
        #[arg(long, default_value = "ended by an administrator")]
        reason: String,
    },
    /// Take a failed or stuck run off the list
    Dismiss { run: Uuid },
}

/// Showing runs needs only a database; changing them also needs the plugins with journeys. Neither
/// needs a delivery provider or the settings of the API and the worker.
pub async fn run(environment: &Environment, command: RunCommand) -> anyhow::Result<()> {
    match command {
        RunCommand::Broken { json } => {
            let (db, _) = start::open(environment).await?;
            let done = broken(&db, json).await;
            db.close().await;
            done
        }
        RunCommand::Show { run, json } => {
            let (db, _) = start::open(environment).await?;
            let done = show(&db, StateId(run), json).await;
            db.close().await;
            done
        }
        command => {
            let app = start(environment, Mode::Command).await?.app;
            let done = act(&app, &command).await;
            app.db.close().await;
            done
        }
    }
}

/// Changes a run and records that in the audit log, in the same transaction.
async fn act(app: &App, command: &RunCommand) -> anyhow::Result<()> {
    require_schema(&app.db).await?;
    let work = |mut tx: Tx| async move {
        let (run, action, after, said) = change(app, &mut tx, command).await?;
        let about = ("journey_state", &*run.to_string());
        let now = app.clock.now();
        audit(
            &mut tx,
            &Actor::Command,
            action,
            about,
            Change::created(after),
            now,
        )
        .await?;
        Ok::<_, AdminError>((tx, said))
    };
    println!("{}", app.db.transact(work).await?);
    Ok(())
}

type Changed = (Uuid, &'static str, Value, String);

async fn change(app: &App, tx: &mut Tx, command: &RunCommand) -> Result<Changed, AdminError> {
    Ok(match *command {
        RunCommand::Retry { run } => {
            decide::retry_in(app, tx, StateId(run)).await?;
            let said = format!("{run} continues from the step that failed");
            (run, "journey_state.retry", json!({}), said)
        }
        RunCommand::Resume { run } => {
            decide::resume_in(app, tx, StateId(run)).await?;
            (
                run,
                "journey_state.resume",
                json!({}),
                format!("{run} continues"),
            )
        }
        RunCommand::Restart { run, force } => {
            let Restarted { run: new, again } =
                decide::restart_in(app, tx, StateId(run), force).await?;
            let mut said = format!("{run} has ended, {new} starts");
            if !again.is_empty() {
                said += &format!(" and sends again: {}", again.join(", "));
            }
            (
                run,
                "journey_state.restart",
                json!({ "stateId": new }),
                said,
            )
        }
        RunCommand::Exit { run, ref reason } => {
            decide::exit_in(app, tx, StateId(run), reason).await?;
            let after = json!({ "reason": reason });
            (run, "journey_state.exit", after, format!("{run} has ended"))
        }
        RunCommand::Dismiss { run } => {
            decide::dismiss_in(app, tx, StateId(run)).await?;
            let said = format!("{run} is off the list");
            (run, "journey_state.dismiss", json!({}), said)
        }
        // Handled by `run`.
        RunCommand::Broken { .. } | RunCommand::Show { .. } => {
            return Err(AdminError::Conflict("this command changes nothing".into()));
        }
    })
}

async fn broken(db: &Db, as_json: bool) -> anyhow::Result<()> {
    let runs = db::states_broken(&mut *db.conn().await?, 100).await?;
    if as_json {
        let all: Vec<Value> = runs.iter().map(machine).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    if runs.is_empty() {
        println!("no run has failed or is stuck");
        return Ok(());
    }
    for run in &runs {
        print(run);
        let verb = if run.status == RunState::Stuck {
            "resume"
        } else {
            "retry"
        };
        println!("    hogsend journeys {verb} {}", run.id);
    }
    Ok(())
}

fn print(run: &StateRow) {
    let person = &run.person;
    let who = person.external_id.as_ref().or(person.email.as_ref());
    let who = who.cloned().unwrap_or_else(|| run.contact_id.to_string());
    println!(
        "{}  {} at '{}' since {}\n    journey {} for {who}, plugin {} {}",
        run.id,
        run.status,
        run.current_node_id,
        run.updated_at.format("%F %T UTC"),
        run.journey_id,
        run.plugin_id,
        run.plugin_version
    );
    if let Some(error) = &run.error_message {
        println!("    {error}");
    }
}

fn machine(run: &StateRow) -> Value {
    json!({
        "id": run.id,
        "journeyId": run.journey_id,
        "status": run.status,
        "currentNodeId": run.current_node_id,
        "triggerEvent": run.trigger_event,
        "plugin": { "id": run.plugin_id, "version": run.plugin_version },
        "errorMessage": run.error_message,
        "wakeAt": run.wake_at,
        "createdAt": run.created_at,
        "updatedAt": run.updated_at,
    })
}

async fn show(db: &Db, id: StateId, as_json: bool) -> anyhow::Result<()> {
    let mut conn = db.conn().await?;
    let run = db::state_get(&mut conn, id)
        .await?
        .ok_or(AdminError::NotFound(id))?;
    let steps = db::steps_of(&mut conn, id).await?;
    drop(conn);
    if as_json {
        let mut whole = machine(&run);
        whole["context"] = Value::Object(run.context.clone());
        let steps: Vec<Value> = steps
            .iter()
            .map(|row| {
                json!({
                    "seq": row.step.seq,
                    "kind": row.step.kind,
                    "label": row.step.label,
                    "args": row.args,
                    "state": row.step.state,
                    "issuedAt": row.issued_at,
                    "dueAt": row.due_at,
                    "attempts": row.attempts,
                })
            })
            .collect();
        whole["steps"] = Value::Array(steps);
        println!("{}", serde_json::to_string_pretty(&whole)?);
        return Ok(());
    }
    print(&run);
    println!(
        "    began {} with {}",
        run.created_at.format("%F %T UTC"),
        run.trigger_event
    );
    let rows: Vec<[String; 4]> = steps.iter().map(cells).collect();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    for [seq, time, what, end] in &rows {
        println!(
            "  {seq:>0$}  {time:<1$}  {what:<2$}  {end}",
            widths[0], widths[1], widths[2]
        );
    }
    Ok(())
}

/// The cells of a step: its number, when it was issued, what it is, and how it ended.
fn cells(row: &StepRow) -> [String; 4] {
    use hogsend_plugin_api::StepState;

    let step = &row.step;
    let label = step.label.as_ref().map(|label| format!(" '{label}'"));
    let what = format!(
        "{}{}{}",
        step.kind,
        label.unwrap_or_default(),
        argument(&row.args)
    );
    let end = match &step.state {
        StepState::Open => match row.due_at {
            Some(due) => format!("open, until {}", due.format("%F %T UTC")),
            None => "open".to_owned(),
        },
        StepState::Noted => "noted".to_owned(),
        StepState::Cancelled => "cancelled".to_owned(),
        StepState::Done { result, .. } => match result {
            Ok(Value::Null) => "done".to_owned(),
            Ok(value) => format!("done: {}", plain(value)),
            Err(error) => format!("failed: {error}"),
        },
        other => format!("{other:?}"),
    };
    [
        step.seq.to_string(),
        row.issued_at.format("%F %T").to_string(),
        what,
        end,
    ]
}

/// The main argument of a step, for a short description.
fn argument(args: &Value) -> String {
    let named = [
        "template", "event", "name", "url", "key", "until", "for_ms", "ms",
    ];
    let found = named
        .iter()
        .find_map(|name| Some((name, args.get(name).filter(|value| !value.is_null())?)));
    match found {
        Some((name, value)) if name.ends_with("ms") => value
            .as_u64()
            .map(|ms| format!(" {}", super::length(std::time::Duration::from_millis(ms))))
            .unwrap_or_default(),
        Some((_, value)) => format!(" {}", plain(value)),
        None => String::new(),
    }
}

/// A value on one line, truncated if it is long; `--json` shows all of it.
fn plain(value: &Value) -> String {
    const MOST: usize = 80;
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| format!("{name} {}", plain(value)))
                .collect();
            fields.join(", ")
        }
        other => other.to_string(),
    };
    let shown: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(MOST)
        .collect();
    if shown.len() < text.len() {
        format!("{shown}…")
    } else {
        shown
    }
}
