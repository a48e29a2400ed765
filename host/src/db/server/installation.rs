//! Which installation the database belongs to, and what waits in it.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::db::{Conn, Result};
use crate::ids::SendId;

/// The one row about the installation.
#[derive(Clone, Debug)]
pub struct InstallationRow {
    pub id: Uuid,
    /// One more each time an operator accepted the database after a doubt.
    pub epoch: i32,
    /// `API_PUBLIC_URL` of the workers that may send; None until the first one in production.
    pub public_url: Option<String>,
    pub previous_url: Option<String>,
    pub accepted_at: Option<DateTime<Utc>>,
    pub server: Option<String>,
    /// What the worker that had to stop was started with.
    pub found_url: Option<String>,
    pub beats: i64,
    pub seen_at: Option<DateTime<Utc>>,
    /// The latest time during which no worker ran.
    pub gap_from: Option<DateTime<Utc>>,
    pub gap_to: Option<DateTime<Utc>>,
    /// Mails with this installation's mark that the ledger does not know.
    pub unknown: Vec<Uuid>,
}

/// The row, locked until the transaction ends. Two workers that start at once see each other's decision.
pub async fn installation_lock(conn: &mut Conn) -> Result<InstallationRow> {
    sqlx::query_as!(
        InstallationRow,
        "SELECT id, epoch, public_url, previous_url, accepted_at, server, found_url, beats, seen_at,
                gap_from, gap_to, unknown
         FROM installation FOR NO KEY UPDATE"
    )
    .fetch_one(conn)
    .await
}

/// Keeps what the first worker of the installation was started with.
pub async fn installation_claim(conn: &mut Conn, url: &str, server: Option<&str>) -> Result<()> {
    sqlx::query!(
        "UPDATE installation SET public_url = $1, server = coalesce($2, server)",
        url,
        server
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps what a worker was started with that has to stop.
pub async fn installation_found(conn: &mut Conn, url: &str) -> Result<()> {
    sqlx::query!("UPDATE installation SET found_url = $1", url)
        .execute(conn)
        .await?;
    Ok(())
}

/// Keeps during which time no worker ran.
pub async fn installation_gap(
    conn: &mut Conn,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE installation SET gap_from = $1, gap_to = $2",
        from,
        to
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps a mail that a provider reported and the ledger does not know.
pub async fn installation_unknown(conn: &mut Conn, send: SendId) -> Result<()> {
    sqlx::query!(
        "UPDATE installation SET unknown = array_append(unknown, $1)",
        send as SendId
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts a worker's heartbeat. None until the installation is known.
pub async fn installation_beat(
    conn: &mut Conn,
    now: DateTime<Utc>,
) -> Result<Option<(Uuid, i32, i64)>> {
    let row = sqlx::query!(
        "UPDATE installation SET beats = beats + 1, seen_at = greatest(seen_at, $1)
         WHERE public_url IS NOT NULL RETURNING id, epoch, beats",
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.id, row.epoch, row.beats)))
}

/// Accepts the database as it is, with this address. Another address makes it an installation of its own.
/// Returns the new epoch.
pub async fn installation_accept(
    conn: &mut Conn,
    url: Option<&str>,
    server: Option<&str>,
    now: DateTime<Utc>,
) -> Result<i32> {
    sqlx::query_scalar!(
        "UPDATE installation SET epoch = epoch + 1, accepted_at = $3, server = $2,
             id = CASE WHEN public_url <> $1 THEN gen_random_uuid() ELSE id END,
             previous_url = CASE WHEN public_url <> $1 THEN public_url ELSE previous_url END,
             public_url = $1, found_url = NULL, gap_from = NULL, gap_to = NULL, unknown = '{}'
         RETURNING epoch",
        url,
        server,
        now
    )
    .fetch_one(conn)
    .await
}

/// The database server and the database on it. It changes where a dump is restored, and not with a restart or a
/// failover. None where the server does not tell.
pub async fn server_identity(conn: &mut Conn) -> Result<Option<String>> {
    let found = sqlx::query_scalar!(
        r#"SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || oid::text
                      AS "identity!"
           FROM pg_database WHERE datname = current_database()"#
    )
    .fetch_one(conn)
    .await;
    match found {
        Ok(identity) => Ok(Some(identity)),
        // Class 42: the function is missing or not allowed.
        Err(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| code.starts_with("42")) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether a worker with this address was seen within `missed`.
pub async fn workers_at(
    conn: &mut Conn,
    url: &str,
    now: DateTime<Utc>,
    missed: TimeDelta,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM workers
                          WHERE public_url = $1 AND last_seen_at BETWEEN $2 AND $3) AS "any!""#,
        url,
        now - missed,
        now + missed
    )
    .fetch_one(conn)
    .await
}

/// Whether no attempt at a mail was ever made.
pub async fn send_never_tried(conn: &mut Conn, id: SendId) -> Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM email_sends s
                          WHERE s.id = $1 AND s.attempts = 0 AND s.first_attempt_at IS NULL
                            AND s.status IN ('queued', 'skipped')
                            AND NOT EXISTS (SELECT FROM email_attempts a WHERE a.send_id = s.id))
               AS "untried!""#,
        id as SendId
    )
    .fetch_one(conn)
    .await
}

/// The mails of a template that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailsWaiting {
    pub template_key: String,
    pub send: i64,
    /// Past their last useful moment.
    pub skip: i64,
    /// Their last attempt has no answer yet.
    pub in_doubt: i64,
}

/// The mails that wait, by template. Those without a last useful moment of their own have one so long after
/// they were decided: transactional ones, and others.
pub async fn mails_waiting(
    conn: &mut Conn,
    now: DateTime<Utc>,
    (transactional, other): (TimeDelta, TimeDelta),
) -> Result<Vec<MailsWaiting>> {
    sqlx::query_as!(
        MailsWaiting,
        r#"WITH waiting AS (
               SELECT template_key, in_doubt,
                      coalesce(not_after > $1,
                               created_at > CASE WHEN transactional THEN $2::timestamptz ELSE $3 END) AS useful
               FROM email_sends
               WHERE next_attempt_at IS NOT NULL OR paused IS NOT NULL
                  OR batch_id IN (SELECT id FROM email_batches WHERE next_attempt_at IS NOT NULL))
           SELECT template_key,
                  count(*) FILTER (WHERE useful AND NOT in_doubt) AS "send!",
                  count(*) FILTER (WHERE NOT useful AND NOT in_doubt) AS "skip!",
                  count(*) FILTER (WHERE in_doubt) AS "in_doubt!"
           FROM waiting GROUP BY 1 ORDER BY 1"#,
        now,
        now - transactional,
        now - other
    )
    .fetch_all(conn)
    .await
}

/// Open runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunsWaiting {
    pub open: i64,
    pub due: i64,
}

/// How many runs are open, and how many of them are due.
pub async fn runs_waiting(conn: &mut Conn, now: DateTime<Utc>) -> Result<RunsWaiting> {
    sqlx::query_as!(
        RunsWaiting,
        r#"SELECT (SELECT count(*) FROM journey_states
                   WHERE status IN ('active', 'waiting')) AS "open!",
                  (SELECT count(*) FROM journey_states
                   WHERE wake_at <= $1 OR paused IS NOT NULL) AS "due!""#,
        now
    )
    .fetch_one(conn)
    .await
}
