//! An engine wakes runs; it does not decide what they do.
//!
//! Postgres has each run's due time, journal and claim, whichever engine is in use, and the settings of each
//! worker decide which one it runs. Workers with different engines may work on the same runs: a claim decides
//! who advances one. An engine outside the database gets its wake-ups from `run_wakes`, which transactions
//! fill while an engine of that kind is in use ([`crate::db::engine_note`]).

mod embedded;

pub use embedded::Embedded;

use crate::app::App;
use crate::config::Config;
use crate::crew::Crew;

/// Finds runs that are due and has them advanced.
pub trait Engine {
    /// Its name in `/v1/health` and in the rows of workers.
    const KIND: &'static str;

    /// Starts the engine's tasks, which run until the crew is asked to stop.
    fn start(&self, app: &App, crew: &mut Crew);

    /// How it is at the moment, for the worker's row.
    fn health(&self) -> Health;
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
#[derive(Clone, Copy, Debug)]
pub enum Chosen {
    Embedded(Embedded),
}

impl Chosen {
    /// The engine that the settings choose.
    pub fn of(_: &Config) -> Self {
        Self::Embedded(Embedded)
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Embedded(_) => Embedded::KIND,
        }
    }

    pub fn start(&self, app: &App, crew: &mut Crew) {
        match self {
            Self::Embedded(engine) => engine.start(app, crew),
        }
    }

    pub fn health(&self) -> Health {
        match self {
            Self::Embedded(engine) => engine.health(),
        }
    }
}

/// The engine of a worker whose version does not report one.
pub fn unreported() -> &'static str {
    Embedded::KIND
}
