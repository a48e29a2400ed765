//! Runs and mails that were due during a pause. They have no due time until they are released.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::db::transact::{rouse, stir};
use crate::db::{ClaimedSend, Conn, Result, Topic};
use crate::ids::{Claim, StateId};

/// How much waits because of a pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    pub runs: i64,
    pub mails: i64,
}

/// Puts runs aside that the caller has claimed, because of this pause.
pub async fn runs_put_aside(conn: &mut Conn, runs: &[(StateId, Claim)], pause: &str) -> Result<()> {
    let ids: Vec<StateId> = runs.iter().map(|one| one.0).collect();
    let claims: Vec<Claim> = runs.iter().map(|one| one.1).collect();
    sqlx::query!(
        "UPDATE journey_states s SET claim = NULL, wake_at = NULL, paused = $3
         FROM unnest($1::uuid[], $2::uuid[]) AS h (id, claim)
         WHERE s.id = h.id AND s.claim = h.claim",
        &ids as &[StateId],
        &claims as &[Claim],
        pause
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts mails aside that the caller has claimed, because of this pause.
pub async fn sends_put_aside(conn: &mut Conn, sends: &[&ClaimedSend], pause: &str) -> Result<()> {
    let ids: Vec<_> = sends.iter().map(|send| send.id).collect();
    let claims: Vec<Option<Claim>> = sends.iter().map(|send| send.claim).collect();
    sqlx::query!(
        "UPDATE email_sends s SET claim = NULL, next_attempt_at = NULL, reason = 'paused',
             paused = $3
         FROM unnest($1::uuid[], $2::uuid[]) AS h (id, claim)
         WHERE s.id = h.id AND s.claim = h.claim",
        &ids as &[crate::ids::SendId],
        &claims as &[Option<Claim>],
        pause
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The journeys of these runs.
pub async fn sends_journeys(conn: &mut Conn, runs: &[StateId]) -> Result<HashMap<StateId, String>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: StateId", journey_id FROM journey_states WHERE id = ANY($1)"#,
        runs as &[StateId]
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.journey_id))
        .collect())
}

/// The pauses for which something was put aside, whether or not they last.
pub async fn aside_names(conn: &mut Conn) -> Result<Vec<String>> {
    // One step through the index for each name, however many rows there are.
    sqlx::query_scalar!(
        r#"WITH RECURSIVE runs AS (
               (SELECT paused FROM journey_states WHERE paused IS NOT NULL ORDER BY paused LIMIT 1)
               UNION ALL
               SELECT (SELECT s.paused FROM journey_states s WHERE s.paused > runs.paused
                       ORDER BY s.paused LIMIT 1)
               FROM runs WHERE runs.paused IS NOT NULL),
           mails AS (
               (SELECT paused FROM email_sends WHERE paused IS NOT NULL ORDER BY paused LIMIT 1)
               UNION ALL
               SELECT (SELECT s.paused FROM email_sends s WHERE s.paused > mails.paused
                       ORDER BY s.paused LIMIT 1)
               FROM mails WHERE mails.paused IS NOT NULL)
           SELECT paused AS "paused!" FROM runs WHERE paused IS NOT NULL
           UNION SELECT paused FROM mails WHERE paused IS NOT NULL"#
    )
    .fetch_all(conn)
    .await
}

/// How much was put aside for this pause.
pub async fn aside_count(conn: &mut Conn, pause: &str) -> Result<Aside> {
    sqlx::query_as!(
        Aside,
        r#"SELECT (SELECT count(*) FROM journey_states WHERE paused = $1) AS "runs!",
                  (SELECT count(*) FROM email_sends WHERE paused = $1) AS "mails!""#,
        pause
    )
    .fetch_one(conn)
    .await
}

/// Makes at most `limit` runs and `limit` mails due again that were put aside for this pause. Returns how
/// many rows it touched.
pub async fn aside_release(
    conn: &mut Conn,
    pause: &str,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<u64> {
    let runs = sqlx::query!(
        r#"WITH chosen AS (SELECT id FROM journey_states WHERE paused = $1 ORDER BY id LIMIT $2
                       FOR UPDATE SKIP LOCKED)
         UPDATE journey_states s SET paused = NULL,
             wake_at = CASE WHEN s.status IN ('active', 'waiting') THEN coalesce(s.wake_at, $3)
                            ELSE s.wake_at END
         FROM chosen WHERE s.id = chosen.id
         RETURNING s.id AS "run: StateId", s.wake_at"#,
        pause,
        limit,
        now
    )
    .fetch_all(&mut *conn)
    .await?;
    let mails = sqlx::query!(
        "WITH chosen AS (SELECT id FROM email_sends WHERE paused = $1 ORDER BY id LIMIT $2
                       FOR UPDATE SKIP LOCKED)
         UPDATE email_sends s SET paused = NULL,
             reason = CASE WHEN s.reason = 'paused' THEN NULL ELSE s.reason END,
             next_attempt_at = CASE WHEN s.status = 'queued'
                                    THEN coalesce(s.next_attempt_at, $3) ELSE s.next_attempt_at END
         FROM chosen WHERE s.id = chosen.id",
        pause,
        limit,
        now
    )
    .execute(conn)
    .await?;
    let released = runs.len() as u64 + mails.rows_affected();
    if !runs.is_empty() {
        stir(Topic::Runs);
    }
    if mails.rows_affected() > 0 {
        stir(Topic::Mails);
    }
    rouse(runs.into_iter().map(|row| (row.run, row.wake_at)));
    Ok(released)
}
