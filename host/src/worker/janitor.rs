//! Deletes data past its retention period, in small batches.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::engine;
use super::periodic::{Left, Pass};
use crate::app::App;
use crate::db::{self, Conn, EventsForm, Kept, Lifetime};
use crate::telemetry::metrics::{RETENTION_DELETED, RETENTION_FAILURES, RETENTION_LAST};

/// Rows deleted in one transaction.
const BATCH: i64 = 1_000;
/// How long an engine outside the database counts as in use after its last worker was seen: longer than a
/// deployment takes. Real time, like the deployment.
const ENGINE_GONE: Duration = Duration::from_secs(3_600);

/// Deletes all data past its retention period. For tests and tools that move the clock themselves.
pub async fn tidy(app: &App) -> db::Result<()> {
    Janitor::new(app).clean(&CancellationToken::new()).await
}

pub(super) struct Janitor {
    app: App,
    /// For each kind, the time before which everything is deleted.
    done: Mutex<HashMap<&'static str, DateTime<Utc>>>,
}

impl Janitor {
    pub(super) fn new(app: &App) -> Self {
        Self {
            app: app.clone(),
            done: Mutex::default(),
        }
    }

    fn done(&self) -> MutexGuard<'_, HashMap<&'static str, DateTime<Utc>>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows older than this are deleted. None where they are kept forever.
    fn before(&self, kept: &Kept, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let retention = &self.app.config.retention;
        let days = match kept.by {
            // The development outbox shows the requests of sent mails.
            Lifetime::Needed => return self.app.config.production.then_some(now),
            Lifetime::Bodies => retention.bodies,
            Lifetime::Visits => retention.visits,
            Lifetime::Logs => retention.logs,
            Lifetime::Deliveries => retention.deliveries,
            Lifetime::Visitors => retention.visitors,
            Lifetime::Events => retention.events,
            Lifetime::Keys => retention.keys,
            Lifetime::Audit => retention.audit,
        };
        Some(now - days?)
    }

    /// One pass over every kind. A kind that fails does not affect the others.
    async fn clean(&self, stop: &CancellationToken) -> db::Result<()> {
        let mut failed = Ok(());
        let form = self.keep_parts().await;
        for kept in db::KEPT {
            // Rows of a compressed chunk cannot be deleted one by one.
            if kept.is_events() && form == EventsForm::Hypertable {
                continue;
            }
            if let Err(error) = self.delete(kept, stop).await {
                RETENTION_FAILURES.add(&[kept.what], 1);
                tracing::warn!(what = kept.what, %error,
                    "old data could not be deleted, the next pass retries");
                failed = Err(error);
            }
        }
        failed?;
        RETENTION_LAST.set(&[], self.app.clock.now().timestamp() as f64);
        self.forget_engines().await
    }

    /// Makes the parts of the table of events ahead, and drops those in which every event is past its
    /// retention period. Returns the form of the table.
    async fn keep_parts(&self) -> EventsForm {
        let now = self.app.clock.now();
        let before = self.app.config.retention.events.map(|age| now - age);
        let done = async {
            let mut conn = self.app.db.conn().await?;
            let form = db::events_form(&mut conn).await?;
            Ok((form, self.keep_parts_of(form, &mut conn, before).await))
        };
        let (form, kept) = match done.await {
            Ok(done) => done,
            Err(error) => (EventsForm::Plain, Err(error)),
        };
        match kept {
            Ok(()) => {}
            // The default part takes the events, and old ones are deleted row by row.
            Err(error) if db::is_forbidden(&error) => tracing::debug!(
                "the parts of the table of events are left to `hogsend migrate`, whose role owns it"
            ),
            Err(error) => tracing::warn!(%error,
                "the parts of the table of events could not be kept, the next pass retries"),
        }
        form
    }

    async fn keep_parts_of(
        &self,
        form: EventsForm,
        conn: &mut Conn,
        before: Option<DateTime<Utc>>,
    ) -> db::Result<()> {
        match form {
            EventsForm::Plain => {
                if db::unfinished_clear(conn).await? {
                    tracing::warn!(
                        "`hogsend migrate` was interrupted while it divided the table of events: run it again"
                    );
                }
            }
            EventsForm::Partitioned => {
                let made = db::partitions_ahead(conn, self.app.clock.now()).await?;
                if made > 0 {
                    tracing::info!(made, "made parts of the table of events ahead");
                }
                let Some(before) = before else { return Ok(()) };
                for part in db::partitions_drop(conn, before).await? {
                    tracing::info!(part, "a part of the table of events was old and is dropped");
                }
            }
            EventsForm::Hypertable => {
                let Some(before) = before else { return Ok(()) };
                let chunks = db::chunks_drop(conn, before).await?;
                if chunks > 0 {
                    tracing::info!(chunks, "old chunks of the table of events were dropped");
                }
            }
        }
        Ok(())
    }

    /// Wake-ups are no longer kept for an engine that no worker uses.
    async fn forget_engines(&self) -> db::Result<()> {
        let own = engine::chosen(&self.app.config);
        let before = self.app.clock.now() - self.app.clock.moves(ENGINE_GONE);
        let mut conn = self.app.db.conn().await?;
        if db::engines_forget(&mut conn, own, before).await? > 0 {
            self.app.db.engines_changed();
            tracing::info!("no worker uses the engine outside the database any longer");
        }
        Ok(())
    }

    async fn delete(&self, kept: &Kept, stop: &CancellationToken) -> db::Result<()> {
        let Some(before) = self.before(kept, self.app.clock.now()) else {
            return Ok(());
        };
        // What is needed today may not be tomorrow: progress is remembered only for kinds with a
        // fixed age.
        let mut from = match kept.by {
            Lifetime::Needed => None,
            _ => self.done().get(kept.what).copied(),
        };
        let mut total = 0;
        while !stop.is_cancelled() {
            let mut conn = self.app.db.conn().await?;
            let (count, last) = db::kept_delete(&mut conn, kept, before, from, BATCH).await?;
            drop(conn);
            total += count;
            from = last.or(from);
            if count < BATCH {
                break;
            }
        }
        if let Some(from) = from {
            self.done().insert(kept.what, from);
        }
        RETENTION_DELETED.add(&[kept.what], total.unsigned_abs());
        if total > 0 {
            tracing::info!(what = kept.what, count = total, "old data was deleted");
        }
        Ok(())
    }
}

impl Pass for Janitor {
    const NAME: &'static str = "retention";
    const EVERY: TimeDelta = TimeDelta::minutes(5);

    fn app(&self) -> &App {
        &self.app
    }

    async fn pass(&self, stop: &CancellationToken) -> db::Result<Left> {
        self.clean(stop).await?;
        Ok(Left::Nothing)
    }
}
