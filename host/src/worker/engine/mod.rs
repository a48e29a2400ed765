//! An engine wakes runs; it does not decide what they do.
//!
//! Postgres has each run's due time, journal and claim, whichever engine is in use, and the settings of each
//! worker decide which one it runs. Workers with different engines may work on the same runs: a claim decides
//! who advances one. An engine outside the database gets its wake-ups from `run_wakes`, which transactions
//! fill while an engine of that kind is in use ([`crate::db::engine_note`]).

mod embedded;
mod hatchet;

use embedded::Embedded;
use hatchet::Hatchet;
use hogsend_hatchet::Problem;

use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::crew::Crew;
use crate::db;
use crate::mail::Lane;

/// Finds runs that are due and has them advanced.
pub trait Engine {
    /// Its name in `/v1/health` and in the rows of workers.
    const KIND: &'static str;

    /// Starts the engine's tasks, which run until the crew is asked to stop.
    fn start(&self, app: &App, crew: &mut Crew);

    /// How it is at the moment, for the worker's row.
    fn health(&self) -> Health;

    /// Has at most `free` requests to delivery providers made for mails that are due. False where the caller has
    /// to make them itself.
    fn offer_mail(
        &self,
        _app: &App,
        _lane: Lane,
        _free: usize,
    ) -> impl Future<Output = db::Result<bool>> + Send {
        std::future::ready(Ok(false))
    }
}

/// How an engine is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub up: bool,
    /// Known once it has answered.
    pub version: Option<String>,
    /// What an operator has to do, one sentence each.
    pub findings: Vec<String>,
}

/// The engine of a process.
#[derive(Clone)]
pub enum Chosen {
    Embedded(Embedded),
    Hatchet(Hatchet),
}

/// The names of all engines.
pub const KINDS: &[&str] = &[Embedded::KIND, Hatchet::KIND];

/// The name of the engine that the settings choose.
pub fn chosen(config: &Config) -> &'static str {
    match config.engine {
        None => Embedded::KIND,
        Some(_) => Hatchet::KIND,
    }
}

/// The engine of a worker whose version does not report one.
pub fn unreported() -> &'static str {
    Embedded::KIND
}

/// Why the engine that the settings choose cannot be used, and what to do.
#[derive(Clone, Debug)]
pub struct Unfit {
    pub why: Problem,
    pub fix: &'static str,
}

/// Asks the engine that the settings choose whether it answers; says so in one sentence. None where it is inside
/// the worker.
pub async fn check(config: &Config, clock: &Clock) -> Option<Result<String, Unfit>> {
    let settings = config.engine.as_ref()?;
    Some(hatchet::check(settings, clock).await)
}

/// Why the runs did not move to another engine.
#[derive(Debug, thiserror::Error)]
pub enum SwitchFailed {
    #[error("{0}")]
    Unset(&'static str),
    #[error(transparent)]
    Settings(Problem),
    #[error(transparent)]
    Unreachable(#[from] hogsend_hatchet::CheckFailed),
    #[error(transparent)]
    Engine(#[from] hogsend_hatchet::CallError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Moves the open runs to the engine of this name, one of [`KINDS`]; only counts them in a `dry_run`. Safe to repeat,
/// and while workers work: whichever engine they run, a claim decides who advances a run. Returns what was done and
/// what to set, as sentences.
pub async fn switch(app: &App, to: &str, dry_run: bool) -> Result<Vec<String>, SwitchFailed> {
    // Every run is in Postgres, so the embedded engine needs nothing but the end of the other one.
    if to == Embedded::KIND {
        hatchet::take_back(app, dry_run).await
    } else {
        hatchet::hand_over(app, dry_run).await
    }
}

impl Chosen {
    /// The engine that the settings choose. It connects when it starts.
    ///
    /// # Errors
    /// Where the settings do not make a connection.
    pub fn open(app: &App) -> Result<Self, Problem> {
        Ok(match &app.config.engine {
            None => Self::Embedded(Embedded),
            Some(settings) => Self::Hatchet(Hatchet::new(settings, &app.clock)?),
        })
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Embedded(_) => Embedded::KIND,
            Self::Hatchet(_) => Hatchet::KIND,
        }
    }

    pub fn start(&self, app: &App, crew: &mut Crew) {
        match self {
            Self::Embedded(engine) => engine.start(app, crew),
            Self::Hatchet(engine) => engine.start(app, crew),
        }
    }

    pub fn health(&self) -> Health {
        match self {
            Self::Embedded(engine) => engine.health(),
            Self::Hatchet(engine) => engine.health(),
        }
    }

    pub async fn offer_mail(&self, app: &App, lane: Lane, free: usize) -> db::Result<bool> {
        match self {
            Self::Embedded(engine) => engine.offer_mail(app, lane, free).await,
            Self::Hatchet(engine) => engine.offer_mail(app, lane, free).await,
        }
    }
}
