//! Whether a worker may work on this database: before its loops start, and with each heartbeat.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::db;
use crate::mail;
use crate::restore::{self, Memory, Standing};

/// How often a worker that waits looks again, and how often it logs that it waits.
const LOOK: Duration = Duration::from_secs(2);
const LOG: Duration = Duration::from_secs(60);

/// Waits while workers with another public address use the database. Returns false if the process has to stop
/// first.
pub(super) async fn admit(app: &App, stop: &CancellationToken) -> bool {
    let mut logged_at: Option<Instant> = None;
    while !stop.is_cancelled() {
        let waits = match restore::examine(app).await {
            Ok(Standing::Clear) => return true,
            Ok(Standing::Halted) => {
                report(app).await;
                return true;
            }
            Ok(Standing::Waits { used }) => {
                let own = &app.config.api_public_url;
                format!(
                    "workers with API_PUBLIC_URL={used} use this database, and this worker has {own}: it waits \
                     until they are gone. If the address changes, run `hogsend resume --after-restore \
                     --public-url {own}`"
                )
            }
            // With SKIP_SCHEMA_CHECK, before the migration.
            Err(error) if db::is_missing(&error) => {
                tracing::warn!(%error, "cannot tell whether the database was restored or copied");
                return true;
            }
            Err(error) => format!("cannot tell yet whether the database was restored: {error}"),
        };
        if logged_at.is_none_or(|at| at.elapsed() >= LOG) {
            logged_at = Some(Instant::now());
            tracing::warn!("{waits}");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    false
}

/// Logs what accepting the database would send.
async fn report(app: &App) {
    let plan = match app.db.conn().await {
        Ok(mut conn) => mail::plan(&mut conn, app.clock.now()).await,
        Err(error) => Err(error),
    };
    let plan = plan.map_or_else(
        |error| format!("what it will send could not be counted: {error}"),
        |plan| plan.to_string(),
    );
    tracing::warn!(
        "the database was restored, copied or moved, so nothing is sent. If this is the installation that \
         mails people, run `hogsend resume --after-restore`: {plan}"
    );
}

/// What this worker remembers of the database.
#[derive(Default)]
pub(super) struct Remembered(Mutex<Option<Memory>>);

impl Remembered {
    /// Counts a heartbeat, and remembers how far the database had come.
    pub(super) async fn beat(&self, app: &App) -> db::Result<()> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *lock();
        let found = restore::beat(app, before).await?;
        *lock() = found;
        if let Some(found) = found
            // A halted database must not count as what this worker last used.
            && !app.halt.look(&app.db).await?
        {
            found.keep(app).await;
        }
        Ok(())
    }
}
