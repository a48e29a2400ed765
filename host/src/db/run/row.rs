//! Runs of journeys (`journey_states`).

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::User;
use hogsend_plugin_api::{Properties, Trust};
use sqlx::types::Json;

use crate::db::transact::{rouse, stir, takes};
use crate::db::{Conn, Level, Result, Topic};
use crate::ids::{ContactId, StateId};
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
    /// The trace that goes on with it.
    pub traceparent: Option<String>,
}

/// The nodes at which runs are.
pub async fn state_nodes(conn: &mut Conn, runs: &[StateId]) -> Result<HashMap<StateId, String>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: StateId", current_node_id FROM journey_states WHERE id = ANY($1)"#,
        runs as &[StateId]
    )
    .fetch_all(conn)
    .await?;
    let nodes = rows.into_iter().map(|row| (row.id, row.current_node_id));
    Ok(nodes.collect())
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

/// When a contact last entered a journey.
#[derive(Clone, Debug)]
pub struct LastEntry {
    pub journey_id: String,
    pub contact_id: ContactId,
    pub at: DateTime<Utc>,
}

/// State of a run after an advance.
#[derive(Clone, Debug)]
pub struct Progress {
    pub status: RunState,
    pub node: String,
    pub wake_at: Option<DateTime<Utc>>,
    pub completions: i32,
    pub error: Option<String>,
    /// Why the run is stuck.
    pub stuck_reason: Option<&'static str>,
    /// The trace that goes on with it, where that is another one than before.
    pub traceparent: Option<String>,
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
    let traces: Vec<Option<String>> = states.iter().map(|s| s.traceparent.clone()).collect();
    let made = sqlx::query_scalar!(
        "INSERT INTO journey_states (id, journey_id, contact_id, plugin_id, plugin_version, status,
             current_node_id, trigger_event, context, person, depth, trusted, wake_at, created_at,
             updated_at, traceparent)
         SELECT id, journey, contact, plugin, version, 'active', 'start', event, context, person,
                depth, trusted, $10, $10, $10, traceparent
         FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[],
                     $7::jsonb[], $8::jsonb[], $9::smallint[], $11::boolean[], $12::text[])
              AS new (id, journey, contact, plugin, version, event, context, person, depth,
                      trusted, traceparent)
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
        &trusted,
        &traces as &[Option<String>]
    )
    .fetch_all(conn)
    .await?;
    let made: HashSet<StateId> = made.into_iter().map(StateId).collect();
    if !made.is_empty() {
        stir(Topic::Runs);
        rouse(made.iter().map(|id| (*id, Some(now))));
    }
    Ok(made)
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
    rouse(states.iter().map(|id| (*id, None)));
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

/// Writes the states of fenced runs. Returns those that it wrote, which leaves out a run that the same transaction
/// ended: one of its own events met an exit condition.
pub async fn states_progress(
    conn: &mut Conn,
    progress: &[(StateId, Progress)],
    now: DateTime<Utc>,
) -> Result<HashSet<StateId>> {
    let ids: Vec<StateId> = progress.iter().map(|(id, _)| *id).collect();
    let progress = || progress.iter().map(|(_, progress)| progress);
    let statuses: Vec<String> = progress().map(|one| one.status.name().into()).collect();
    let nodes: Vec<String> = progress().map(|one| one.node.clone()).collect();
    let wakes: Vec<Option<DateTime<Utc>>> = progress().map(|one| one.wake_at).collect();
    let completions: Vec<i32> = progress().map(|one| one.completions).collect();
    let errors: Vec<Option<String>> = progress().map(|one| one.error.clone()).collect();
    let reasons: Vec<Option<String>> = progress()
        .map(|one| one.stuck_reason.map(str::to_owned))
        .collect();
    let traces: Vec<Option<String>> = progress().map(|one| one.traceparent.clone()).collect();
    let written = sqlx::query_scalar!(
        r#"UPDATE journey_states s SET status = n.status, current_node_id = n.node, wake_at = n.wake_at,
               claim = NULL, completions = n.completions, error_message = n.error, updated_at = $8,
               stuck_reason = n.reason, failures = 0,
               traceparent = coalesce(n.traceparent, s.traceparent),
               completed_at = CASE WHEN n.status = 'completed' THEN $8 ELSE completed_at END,
               exited_at = CASE WHEN n.status = 'exited' THEN $8 ELSE exited_at END
           FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::int[], $6::text[],
                       $7::text[], $9::text[])
                AS n (id, status, node, wake_at, completions, error, reason, traceparent)
           WHERE s.id = n.id AND s.status IN ('active', 'waiting')
           RETURNING s.id AS "id: StateId""#,
        &ids as &[StateId],
        &statuses,
        &nodes,
        &wakes as &[Option<DateTime<Utc>>],
        &completions,
        &errors as &[Option<String>],
        &reasons as &[Option<String>],
        now,
        &traces as &[Option<String>]
    )
    .fetch_all(conn)
    .await?;
    if wakes.iter().flatten().any(|at| *at <= now) {
        stir(Topic::Runs);
    }
    Ok(written.into_iter().collect())
}

/// Stores the people of runs as their first advance saw them.
pub async fn states_person(conn: &mut Conn, people: &[(StateId, &User)]) -> Result<()> {
    if people.is_empty() {
        return Ok(());
    }
    let ids: Vec<StateId> = people.iter().map(|(id, _)| *id).collect();
    let people: Vec<Json<&User>> = people.iter().map(|(_, person)| Json(*person)).collect();
    sqlx::query!(
        "UPDATE journey_states s SET person = n.person
         FROM unnest($1::uuid[], $2::jsonb[]) AS n (id, person)
         WHERE s.id = n.id AND s.person <> n.person",
        &ids as &[StateId],
        &people as &[Json<&User>]
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
