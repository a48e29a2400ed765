//! The figures that frequency caps and minimum intervals are decided by.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use sqlx::types::Json;

use crate::db::{Conn, Result};
use crate::ids::{ContactId, StateId};
use crate::states::RunState;

/// The run behind a mail.
#[derive(Clone, Debug)]
pub struct SendOrigin {
    pub journey_id: String,
    /// Of the run.
    pub status: RunState,
    /// How many journeys stand between the run and an event from outside.
    pub depth: i16,
    /// The contact's properties when the run began, with those known to analytics.
    pub properties: Properties,
}

pub async fn send_origins(
    conn: &mut Conn,
    states: &[StateId],
) -> Result<HashMap<StateId, SendOrigin>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: StateId", journey_id, status AS "status: RunState", depth,
                  person -> 'properties' AS "properties: Json<Properties>"
           FROM journey_states WHERE id = ANY($1)"#,
        states as &[StateId]
    )
    .fetch_all(conn)
    .await?;
    let origins = rows.into_iter().map(|row| {
        let origin = SendOrigin {
            journey_id: row.journey_id,
            status: row.status,
            depth: row.depth,
            properties: row.properties.map(|Json(own)| own).unwrap_or_default(),
        };
        (row.id, origin)
    });
    Ok(origins.collect())
}

/// How many mails that count towards the cap were begun for each contact, at `since` or later.
pub async fn sends_begun_since(
    conn: &mut Conn,
    contacts: &[ContactId],
    since: DateTime<Utc>,
) -> Result<HashMap<ContactId, i64>> {
    let rows = sqlx::query!(
        r#"SELECT contact_id AS "contact: ContactId", count(*) AS "count!" FROM email_sends
           WHERE contact_id = ANY($1) AND first_attempt_at >= $2 AND NOT transactional
             AND status NOT IN ('failed', 'skipped')
           GROUP BY contact_id"#,
        contacts as &[ContactId],
        since
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.contact, row.count))
        .collect())
}

/// When the last mail of each of these journeys to each of these contacts was begun, of those begun
/// after `since`.
pub async fn journey_last_sends(
    conn: &mut Conn,
    contacts: &[ContactId],
    journeys: &[&str],
    since: DateTime<Utc>,
) -> Result<HashMap<(ContactId, String), DateTime<Utc>>> {
    let rows = sqlx::query!(
        r#"SELECT e.contact_id AS "contact: ContactId", s.journey_id,
                  max(e.first_attempt_at) AS "last!"
           FROM email_sends e JOIN journey_states s ON s.id = e.journey_state_id
           WHERE e.contact_id = ANY($1) AND e.first_attempt_at > $3
             AND e.status NOT IN ('failed', 'skipped') AND s.journey_id = ANY($2)
           GROUP BY e.contact_id, s.journey_id"#,
        contacts as &[ContactId],
        journeys as &[&str],
        since
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ((row.contact, row.journey_id), row.last))
        .collect())
}
