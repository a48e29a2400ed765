//! Backfill: reading the events that a source kept while this installation was away, through its plugin's
//! `history`.
//!
//! A page is stored as webhooks are, in the transaction that also stores how far the backfill is, and
//! deduplicated by the source's own id of each event. A process that dies loses nothing and stores nothing
//! twice: the next one takes the backfill up where it was. Events keep their own times, so exits and waits
//! are met by them and the `late` rule of a journey decides whether they enrol.

mod begin;
mod page;
mod read;
mod start;
mod tally;

pub use begin::{Wanted, begin};
pub use read::{Progress, read, rehearse};
pub use start::keep_healed;
pub use tally::Tally;

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::context::Context;
use crate::db;
use crate::ids::Claim;
use crate::ingest::Naming;
use crate::plugins::{AnalyticsRef, EventSourceRef, PluginError};
use hogsend_plugin_api::{Past, PastIn};

/// How long whoever reads a source has it without a sign of life. It is extended every quarter of this.
pub const LEASE: Duration = Duration::from_secs(20);

/// Why a source's past is not read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    #[error("there is no event source '{source_id}'{}", list(.known))]
    NoSource {
        source_id: String,
        known: Vec<String>,
    },
    #[error("the plugin '{0}' does not read past events")]
    NoHistory(String),
    #[error("--since {since} is not before --until {until}")]
    Backwards {
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    },
    #[error(
        "--since {since} is too early: of what was received before {earliest} the keys are deleted \
         (RETENTION_KEYS_DAYS), so duplicates could not be told. Use --since {earliest} or later"
    )]
    TooEarly {
        since: DateTime<Utc>,
        earliest: DateTime<Utc>,
    },
    #[error("--since is required: there is no unfinished backfill of '{0}' to go on with")]
    NoSince(String),
    #[error(
        "another process reads '{source_id}' now, since {since}. Wait until it is finished; if the process \
         is gone, its place is free at {free_at}"
    )]
    Running {
        source_id: String,
        since: DateTime<Utc>,
        free_at: DateTime<Utc>,
    },
    #[error(
        "a backfill of '{source_id}' from {since} to {until} is unfinished. Go on with it by \
         `hogsend backfill {source_id}`, or give it up with --restart"
    )]
    Unfinished {
        source_id: String,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    },
    #[error("another process took over, this one stops")]
    TakenOver,
    #[error("stopped. `hogsend backfill {0}` goes on from here")]
    Stopped(String),
    #[error("{reason}. `hogsend backfill {source_id}` goes on from here")]
    Unavailable { source_id: String, reason: String },
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error("the database does not do its part: {0}")]
    Database(#[from] sqlx::Error),
}

impl db::Failure for BackfillError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if db::is_transient(error))
    }
}

fn list(all: &[String]) -> String {
    match all {
        [] => ": no plugin is one".to_owned(),
        all => format!(": use one of {}", all.join(", ")),
    }
}

/// What a backfill works with.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    pub cx: &'a Context,
    pub naming: &'a Naming,
}

/// A backfill that this process has.
#[derive(Debug)]
pub struct Begun {
    pub source: String,
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
    /// Names of events as the vendor spells them; empty means all.
    pub events: Vec<String>,
    /// It goes on where an earlier process ended.
    pub resumed: bool,
    cursor: Option<String>,
    tally: Tally,
    /// None where nothing is stored.
    claim: Option<Claim>,
}

/// Whose past is read.
enum Historian {
    Source(EventSourceRef),
    Analytics(AnalyticsRef),
}

impl Historian {
    fn find(cx: &Context, id: &str) -> Result<Self, BackfillError> {
        let plugins = cx.plugins();
        if let Some(source) = plugins.event_source(id) {
            return Ok(Self::Source(source));
        }
        let mut analytics = plugins.analytics().into_iter();
        if let Some(product) = analytics.find(|product| product.id() == id) {
            return Ok(Self::Analytics(product));
        }
        let running = plugins.running();
        let all = running.iter().map(|plugin| plugin.manifest().id.clone());
        Err(BackfillError::NoSource {
            source_id: id.to_owned(),
            known: all
                .filter(|id| plugins.event_source(id).is_some())
                .collect(),
        })
    }

    async fn page(&self, past: &PastIn) -> Result<Past, PluginError> {
        let answer = match self {
            Self::Source(plugin) => plugin.history(past).await,
            Self::Analytics(plugin) => plugin.history(past).await,
        };
        Ok(answer?.unwrap_or(Past::Unsupported))
    }
}
