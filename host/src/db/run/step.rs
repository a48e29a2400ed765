//! The journal of a run, one row per step.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Command, Step, StepError, StepState};
use serde_json::Value;
use sqlx::types::Json;

use crate::db::transact::{rouse, stir, takes};
use crate::db::{Conn, Level, Result, Topic};
use crate::ids::StateId;

/// A step as the host stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRow {
    pub step: Step,
    pub args: Value,
    pub issued_at: DateTime<Utc>,
    /// For a wait: when it ends; after a failed attempt: when the worker retries the step.
    pub due_at: Option<DateTime<Utc>>,
    /// Attempts of a step that calls another system.
    pub attempts: i32,
}

impl StepRow {
    /// The row of a command just accepted.
    pub fn issued(command: Command, now: DateTime<Utc>) -> Self {
        Self {
            step: Step::issued(&command),
            args: command.args,
            issued_at: now,
            due_at: None,
            attempts: 0,
        }
    }

    pub fn is_open(&self) -> bool {
        self.step.state == StepState::Open
    }
}

type Outcome = std::result::Result<Value, StepError>;

/// The whole journal, by step number.
pub async fn steps_of(conn: &mut Conn, state: StateId) -> Result<Vec<StepRow>> {
    let mut journals = steps_of_runs(conn, &[state]).await?;
    Ok(journals.remove(&state).unwrap_or_default())
}

/// The whole journals of these runs, by step number. A run without a step is absent.
pub async fn steps_of_runs(
    conn: &mut Conn,
    states: &[StateId],
) -> Result<HashMap<StateId, Vec<StepRow>>> {
    let rows = sqlx::query!(
        r#"SELECT state_id AS "run: StateId", seq, after_count, kind, label, print, args, state, issued_at, due_at,
                  attempts, done_pos, done_at, result AS "result: Json<Outcome>"
           FROM journey_steps WHERE state_id = ANY($1) ORDER BY state_id, seq"#,
        states as &[StateId]
    )
    .fetch_all(conn)
    .await?;
    let mut journals: HashMap<StateId, Vec<StepRow>> = HashMap::new();
    for row in rows {
        let done = row.done_pos.zip(row.done_at).zip(row.result);
        let step_state = match (row.state.as_str(), done) {
            ("noted", _) => StepState::Noted,
            ("cancelled", _) => StepState::Cancelled,
            ("done", Some(((pos, at), result))) => StepState::done(pos as u32, at, result.0),
            _ => StepState::Open,
        };
        let (seq, after) = (row.seq as u32, row.after_count as u32);
        let step = StepRow {
            step: Step::new(seq, after, row.kind, row.label, row.print, step_state),
            args: row.args,
            issued_at: row.issued_at,
            due_at: row.due_at,
            attempts: row.attempts,
        };
        journals.entry(row.run).or_default().push(step);
    }
    Ok(journals)
}

/// Inserts new steps of runs and updates existing ones.
pub async fn steps_upsert(conn: &mut Conn, steps: &[(StateId, &StepRow)]) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let runs: Vec<StateId> = steps.iter().map(|(run, _)| *run).collect();
    let steps: Vec<&StepRow> = steps.iter().map(|(_, row)| *row).collect();
    let seqs: Vec<i32> = steps.iter().map(|row| row.step.seq as i32).collect();
    let afters: Vec<i32> = steps.iter().map(|row| row.step.after as i32).collect();
    let kinds: Vec<String> = steps.iter().map(|row| row.step.kind.clone()).collect();
    let labels: Vec<Option<String>> = steps.iter().map(|row| row.step.label.clone()).collect();
    let prints: Vec<String> = steps.iter().map(|row| row.step.print.clone()).collect();
    let args: Vec<Value> = steps.iter().map(|row| row.args.clone()).collect();
    let issued: Vec<DateTime<Utc>> = steps.iter().map(|row| row.issued_at).collect();
    let due: Vec<Option<DateTime<Utc>>> = steps.iter().map(|row| row.due_at).collect();
    let attempts: Vec<i32> = steps.iter().map(|row| row.attempts).collect();
    let mut states = Vec::with_capacity(steps.len());
    let mut positions = Vec::with_capacity(steps.len());
    let mut done_ats = Vec::with_capacity(steps.len());
    let mut results = Vec::with_capacity(steps.len());
    for row in &steps {
        let (name, pos, at, result) = match &row.step.state {
            StepState::Noted => ("noted", None, None, None),
            StepState::Cancelled => ("cancelled", None, None, None),
            StepState::Done {
                pos, at, result, ..
            } => ("done", Some(*pos as i32), Some(*at), Some(Json(result))),
            _ => ("open", None, None, None),
        };
        states.push(name.to_owned());
        positions.push(pos);
        done_ats.push(at);
        results.push(result);
    }
    sqlx::query!(
        "INSERT INTO journey_steps (state_id, seq, after_count, kind, label, print, args, issued_at,
             due_at, state, done_pos, done_at, result, attempts)
         SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::text[], $6::text[],
             $7::jsonb[], $8::timestamptz[], $9::timestamptz[], $10::text[], $11::int[],
             $12::timestamptz[], $13::jsonb[], $14::int[])
         ON CONFLICT (state_id, seq) DO UPDATE SET state = excluded.state,
             due_at = excluded.due_at, attempts = excluded.attempts,
             done_pos = excluded.done_pos, done_at = excluded.done_at, result = excluded.result",
        &runs as &[StateId],
        &seqs,
        &afters,
        &kinds,
        &labels as &[Option<String>],
        &prints,
        &args,
        &issued,
        &due as &[Option<DateTime<Utc>>],
        &states,
        &positions as &[Option<i32>],
        &done_ats as &[Option<DateTime<Utc>>],
        &results as &[Option<Json<&Outcome>>],
        &attempts
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The end of a step, decided outside an advance.
#[derive(Clone, Debug)]
pub struct StepEnd {
    pub state: StateId,
    pub seq: i32,
    pub result: Outcome,
}

/// Ends open steps from outside an advance, in order, and makes their runs due. Skips steps that
/// are no longer open or whose run is over. The caller holds the contacts' locks. Returns how many
/// steps ended.
pub async fn steps_complete(conn: &mut Conn, ends: &[StepEnd], now: DateTime<Utc>) -> Result<u64> {
    if ends.is_empty() {
        return Ok(0);
    }
    takes(Level::Runs);
    let states: Vec<StateId> = ends.iter().map(|end| end.state).collect();
    let seqs: Vec<i32> = ends.iter().map(|end| end.seq).collect();
    let results: Vec<Json<&Outcome>> = ends.iter().map(|end| Json(&end.result)).collect();
    let done = sqlx::query_scalar!(
        r#"WITH open AS (
             SELECT DISTINCT ON (e.state_id, e.seq) e.*
             FROM unnest($1::uuid[], $2::int[], $3::jsonb[]) WITH ORDINALITY
                  AS e (state_id, seq, result, place)
             JOIN journey_steps t ON t.state_id = e.state_id AND t.seq = e.seq
             WHERE t.state = 'open' ORDER BY e.state_id, e.seq, e.place),
         ended AS (
             SELECT *, row_number() OVER (PARTITION BY state_id ORDER BY place) AS nth FROM open),
         counts AS (SELECT state_id, count(*)::int AS steps FROM open GROUP BY state_id),
         run AS (
             UPDATE journey_states s SET completions = completions + c.steps,
                 revision = revision + 1, wake_at = $4, updated_at = $4
             FROM counts c WHERE s.id = c.state_id AND s.status IN ('active', 'waiting')
             RETURNING s.id, s.completions - c.steps AS before)
         UPDATE journey_steps t SET state = 'done', done_pos = run.before + e.nth, done_at = $4,
             result = e.result
         FROM ended e JOIN run ON run.id = e.state_id
         WHERE t.state_id = e.state_id AND t.seq = e.seq AND t.state = 'open'
         RETURNING t.state_id AS "run: StateId""#,
        &states as &[StateId],
        &seqs,
        &results as &[Json<&Outcome>],
        now
    )
    .fetch_all(conn)
    .await?;
    if !done.is_empty() {
        stir(Topic::Runs);
    }
    let ended = done.len() as u64;
    rouse(done.into_iter().map(|run| (run, Some(now))));
    Ok(ended)
}
