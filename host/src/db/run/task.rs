//! Which task of an engine outside the database continues which run (`run_tasks`).

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};
use crate::ids::{ContactId, StateId};

/// An open run for which a task is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskWanted {
    pub run: StateId,
    pub journey_id: String,
    pub contact_id: ContactId,
}

/// A task and its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTask {
    pub run: StateId,
    pub task: String,
}

/// The tasks of these runs, of those that have one.
pub async fn run_tasks(conn: &mut Conn, runs: &[StateId]) -> Result<HashMap<StateId, String>> {
    let rows = sqlx::query!(
        r#"SELECT run_id AS "run: StateId", task_id AS "task!" FROM run_tasks
           WHERE run_id = ANY($1) AND task_id IS NOT NULL"#,
        runs as &[StateId]
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.run, row.task)).collect())
}

/// Notes that tasks are being made for the open runs among these that have none, and returns these. One that is
/// being made since before `given_up` counts as none.
///
/// Two workers racing: the second waits for the row of the first, and finds it.
pub async fn run_tasks_begin(
    conn: &mut Conn,
    runs: &[StateId],
    now: DateTime<Utc>,
    given_up: DateTime<Utc>,
) -> Result<Vec<TaskWanted>> {
    sqlx::query_as!(
        TaskWanted,
        r#"WITH begun AS (
               INSERT INTO run_tasks AS t (run_id, asked_at, checked_at)
               SELECT id, $2, $2 FROM journey_states
               WHERE id = ANY($1) AND status IN ('active', 'waiting') ORDER BY id
               ON CONFLICT (run_id) DO UPDATE SET asked_at = excluded.asked_at
                   WHERE t.task_id IS NULL AND t.asked_at < $3
               RETURNING run_id)
           SELECT s.id AS "run: StateId", s.journey_id, s.contact_id AS "contact_id: ContactId"
           FROM begun JOIN journey_states s ON s.id = begun.run_id"#,
        runs as &[StateId],
        now,
        given_up
    )
    .fetch_all(conn)
    .await
}

/// Stores the tasks that were made, unless they have begun and said so themselves.
pub async fn run_tasks_made(conn: &mut Conn, tasks: &[RunTask]) -> Result<()> {
    let runs: Vec<StateId> = tasks.iter().map(|one| one.run).collect();
    let ids: Vec<String> = tasks.iter().map(|one| one.task.clone()).collect();
    sqlx::query!(
        "UPDATE run_tasks t SET task_id = n.task FROM unnest($1::uuid[], $2::text[]) AS n (run, task)
         WHERE t.run_id = n.run AND t.task_id IS NULL",
        &runs as &[StateId],
        &ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets tasks that were not made.
pub async fn run_tasks_not_made(conn: &mut Conn, runs: &[StateId]) -> Result<()> {
    sqlx::query!(
        "DELETE FROM run_tasks WHERE run_id = ANY($1) AND task_id IS NULL",
        runs as &[StateId]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A task begins or goes on: it is that of the run from now on. False where another one is.
pub async fn run_task_adopt(
    conn: &mut Conn,
    run: StateId,
    task: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query!(
        "INSERT INTO run_tasks AS t (run_id, task_id, asked_at, checked_at) VALUES ($1, $2, $3, $3)
         ON CONFLICT (run_id) DO UPDATE SET task_id = excluded.task_id, checked_at = excluded.checked_at
             WHERE t.task_id IS NULL OR t.task_id = excluded.task_id",
        run as StateId,
        task,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets tasks. Returns how many were still those of their runs.
pub async fn run_tasks_forget(conn: &mut Conn, tasks: &[RunTask]) -> Result<u64> {
    let runs: Vec<StateId> = tasks.iter().map(|one| one.run).collect();
    let ids: Vec<String> = tasks.iter().map(|one| one.task.clone()).collect();
    let gone = sqlx::query!(
        "DELETE FROM run_tasks t USING unnest($1::uuid[], $2::text[]) AS n (run, task)
         WHERE t.run_id = n.run AND t.task_id = n.task",
        &runs as &[StateId],
        &ids
    )
    .execute(conn)
    .await?;
    Ok(gone.rows_affected())
}

/// The engine was asked to wake the tasks of these runs.
pub async fn run_tasks_asked(conn: &mut Conn, runs: &[StateId], now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "UPDATE run_tasks SET asked_at = $2 WHERE run_id = ANY($1)",
        runs as &[StateId],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A run that is due and that no engine advances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    pub run: StateId,
    /// Since when.
    pub due: DateTime<Utc>,
    /// Its task, where that was asked to look since the run is due, and did not.
    pub deaf: Option<String>,
}

/// Runs that are due and have no task, and those that were due before `late` and whose task was not asked since
/// `asked`; those due longest first.
pub async fn runs_overdue(
    conn: &mut Conn,
    now: DateTime<Utc>,
    late: DateTime<Utc>,
    asked: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Overdue>> {
    sqlx::query_as!(
        Overdue,
        r#"SELECT s.id AS "run: StateId", s.wake_at AS "due!",
               CASE WHEN t.asked_at >= s.wake_at THEN t.task_id END AS deaf
           FROM journey_states s LEFT JOIN run_tasks t ON t.run_id = s.id
           WHERE s.wake_at <= $1 AND (t.run_id IS NULL OR (s.wake_at <= $2 AND t.asked_at <= $3))
           ORDER BY s.wake_at LIMIT $4"#,
        now,
        late,
        asked,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Open runs without a task, oldest first, from after this one.
pub async fn runs_without_task(
    conn: &mut Conn,
    after: StateId,
    limit: i64,
) -> Result<Vec<StateId>> {
    sqlx::query_scalar!(
        r#"SELECT s.id AS "id: StateId" FROM journey_states s
           WHERE s.id > $1 AND s.status IN ('active', 'waiting')
             AND NOT EXISTS (SELECT FROM run_tasks t WHERE t.run_id = s.id)
           ORDER BY s.id LIMIT $2"#,
        after as StateId,
        limit
    )
    .fetch_all(conn)
    .await
}

/// A task that is to be compared with its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskCheck {
    pub run: StateId,
    /// None where it is being made.
    pub task: Option<String>,
    /// Whether the run is open.
    pub open: bool,
}

/// Takes tasks that were not checked since `before`, those checked longest ago first.
///
/// Two workers racing: each skips the rows that the other has locked, and after the commit they are checked.
pub async fn run_tasks_check(
    conn: &mut Conn,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<TaskCheck>> {
    sqlx::query_as!(
        TaskCheck,
        r#"UPDATE run_tasks t SET checked_at = $2
           FROM (SELECT run_id FROM run_tasks WHERE checked_at < $1
                 ORDER BY checked_at LIMIT $3 FOR UPDATE SKIP LOCKED) old
           WHERE t.run_id = old.run_id
           RETURNING t.run_id AS "run: StateId", t.task_id AS task,
               EXISTS (SELECT FROM journey_states s
                       WHERE s.id = t.run_id AND s.status IN ('active', 'waiting')) AS "open!""#,
        before,
        now,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Every task, at most `limit`.
pub async fn run_tasks_all(conn: &mut Conn, limit: i64) -> Result<Vec<RunTask>> {
    sqlx::query_as!(
        RunTask,
        r#"SELECT run_id AS "run: StateId", task_id AS "task!" FROM run_tasks
           WHERE task_id IS NOT NULL LIMIT $1"#,
        limit
    )
    .fetch_all(conn)
    .await
}

/// How many runs have a task.
pub async fn run_tasks_count(conn: &mut Conn) -> Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM run_tasks"#)
        .fetch_one(conn)
        .await
}

/// How many open runs have no task.
pub async fn runs_without_task_count(conn: &mut Conn) -> Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM journey_states s
           WHERE s.status IN ('active', 'waiting')
             AND NOT EXISTS (SELECT FROM run_tasks t WHERE t.run_id = s.id)"#
    )
    .fetch_one(conn)
    .await
}
