//! What is written down about runs: their transitions, and enrolments that were refused.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::db::{Conn, Result};
use crate::ids::{self, ContactId, EventId, StateId};
use crate::states::RunState;

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
