//! `hogsend engine switch`.

use clap::ValueEnum;
use hogsend_hatchet::Settings;

use crate::app::App;
use crate::cli::{Environment, Misconfigured, require_schema, start};
use crate::config::Mode;
use crate::db;
use crate::worker::engine::{self, Hatchet};

/// The engine to change to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    Embedded,
    Hatchet,
}

/// Moves the open runs to another engine. It changes no settings, so it says what to set.
pub async fn switch(environment: &Environment, to: To, dry_run: bool) -> anyhow::Result<()> {
    let app = start(environment, Mode::Command).await?.app;
    let done = Box::pin(switch_in(&app, to, dry_run)).await;
    app.db.close().await;
    done
}

async fn switch_in(app: &App, to: To, dry_run: bool) -> anyhow::Result<()> {
    require_schema(&app.db).await?;
    let Some(settings) = &app.config.hatchet else {
        return Err(unset(to).into());
    };
    let client = connect(app, settings).await?;
    match to {
        To::Hatchet => to_hatchet(app, &client, dry_run).await,
        To::Embedded => to_embedded(app, &client, dry_run).await,
    }
}

fn unset(to: To) -> Misconfigured {
    let why = match to {
        To::Hatchet => {
            "HATCHET_CLIENT_TOKEN is required: give this command the settings that the workers will have"
        }
        To::Embedded => {
            "HATCHET_CLIENT_TOKEN is required: give this command the settings that the workers had, so that it can \
             cancel what Hatchet still has"
        }
    };
    Misconfigured::of(&[why])
}

async fn connect(app: &App, settings: &Settings) -> anyhow::Result<hogsend_hatchet::Client> {
    let engine = Hatchet::new(settings, &app.clock).map_err(|it| Misconfigured::of(&[it]))?;
    let client = engine.client().clone();
    let version = client.check().await?;
    println!("Hatchet {version} answers at {}", settings.address);
    Ok(client)
}

async fn to_hatchet(
    app: &App,
    client: &hogsend_hatchet::Client,
    dry_run: bool,
) -> anyhow::Result<()> {
    if dry_run {
        let waiting = db::runs_without_task_count(&mut *app.db.conn().await?).await?;
        println!("{waiting} open runs would get a task in Hatchet");
    } else {
        let moved = engine::hand_over(app, client).await?;
        println!("{} open runs have got a task in Hatchet", moved.runs);
    }
    println!(
        "set HATCHET_CLIENT_TOKEN, and what else this command was given of HATCHET_CLIENT_…, for every worker and \
         restart them. Until then the workers go on with the runs as before"
    );
    Ok(())
}

async fn to_embedded(
    app: &App,
    client: &hogsend_hatchet::Client,
    dry_run: bool,
) -> anyhow::Result<()> {
    if dry_run {
        let tasks = db::run_tasks_count(&mut *app.db.conn().await?).await?;
        println!("the tasks of {tasks} runs would be cancelled in Hatchet");
    } else {
        let moved = engine::take_back(&app.db, client).await?;
        println!("the tasks of {} runs are cancelled in Hatchet", moved.runs);
    }
    println!(
        "unset HATCHET_CLIENT_TOKEN for every worker and restart them; then run this command again, because workers \
         that still use Hatchet make new tasks for runs that are due. No run is lost meanwhile"
    );
    Ok(())
}
