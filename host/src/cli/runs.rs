//! `hogsend journeys broken | show | retry | resume | restart | exit | dismiss`: runs that need
//! somebody.

use clap::Subcommand;
use serde_json::Value;
use uuid::Uuid;

use super::{Environment, start};
use crate::app::App;
use crate::config::Mode;
use crate::db::{self, StateRow};
use crate::ids::StateId;
use crate::journeys::admin;

#[derive(Subcommand)]
pub enum RunCommand {
    /// List the runs that failed or are stuck, newest first
    Broken,
    /// Show a run with its steps
    Show { run: Uuid },
    /// Let a failed run go on from the step that failed
    Retry { run: Uuid },
    /// Let a stuck run go on, with the plugin version it began with where that is loaded
    Resume { run: Uuid },
    /// End a run and begin a new one with the same event
    Restart { run: Uuid },
    /// End a run; mails nobody has attempted yet do not go out
    Exit {
        run: Uuid,
        /// Why, for the journey.exited event
        #[arg(long, default_value = "ended by an administrator")]
        reason: String,
    },
    /// Take a failed or stuck run off the list
    Dismiss { run: Uuid },
}

/// Does what was asked with the database and the plugins of a worker's settings.
pub async fn run(environment: &Environment, command: RunCommand) -> anyhow::Result<()> {
    let app = start(environment, Mode::Worker).await?.app;
    let done = perform(&app, command).await;
    app.db.close().await;
    done
}

async fn perform(app: &App, command: RunCommand) -> anyhow::Result<()> {
    match command {
        RunCommand::Broken => {
            let runs = db::states_broken(&mut *app.db.conn().await?, 100).await?;
            if runs.is_empty() {
                println!("no run failed or is stuck");
            }
            runs.iter().for_each(print);
        }
        RunCommand::Show { run } => show(app, StateId(run)).await?,
        RunCommand::Retry { run } => {
            admin::retry(app, StateId(run)).await?;
            println!("{run} goes on from the step that failed");
        }
        RunCommand::Resume { run } => {
            admin::resume(app, StateId(run)).await?;
            println!("{run} goes on");
        }
        RunCommand::Restart { run } => {
            let new = admin::restart(app, StateId(run)).await?;
            println!("{run} is ended, {new} begins");
        }
        RunCommand::Exit { run, reason } => {
            admin::exit(app, StateId(run), &reason).await?;
            println!("{run} is ended");
        }
        RunCommand::Dismiss { run } => {
            admin::dismiss(app, StateId(run)).await?;
            println!("{run} is off the list");
        }
    }
    Ok(())
}

fn print(run: &StateRow) {
    println!(
        "{} {} {} at '{}' since {} (plugin {} {})",
        run.id,
        run.journey_id,
        run.status,
        run.current_node_id,
        run.updated_at.format("%F %TZ"),
        run.plugin_id,
        run.plugin_version
    );
    if let Some(error) = &run.error_message {
        println!("    {error}");
    }
}

async fn show(app: &App, id: StateId) -> anyhow::Result<()> {
    let mut conn = app.db.conn().await?;
    let run = db::state_get(&mut conn, id)
        .await?
        .ok_or(admin::AdminError::NotFound(id))?;
    print(&run);
    for row in db::steps_of(&mut conn, id).await? {
        let label = row.step.label.map(|label| format!(" '{label}'"));
        let state = serde_json::to_value(&row.step.state)?;
        let (name, detail) = match &state {
            Value::Object(fields) => {
                let (name, detail) = fields.iter().next().unzip();
                (
                    name.cloned().unwrap_or_default(),
                    detail.map(|d| d["result"].clone()),
                )
            }
            other => (other.as_str().unwrap_or_default().to_owned(), None),
        };
        println!(
            "  {:>3} {}{} {} {name}{}",
            row.step.seq,
            row.step.kind,
            label.unwrap_or_default(),
            row.args,
            detail
                .map(|detail| format!(" {detail}"))
                .unwrap_or_default()
        );
    }
    Ok(())
}
