//! Claims of runs by workers, which are leases.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::User;
use hogsend_plugin_api::{Properties, Trust};
use sqlx::types::Json;
use uuid::Uuid;

use super::plugin_call::calls_died;
use super::step::StepRow;
use crate::db::transact::{rouse, stir, takes};
use crate::db::{Conn, Deaths, Level, Result, Topic};
use crate::ids::{Claim, ContactId, StateId};
use crate::states::RunState;

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
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    /// Its journal, where that was read after the claim.
    pub steps: Option<Arc<Vec<StepRow>>>,
}

/// A row as a claim returns it.
struct ClaimedRow {
    id: StateId,
    journey_id: String,
    contact_id: ContactId,
    plugin_id: String,
    plugin_version: String,
    pinned: bool,
    status: RunState,
    current_node_id: String,
    trigger_event: String,
    context: Json<Properties>,
    person: Json<User>,
    depth: i16,
    trusted: bool,
    claim: Claim,
    revision: i64,
    completions: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    traceparent: Option<String>,
}

impl ClaimedRow {
    fn with(self, deaths: Option<Deaths>) -> ClaimedState {
        ClaimedState {
            id: self.id,
            journey_id: self.journey_id,
            contact_id: self.contact_id,
            plugin_id: self.plugin_id,
            plugin_version: self.plugin_version,
            pinned: self.pinned,
            status: self.status,
            current_node_id: self.current_node_id,
            trigger_event: self.trigger_event,
            context: self.context.0,
            person: self.person.0,
            depth: self.depth,
            trust: self.trusted.into(),
            claim: self.claim,
            revision: self.revision,
            completions: self.completions,
            created_at: self.created_at,
            updated_at: self.updated_at,
            deaths: deaths.unwrap_or_default(),
            traceparent: self.traceparent,
            steps: None,
        }
    }
}

/// The statement that claims the runs which the query `due` finds.
macro_rules! claim {
    ($due:tt, $now:expr, $lease_until:expr, $last:expr) => {
        sqlx::query_as!(
            ClaimedRow,
            "WITH due AS ("
                + $due
                + r#")
           UPDATE journey_states s SET claim = $2, wake_at = $3, paused = NULL
           FROM due WHERE s.id = due.id
           RETURNING s.id AS "id: StateId", s.journey_id, s.contact_id AS "contact_id: ContactId",
               s.plugin_id, s.plugin_version, s.pinned,
               s.status AS "status: RunState", s.current_node_id, s.trigger_event,
               s.context AS "context: Json<Properties>",
               s.person AS "person: Json<User>", s.depth, s.trusted, s.claim AS "claim!: Claim",
               s.revision, s.completions, s.created_at, s.updated_at, s.traceparent"#,
            $now,
            Claim::new($now) as Claim,
            $lease_until,
            $last
        )
    };
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
    let rows = claim!(
        "SELECT id FROM journey_states WHERE wake_at <= $1
         ORDER BY wake_at LIMIT $4 FOR UPDATE SKIP LOCKED",
        now,
        lease_until,
        limit
    );
    let rows = rows.fetch_all(&mut *conn).await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id.into()).collect();
    let mut deaths = calls_died(conn, &ids).await?;
    let states = rows.into_iter().map(|row| {
        let deaths = deaths.remove(&row.id.into());
        row.with(deaths)
    });
    Ok(states.collect())
}

/// Result of claiming one run.
#[derive(Clone, Debug)]
pub enum ClaimedOne {
    Claimed(Box<ClaimedState>),
    /// It waits: until a time, or for an event or the end of a pause.
    NotDue {
        wake_at: Option<DateTime<Utc>>,
    },
    /// A worker has it. Where that worker died, the run is due at `until`.
    Busy {
        until: DateTime<Utc>,
    },
    /// It ended, nobody resumes it but an administrator, or there is no such run.
    Over,
}

/// Claims a run until `lease_until` if it is due.
///
/// Two workers racing: the second waits for the first, then finds the run no longer due. The rest is as with
/// [`state_claim`].
pub async fn state_claim_one(
    conn: &mut Conn,
    run: StateId,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
) -> Result<ClaimedOne> {
    let row = claim!(
        "SELECT id FROM journey_states WHERE id = $4 AND wake_at <= $1 FOR UPDATE",
        now,
        lease_until,
        run as StateId
    );
    if let Some(row) = row.fetch_optional(&mut *conn).await? {
        let deaths = calls_died(conn, &[run.into()]).await?.remove(&run.into());
        return Ok(ClaimedOne::Claimed(Box::new(row.with(deaths))));
    }
    let row = sqlx::query!(
        r#"SELECT wake_at, claim IS NOT NULL AS "claimed!" FROM journey_states
           WHERE id = $1 AND status IN ('active', 'waiting')"#,
        run as StateId
    );
    let row = row.fetch_optional(conn).await?;
    Ok(row.map_or(ClaimedOne::Over, |row| match row.wake_at {
        Some(until) if row.claimed => ClaimedOne::Busy { until },
        wake_at => ClaimedOne::NotDue { wake_at },
    }))
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

/// The runs whose claims still hold and that did not change meanwhile; locks their rows.
pub async fn states_fence(conn: &mut Conn, states: &[&ClaimedState]) -> Result<HashSet<StateId>> {
    takes(Level::Runs);
    let ids: Vec<StateId> = states.iter().map(|state| state.id).collect();
    let claims: Vec<Claim> = states.iter().map(|state| state.claim).collect();
    let revisions: Vec<_> = states.iter().map(|state| state.revision).collect();
    let fenced = sqlx::query_scalar!(
        r#"SELECT s.id AS "id: StateId" FROM journey_states s
           JOIN unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS h (id, claim, revision)
             ON s.id = h.id AND s.claim = h.claim AND s.revision = h.revision
           WHERE s.status IN ('active', 'waiting')
           ORDER BY s.id FOR UPDATE OF s"#,
        &ids as &[StateId],
        &claims as &[Claim],
        &revisions
    )
    .fetch_all(conn)
    .await?;
    Ok(fenced.into_iter().collect())
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
    // In the order in which advances lock them.
    sqlx::query!(
        "WITH held AS (
             SELECT s.id FROM journey_states s
             JOIN unnest($1::uuid[], $2::uuid[]) AS h (id, claim) ON s.id = h.id AND s.claim = h.claim
             WHERE s.wake_at < $3 ORDER BY s.id FOR UPDATE OF s)
         UPDATE journey_states s SET wake_at = $3 FROM held WHERE s.id = held.id",
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
) -> Result<usize> {
    let done = sqlx::query_scalar!(
        r#"UPDATE journey_states SET wake_at = $2
           WHERE id IN (SELECT id FROM journey_states
                        WHERE claim IS NOT NULL AND wake_at > $1 FOR UPDATE SKIP LOCKED)
           RETURNING id AS "id: StateId""#,
        longest_lease,
        now
    )
    .fetch_all(conn)
    .await?;
    if !done.is_empty() {
        stir(Topic::Runs);
    }
    rouse(done.iter().map(|run| (*run, Some(now))));
    Ok(done.len())
}

/// Releases claims that still hold; the runs are due at once.
pub async fn states_give_back(
    conn: &mut Conn,
    claims: &[(StateId, Claim)],
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<StateId> = claims.iter().map(|one| one.0).collect();
    let claims: Vec<Claim> = claims.iter().map(|one| one.1).collect();
    let given = sqlx::query_scalar!(
        r#"UPDATE journey_states s SET claim = NULL, wake_at = $3
           FROM unnest($1::uuid[], $2::uuid[]) AS h (id, claim)
           WHERE s.id = h.id AND s.claim = h.claim
           RETURNING s.id AS "id: StateId""#,
        &ids as &[StateId],
        &claims as &[Claim],
        now
    )
    .fetch_all(conn)
    .await?;
    rouse(given.into_iter().map(|run| (run, Some(now))));
    Ok(())
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
