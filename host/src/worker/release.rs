//! What a pause held goes on after it: runs and mails become due again, entries are offered again.

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::periodic::{Left, Pass};
use crate::app::App;
use crate::db::{self, Tx};
use crate::enrolment::offer_held;
use crate::pauses::{Pauses, Scope};

/// Runs, mails and entries, each, that go on in one pass, so that a long pause does not end in a storm.
const TOGETHER: i64 = 500;
/// Entries offered in one transaction.
const ENTRIES: i64 = 100;

/// Releases what no pause covers any longer. Returns how much there was. For tests and tools that move the
/// clock themselves.
pub async fn release_due(app: &App) -> db::Result<usize> {
    let now = app.clock.now();
    let over = {
        let mut conn = app.db.conn().await?;
        let mut names = db::aside_names(&mut conn).await?;
        if !names.is_empty() {
            let pauses = Pauses::load(&mut conn, now).await?;
            let lasting: Vec<String> = pauses
                .lasting()
                .map(|pause| Scope::from(pause).to_string())
                .collect();
            names.retain(|name| !lasting.contains(name));
        }
        names
    };
    let mut released = 0;
    for name in &over {
        let work = async |mut tx: Tx| {
            let count = db::aside_release(&mut tx, name, TOGETHER, now).await?;
            db::Result::Ok((tx, count))
        };
        released += app.db.transact(work).await?;
    }
    let mut released = usize::try_from(released).unwrap_or(usize::MAX);
    for _ in 0..TOGETHER / ENTRIES {
        let offered = offer_held(app, ENTRIES).await?;
        released += offered;
        if offered < ENTRIES as usize {
            break;
        }
    }
    Ok(released)
}

pub(super) struct Releases {
    app: App,
}

impl Releases {
    pub(super) fn new(app: &App) -> Self {
        Self { app: app.clone() }
    }
}

impl Pass for Releases {
    const NAME: &'static str = "pauses";
    const EVERY: TimeDelta = TimeDelta::seconds(1);

    fn app(&self) -> &App {
        &self.app
    }

    async fn pass(&self, _: &CancellationToken) -> db::Result<Left> {
        release_due(&self.app).await?;
        Ok(Left::Nothing)
    }
}
