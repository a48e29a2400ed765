//! Runs of journeys (`journey_states`), their transitions, and refused enrolments.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::User;
use hogsend_plugin_api::{Properties, Trust};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::plugin_call::calls_died;
use crate::db::transact::{stir, takes};
use crate::db::{Conn, Deaths, Level, Result, Topic};
use crate::ids::{self, Claim, ContactId, EventId, StateId};
use crate::states::RunState;

/// A new run.
#[derive(Clone, Debug)]
pub struct NewState {
    pub id: StateId,
    pub journey_id: String,
    pub contact_id: ContactId,
    pub plugin_id: String,
    pub plugin_version: String,
    pub trigger_event: String,
    pub context: Properties,
    pub person: User,
    pub depth: i16,
    /// Whether the event that begins it is trusted.
    pub trust: Trust,
}

/// An open run: active or waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenState {
    pub id: StateId,
    pub journey_id: String,
    pub contact_id: ContactId,
    pub status: RunState,
    pub depth: i16,
}

/// A run claimed by a worker.
#[derive(Clone, Debug)]
pub struct ClaimedState {
    pub id: StateId,
    pub journey_id: String,
    pub contact_id: ContactId,
    pub plugin_id: String,
    /// The version the run began with.
    pub plugin_version: String,
    /// It stays with that version, even if its journey's code differs now.
    pub pinned: bool,
    pub status: RunState,
    pub current_node_id: String,
    pub trigger_event: String,
    pub context: Properties,
    pub person: User,
    pub depth: i16,
    /// Whether the event that began it is trusted.
    pub trust: Trust,
    pub claim: Claim,
    pub revision: i64,
    pub completions: i32,
    pub created_at: DateTime<Utc>,
    /// When it last made progress.
    pub updated_at: DateTime<Utc>,
    /// How often a worker died in a plugin call for this run.
    pub deaths: Deaths,
}

/// When a contact last entered a journey.
#[derive(Clone, Debug)]
pub struct LastEntry {
    pub journey_id: String,
    pub contact_id: ContactId,
    pub at: DateTime<Utc>,
}

/// State of a run after an advance.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    pub status: RunState,
    pub node: &'a str,
    pub wake_at: Option<DateTime<Utc>>,
    pub completions: i32,
    pub error: Option<&'a str>,
    /// Why the run is stuck.
    pub stuck_reason: Option<&'a str>,
}

/// A transition of a run.
#[derive(Clone, Debug)]
pub struct Log {
    pub state_id: StateId,
    pub from: Option<RunState>,
    pub to: RunState,
    pub action: &'static str,
    pub detail: Value,
}

/// An enrolment that a guard refused.
#[derive(Clone, Debug)]
pub struct NewSkip {
    pub journey_id: String,
    pub contact_id: ContactId,
    pub event_id: EventId,
    pub reason: &'static str,
}

/// Inserts runs, due at once. Returns those inserted: none where the contact has an open run of the
/// journey.
pub async fn state_insert(
    conn: &mut Conn,
    states: &[NewState],
    now: DateTime<Utc>,
) -> Result<HashSet<StateId>> {
    takes(Level::Runs);
    let ids: Vec<StateId> = states.iter().map(|s| s.id).collect();
    let journeys: Vec<String> = states.iter().map(|s| s.journey_id.clone()).collect();
    let contacts: Vec<ContactId> = states.iter().map(|s| s.contact_id).collect();
    let plugins: Vec<String> = states.iter().map(|s| s.plugin_id.clone()).collect();
    let versions: Vec<String> = states.iter().map(|s| s.plugin_version.clone()).collect();
    let events: Vec<String> = states.iter().map(|s| s.trigger_event.clone()).collect();
    let contexts: Vec<Json<&Properties>> = states.iter().map(|s| Json(&s.context)).collect();
    let people: Vec<Json<&User>> = states.iter().map(|s| Json(&s.person)).collect();
    let depths: Vec<i16> = states.iter().map(|s| s.depth).collect();
    let trusted: Vec<bool> = states.iter().map(|s| s.trust.is_trusted()).collect();
    let made = sqlx::query_scalar!(
        "INSERT INTO journey_states (id, journey_id, contact_id, plugin_id, plugin_version, status,
             current_node_id, trigger_event, context, person, depth, trusted, wake_at, created_at,
             updated_at)
         SELECT id, journey, contact, plugin, version, 'active', 'start', event, context, person,
                depth, trusted, $10, $10, $10
         FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[],
                     $7::jsonb[], $8::jsonb[], $9::smallint[], $11::boolean[])
              AS new (id, journey, contact, plugin, version, event, context, person, depth,
                      trusted)
         ON CONFLICT (journey_id, contact_id) WHERE status IN ('active', 'waiting') DO NOTHING
         RETURNING id",
        &ids as &[StateId],
        &journeys,
        &contacts as &[ContactId],
        &plugins,
        &versions,
        &events,
        &contexts as &[Json<&Properties>],
        &people as &[Json<&User>],
        &depths,
        now,
        &trusted
    )
    .fetch_all(conn)
    .await?;
    if !made.is_empty() {
        stir(Topic::Runs);
    }
    Ok(made.into_iter().map(StateId).collect())
}

/// The open runs of these contacts, oldest first.
pub async fn states_open(conn: &mut Conn, contacts: &[ContactId]) -> Result<Vec<OpenState>> {
    let rows = sqlx::query!(
        r#"SELECT id, journey_id, contact_id, status AS "status: RunState", depth
           FROM journey_states
           WHERE contact_id = ANY($1) AND status IN ('active', 'waiting') ORDER BY id"#,
        contacts as &[ContactId]
    )
    .fetch_all(conn)
    .await?;
    let states = rows.into_iter().map(|row| OpenState {
        id: row.id.into(),
        journey_id: row.journey_id,
        contact_id: row.contact_id.into(),
        status: row.status,
        depth: row.depth,
    });
    Ok(states.collect())
}

/// When these contacts last entered these journeys. A run all of whose mails were skipped for lack
/// of an address does not count.
pub async fn state_last_entries(
    conn: &mut Conn,
    journeys: &[String],
    contacts: &[ContactId],
) -> Result<Vec<LastEntry>> {
    let rows = sqlx::query!(
        r#"SELECT journey_id, contact_id, max(created_at) AS "at!" FROM journey_states s
           WHERE contact_id = ANY($2) AND journey_id = ANY($1)
             AND NOT (EXISTS (SELECT FROM email_sends e WHERE e.journey_state_id = s.id
                              AND e.status = 'skipped' AND e.reason = 'no_address')
                      AND NOT EXISTS (SELECT FROM email_sends e WHERE e.journey_state_id = s.id
                              AND (e.status <> 'skipped' OR e.reason <> 'no_address')))
           GROUP BY journey_id, contact_id"#,
        journeys,
        contacts as &[ContactId]
    )
    .fetch_all(conn)
    .await?;
    let entries = rows.into_iter().map(|row| LastEntry {
        journey_id: row.journey_id,
        contact_id: row.contact_id.into(),
        at: row.at,
    });
    Ok(entries.collect())
}

/// A run that reached nobody: all of its mails were skipped for lack of an address.
#[derive(Clone, Debug)]
pub struct Unreached {
    pub state: OpenState,
    pub trigger_event: String,
    pub context: Properties,
    /// Whether the event that began it is trusted.
    pub trust: Trust,
    pub created_at: DateTime<Utc>,
}

/// The newest run of each journey of these contacts, begun at `since` or later, where all of its
/// mails were skipped for lack of an address.
pub async fn states_unreached(
    conn: &mut Conn,
    contacts: &[ContactId],
    since: DateTime<Utc>,
) -> Result<Vec<Unreached>> {
    let rows = sqlx::query!(
        r#"SELECT DISTINCT ON (contact_id, journey_id) id AS "id: StateId", journey_id,
                  contact_id AS "contact_id: ContactId", status AS "status: RunState", depth,
                  trigger_event, context AS "context: Json<Properties>", trusted, created_at
           FROM journey_states s
           WHERE contact_id = ANY($1) AND created_at >= $2 AND status NOT IN ('failed', 'stuck')
             AND EXISTS (SELECT FROM email_sends e WHERE e.journey_state_id = s.id
                         AND e.status = 'skipped' AND e.reason = 'no_address')
             AND NOT EXISTS (SELECT FROM email_sends e WHERE e.journey_state_id = s.id
                             AND (e.status <> 'skipped' OR e.reason <> 'no_address'))
           ORDER BY contact_id, journey_id, created_at DESC, id DESC"#,
        contacts as &[ContactId],
        since
    )
    .fetch_all(conn)
    .await?;
    let unreached = rows.into_iter().map(|row| Unreached {
        state: OpenState {
            id: row.id,
            journey_id: row.journey_id,
            contact_id: row.contact_id,
            status: row.status,
            depth: row.depth,
        },
        trigger_event: row.trigger_event,
        context: row.context.0,
        trust: row.trusted.into(),
        created_at: row.created_at,
    });
    Ok(unreached.collect())
}

/// Exits open runs because of an event. The caller holds the contacts' locks.
pub async fn state_exit(conn: &mut Conn, states: &[StateId], now: DateTime<Utc>) -> Result<()> {
    takes(Level::Runs);
    sqlx::query!(
        "UPDATE journey_states SET status = 'exited', exited_at = $2, updated_at = $2,
             wake_at = NULL, claim = NULL, revision = revision + 1
         WHERE id = ANY($1) AND status IN ('active', 'waiting')",
        states as &[StateId],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Claims due runs until `lease_until`, at most `limit`.
///
/// Two workers racing: each skips the rows the other has locked, and after the commit the rows are
/// no longer due. Where a worker dies, its runs are due again at the end of the lease; those it was
/// calling a plugin for are counted ([`calls_died`]).
pub async fn state_claim(
    conn: &mut Conn,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ClaimedState>> {
    let rows = sqlx::query!(
        r#"WITH due AS (
               SELECT id FROM journey_states WHERE wake_at <= $1
               ORDER BY wake_at LIMIT $4 FOR UPDATE SKIP LOCKED)
           UPDATE journey_states s SET claim = $2, wake_at = $3, paused = NULL
           FROM due WHERE s.id = due.id
           RETURNING s.id, s.journey_id, s.contact_id, s.plugin_id, s.plugin_version, s.pinned,
               s.status AS "status: RunState", s.current_node_id, s.trigger_event,
               s.context AS "context: Json<Properties>",
               s.person AS "person: Json<User>", s.depth, s.trusted, s.claim AS "claim!", s.revision,
               s.completions, s.created_at, s.updated_at"#,
        now,
        Claim::new(now) as Claim,
        lease_until,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let mut deaths = calls_died(conn, &ids).await?;
    let states = rows.into_iter().map(|row| ClaimedState {
        id: row.id.into(),
        journey_id: row.journey_id,
        contact_id: row.contact_id.into(),
        plugin_id: row.plugin_id,
        plugin_version: row.plugin_version,
        pinned: row.pinned,
        status: row.status,
        current_node_id: row.current_node_id,
        trigger_event: row.trigger_event,
        context: row.context.0,
        person: row.person.0,
        depth: row.depth,
        trust: row.trusted.into(),
        claim: row.claim.into(),
        revision: row.revision,
        completions: row.completions,
        created_at: row.created_at,
        updated_at: row.updated_at,
        deaths: deaths.remove(&row.id).unwrap_or_default(),
    });
    Ok(states.collect())
}

/// How often in a row the result of an advance could not be recorded, with the run locked; None
/// where the claim is lost.
pub async fn state_failures(conn: &mut Conn, state: &ClaimedState) -> Result<Option<i16>> {
    takes(Level::Runs);
    sqlx::query_scalar!(
        "SELECT failures FROM journey_states
         WHERE id = $1 AND claim = $2 AND status IN ('active', 'waiting') FOR UPDATE",
        state.id as StateId,
        state.claim as Claim
    )
    .fetch_optional(conn)
    .await
}

/// Stores that number, and releases a locked run's claim so that it is due at `wake_at`.
pub async fn state_failed(
    conn: &mut Conn,
    id: StateId,
    failures: i16,
    wake_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE journey_states SET claim = NULL, failures = $2, wake_at = $3
         WHERE id = $1",
        id as StateId,
        failures,
        wake_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many open runs these journeys have; journeys without any are absent.
pub async fn states_waiting(conn: &mut Conn, journeys: &[String]) -> Result<Vec<(String, i64)>> {
    sqlx::query!(
        r#"SELECT journey_id, count(*) AS "count!" FROM journey_states
           WHERE journey_id = ANY($1) AND status IN ('active', 'waiting')
           GROUP BY journey_id ORDER BY journey_id"#,
        journeys
    )
    .map(|row| (row.journey_id, row.count))
    .fetch_all(conn)
    .await
}

/// Whether the claim still holds and the run did not change meanwhile; locks the row.
pub async fn state_fence(conn: &mut Conn, state: &ClaimedState) -> Result<bool> {
    takes(Level::Runs);
    let row = sqlx::query_scalar!(
        "SELECT id FROM journey_states
         WHERE id = $1 AND claim = $2 AND revision = $3 AND status IN ('active', 'waiting')
         FOR UPDATE",
        state.id as StateId,
        state.claim as Claim,
        state.revision
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Releases a claim that still holds; the run is due at `wake_at`.
pub async fn state_release(
    conn: &mut Conn,
    state: &ClaimedState,
    wake_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE journey_states SET claim = NULL, wake_at = $3
         WHERE id = $1 AND claim = $2",
        state.id as StateId,
        state.claim as Claim,
        wake_at
    )
    .execute(conn)
    .await?;
    stir(Topic::Runs);
    Ok(())
}

/// Extends the leases of claims that still hold.
pub async fn states_renew(
    conn: &mut Conn,
    claims: &[(StateId, Claim)],
    lease_until: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<StateId> = claims.iter().map(|one| one.0).collect();
    let claims: Vec<Claim> = claims.iter().map(|one| one.1).collect();
    sqlx::query!(
        "UPDATE journey_states s SET wake_at = $3
         FROM unnest($1::uuid[], $2::uuid[]) AS h (id, claim)
         WHERE s.id = h.id AND s.claim = h.claim AND s.wake_at < $3",
        &ids as &[StateId],
        &claims as &[Claim],
        lease_until
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes runs due whose lease is longer than any worker takes: it comes from a clock ahead of this
/// one. Returns how many there were.
///
/// Two workers racing: each skips the rows the other has locked.
pub async fn states_after_clock_change(
    conn: &mut Conn,
    longest_lease: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64> {
    let done = sqlx::query!(
        "UPDATE journey_states SET wake_at = $2
         WHERE id IN (SELECT id FROM journey_states
                      WHERE claim IS NOT NULL AND wake_at > $1 FOR UPDATE SKIP LOCKED)",
        longest_lease,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Releases claims that still hold; the runs are due at once.
pub async fn states_give_back(
    conn: &mut Conn,
    claims: &[(StateId, Claim)],
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<StateId> = claims.iter().map(|one| one.0).collect();
    let claims: Vec<Claim> = claims.iter().map(|one| one.1).collect();
    sqlx::query!(
        "UPDATE journey_states s SET claim = NULL, wake_at = $3
         FROM unnest($1::uuid[], $2::uuid[]) AS h (id, claim)
         WHERE s.id = h.id AND s.claim = h.claim",
        &ids as &[StateId],
        &claims as &[Claim],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes the state of a fenced run. False where the same transaction ended the run: one of its own
/// events met an exit condition.
pub async fn state_progress(
    conn: &mut Conn,
    state: StateId,
    progress: &Progress<'_>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE journey_states SET status = $2, current_node_id = $3, wake_at = $4, claim = NULL,
             completions = $5, error_message = $6, updated_at = $7, stuck_reason = $8,
             failures = 0,
             completed_at = CASE WHEN $2 = 'completed' THEN $7 ELSE completed_at END,
             exited_at = CASE WHEN $2 = 'exited' THEN $7 ELSE exited_at END
         WHERE id = $1 AND status IN ('active', 'waiting')",
        state as StateId,
        progress.status.name(),
        progress.node,
        progress.wake_at,
        progress.completions,
        progress.error,
        now,
        progress.stuck_reason
    )
    .execute(conn)
    .await?;
    if progress.wake_at.is_some_and(|at| at <= now) {
        stir(Topic::Runs);
    }
    Ok(done.rows_affected() == 1)
}

/// Stores the person as the first advance saw them.
pub async fn state_person(conn: &mut Conn, state: StateId, person: &User) -> Result<()> {
    sqlx::query!(
        "UPDATE journey_states SET person = $2 WHERE id = $1 AND person <> $2",
        state as StateId,
        Json(person) as Json<&User>
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When the next run is due.
pub async fn state_next_due(conn: &mut Conn) -> Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT wake_at FROM journey_states WHERE wake_at IS NOT NULL ORDER BY wake_at LIMIT 1"
    )
    .fetch_optional(conn)
    .await
    .map(Option::flatten)
}

/// The journeys an administrator disabled.
pub async fn journeys_disabled(conn: &mut Conn) -> Result<HashSet<String>> {
    let ids = sqlx::query_scalar!("SELECT journey_id FROM journey_settings WHERE NOT enabled")
        .fetch_all(conn)
        .await?;
    Ok(ids.into_iter().collect())
}

pub async fn log_insert(conn: &mut Conn, logs: &[Log], now: DateTime<Utc>) -> Result<()> {
    for Log {
        from, to, action, ..
    } in logs
    {
        debug_assert!(
            from.is_none_or(|from| from.may_become(*to)),
            "a run that is {from:?} does not become {to:?}: {action}"
        );
    }
    let rows: Vec<uuid::Uuid> = logs.iter().map(|_| ids::at(now)).collect();
    let states: Vec<StateId> = logs.iter().map(|log| log.state_id).collect();
    let from = logs
        .iter()
        .map(|log| log.from.map(|from| from.name().to_owned()));
    let from: Vec<Option<String>> = from.collect();
    let to: Vec<String> = logs.iter().map(|log| log.to.name().to_owned()).collect();
    let actions: Vec<String> = logs.iter().map(|log| log.action.to_owned()).collect();
    let details: Vec<Value> = logs.iter().map(|log| log.detail.clone()).collect();
    sqlx::query!(
        "INSERT INTO journey_logs (id, state_id, from_status, to_status, action, detail, created_at)
         SELECT *, $7 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],
                                  $6::jsonb[])",
        &rows,
        &states as &[StateId],
        &from as &[Option<String>],
        &to,
        &actions,
        &details,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn skip_insert(conn: &mut Conn, skips: &[NewSkip], now: DateTime<Utc>) -> Result<()> {
    let rows: Vec<uuid::Uuid> = skips.iter().map(|_| ids::at(now)).collect();
    let journeys: Vec<String> = skips.iter().map(|skip| skip.journey_id.clone()).collect();
    let contacts: Vec<ContactId> = skips.iter().map(|skip| skip.contact_id).collect();
    let events: Vec<EventId> = skips.iter().map(|skip| skip.event_id).collect();
    let reasons: Vec<String> = skips.iter().map(|skip| skip.reason.to_owned()).collect();
    sqlx::query!(
        "INSERT INTO enrolment_skips (id, journey_id, contact_id, event_id, reason, created_at)
         SELECT *, $6 FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[])",
        &rows,
        &journeys,
        &contacts as &[ContactId],
        &events as &[EventId],
        &reasons,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
