//! Wake-ups of runs for an engine outside the database (`run_wakes`), and whether there is one.
//!
//! The functions of this store that make a run due, move its time or end it from outside its own advance
//! call [`rouse`](crate::db::transact::rouse). The commit writes these wake-ups as rows, where an engine
//! outside the database is in use, and the engine relays them. A lost row costs time only: the engine also
//! looks for overdue runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};
use crate::ids::StateId;

/// How long a process relies on what it last read about engines.
const RELIED_ON: Duration = Duration::from_secs(5);

/// When runs are due, by run; None for a run that is over.
pub(in crate::db) type Wakes = BTreeMap<StateId, Option<DateTime<Utc>>>;

/// A wake-up that no engine has yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunWake {
    pub id: i64,
    pub run: StateId,
    /// When the run is due; None where it is over.
    pub at: Option<DateTime<Utc>>,
}

/// Whether wake-ups are kept, as this process last read it.
#[derive(Clone, Default)]
pub(in crate::db) struct Outbox(Arc<Mutex<Option<(Instant, bool)>>>);

impl Outbox {
    /// Whether an engine outside the database is in use. Asks the database at most every five seconds, so a
    /// transaction seldom has this statement more.
    pub async fn is_used(&self, conn: &mut Conn) -> Result<bool> {
        if let Some((at, used)) = *self.lock()
            && at.elapsed() < RELIED_ON
        {
            return Ok(used);
        }
        let used = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM engines) AS "used!""#);
        let used = used.fetch_one(conn).await?;
        *self.lock() = Some((Instant::now(), used));
        Ok(used)
    }

    /// Engines changed: the next transaction asks again.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, bool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(in crate::db) async fn run_wakes_insert(conn: &mut Conn, wakes: &Wakes) -> Result<()> {
    let runs: Vec<StateId> = wakes.keys().copied().collect();
    let times: Vec<Option<DateTime<Utc>>> = wakes.values().copied().collect();
    sqlx::query!(
        "INSERT INTO run_wakes (run_id, at) SELECT * FROM unnest($1::uuid[], $2::timestamptz[])",
        &runs as &[StateId],
        &times as &[Option<DateTime<Utc>>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the oldest wake-ups, at most `limit`, until `until`.
///
/// Two workers racing: each skips the rows that the other has locked, and after the commit they are taken. Where
/// a worker dies, others take its rows at that time; an engine that gets a wake-up twice looks twice.
pub async fn run_wakes_take(
    conn: &mut Conn,
    limit: i64,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<RunWake>> {
    sqlx::query_as!(
        RunWake,
        r#"UPDATE run_wakes w SET taken_until = $3
           FROM (SELECT id FROM run_wakes WHERE taken_until IS NULL OR taken_until <= $2
                 ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) oldest
           WHERE w.id = oldest.id
           RETURNING w.id, w.run_id AS "run: StateId", w.at"#,
        limit,
        now,
        until
    )
    .fetch_all(conn)
    .await
}

/// Deletes wake-ups that the engine has.
pub async fn run_wakes_delete(conn: &mut Conn, ids: &[i64]) -> Result<()> {
    sqlx::query!("DELETE FROM run_wakes WHERE id = ANY($1)", ids)
        .execute(conn)
        .await?;
    Ok(())
}
