//! The worker: advances journeys, delivers mail, sends captures and webhooks, classifies opens and
//! clicks.

mod admit;
mod alerts;
mod catch_up;
pub mod engine;
mod importer;
mod janitor;
mod leases;
mod mailer;
mod periodic;
mod poll;
mod relay;
mod release;
mod spikes;
mod tracker;
mod webhooks;

pub use alerts::alert_due;
pub use importer::import_due;
pub use janitor::tidy;
pub use mailer::deliver_due;
pub use relay::relay_due;
pub use release::release_due;
pub use spikes::spikes_due;
pub use tracker::track_due;
pub use webhooks::post_due;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::App;
use crate::backfill::{self, Tools};
use crate::contacts::consent;
use crate::crew::{Crew, Died};
use crate::db::{self, Beat, Conn, EngineReport};
use crate::loops::BEAT;
use crate::runs;
use crate::telemetry::Outage;
use engine::{Chosen, Health};
use periodic::Periodic;

/// Checks alert rules and sends alerts in a process that is not a worker, so that missing workers
/// are noticed.
pub fn watch(app: &App, crew: &mut Crew) {
    poll::start(crew, alerts::Alerts::new(app));
}

/// Works until `stop`, then finishes what it began.
///
/// # Errors Where one of its tasks ended by itself: the process must exit so that its supervisor
/// restarts it.
pub async fn run(app: App, stop: CancellationToken) -> Result<(), Died> {
    if !admit::admit(&app, &stop).await {
        return Ok(());
    }
    let id = Uuid::now_v7();
    let engine = Chosen::open(&app).map_err(|problem| {
        tracing::error!("{problem}");
        Died::at_start("engine")
    })?;
    tracing::info!(worker.id = %id, engine = engine.kind(), "the worker is ready");
    // Before the first claim, because claims count worker deaths.
    if let Err(error) = app.calls.take_back().await {
        tracing::warn!(%error, "cannot tell which plugin calls were running at the last crash");
    }
    let mut crew = Crew::new(stop);
    let listening = (app.clone(), crew.stop().clone());
    crew.spawn("wake-ups", async move {
        listening.0.db.wake().listen(listening.1).await;
    });
    let beating = (app.clone(), crew.stop().clone());
    let reported = engine.clone();
    crew.spawn(BEATS, async move {
        beat(&beating.0, id, &reported, &beating.1).await;
    });
    engine.start(&app, &mut crew);
    poll::start(&mut crew, mailer::Mails::new(&app, &engine));
    poll::start(&mut crew, mailer::UrgentMails::new(&app, &engine));
    poll::start(&mut crew, relay::Captures::new(&app));
    poll::start(&mut crew, tracker::Visits::new(&app));
    poll::start(&mut crew, webhooks::Webhooks::new(&app));
    poll::start(&mut crew, alerts::Alerts::new(&app));
    poll::start(&mut crew, importer::Imports::new(&app));
    let healing = (app.clone(), crew.stop().clone());
    crew.spawn("backfill", async move {
        let (app, stop) = healing;
        let tools = Tools {
            cx: &app,
            naming: &app.naming,
        };
        backfill::keep_healed(tools, &stop).await;
        stop.cancelled().await;
    });
    poll::start(&mut crew, Periodic::new(catch_up::CatchUp::new(&app)));
    poll::start(&mut crew, Periodic::new(janitor::Janitor::new(&app)));
    poll::start(&mut crew, Periodic::new(leases::Leases::new(&app)));
    poll::start(&mut crew, Periodic::new(release::Releases::new(&app)));
    poll::start(&mut crew, Periodic::new(spikes::Spikes::new(&app)));
    let ended = crew.ended().await;
    // One last batch of captures of the final requests; other workers take the rest.
    if let Err(error) = relay_due(&app).await {
        tracing::warn!(%error, "captures are left for other workers or the next start");
    }
    if let Err(error) = app.calls.take_back().await {
        tracing::warn!(%error, "cancelled plugin calls will count as deaths of this worker");
    }
    let left = match app.db.conn().await {
        Ok(mut conn) => db::worker_remove(&mut conn, id, app.clock.now()).await,
        Err(error) => Err(error),
    };
    if let Err(error) = left {
        tracing::warn!(%error, "could not remove this worker from the database");
    }
    ended
}

/// Its name in the log and in health.
const BEATS: &str = "heartbeat";

async fn beat(app: &App, id: Uuid, engine: &Chosen, stop: &CancellationToken) {
    let remembered = admit::Remembered::default();
    while !stop.is_cancelled() {
        if let Err(error) = app.calls.take_back().await {
            tracing::debug!(%error, "records of plugin calls will be deleted later");
        }
        let seen = match app.db.conn().await {
            Ok(mut conn) => report(app, id, engine, &mut conn).await,
            Err(error) => Err(error),
        };
        let seen = match seen {
            Ok(()) => remembered.beat(app).await,
            Err(error) => Err(error),
        };
        let pause = match seen {
            Ok(()) => {
                app.loops.sound(BEATS);
                BEAT
            }
            Err(error) => app.loops.failed(BEATS, &error),
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The engine does not answer this worker.
static ENGINE: Outage = Outage::new();

fn log_engine(engine: &'static str, health: &Health) {
    if health.up {
        if let Some(recovered) = ENGINE.over() {
            let seconds = recovered.seconds;
            tracing::info!(engine, seconds, "the engine works again");
        }
    } else if let Some(failing) = ENGINE.failed() {
        let seconds = failing.seconds;
        let findings = health.findings.join(" ");
        tracing::warn!(
            engine,
            seconds,
            findings,
            "the engine does not work for this worker"
        );
    }
}

/// Records this worker's heartbeat and findings.
async fn report(app: &App, id: Uuid, engine: &Chosen, conn: &mut Conn) -> db::Result<()> {
    let mut findings = app.loops.findings();
    let health = engine.health();
    log_engine(engine.kind(), &health);
    findings.extend(health.findings);
    let journeys = app.loops.journeys_without_plugin();
    if !journeys.is_empty() {
        let waiting = db::states_waiting(conn, &journeys).await?;
        findings.extend(waiting.into_iter().map(|(journey, runs)| {
            format!("{runs} runs of the journey '{journey}' wait for a plugin that is not loaded: load it, or end them.")
        }));
    }
    let holds = db::capture_holds(conn).await?;
    findings.extend(holds.into_iter().map(|hold| {
        format!(
            "the analytics product '{}' has accepted no captures since {}, they are kept: {}",
            hold.product,
            hold.since.format("%F %T UTC"),
            hold.reason
        )
    }));
    let beat = Beat {
        public_url: &app.config.api_public_url,
        findings: &findings,
        engine: Some(EngineReport {
            kind: engine.kind(),
            version: health.version.as_deref(),
            up: health.up,
        }),
    };
    db::worker_beat(conn, id, &beat, app.clock.now()).await
}

/// Works until nothing is due. Returns how many runs and mails it processed. For tests and tools
/// that move the clock themselves.
pub async fn drain(app: &App) -> db::Result<usize> {
    let mut taken = 0;
    loop {
        let round =
            runs::advance_due(app).await? + deliver_due(app).await? + others_due(app).await?;
        if round == 0 {
            return Ok(taken);
        }
        taken += round;
    }
}

/// Does once what is due beside runs and mails, which an engine may bring to this process. Returns how much there
/// was.
pub async fn others_due(app: &App) -> db::Result<usize> {
    Ok(relay_due(app).await?
        + track_due(app).await?
        + post_due(app).await?
        + alert_due(app).await?
        + import_due(app, &CancellationToken::new()).await?
        + release_due(app).await?
        + spikes_due(app).await?
        + consent::catch_up(app).await?)
}
