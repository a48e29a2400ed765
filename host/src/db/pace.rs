//! What the pace of mail is decided by.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use sqlx::types::Json;

use super::{Conn, Result};
use crate::ids::{ContactId, StateId};

/// The run behind a mail.
#[derive(Clone, Debug)]
pub struct SendOrigin {
    pub journey_id: String,
    pub status: String,
    /// The person's properties when the run began, with what analytics knew.
    pub properties: Properties,
}

pub async fn send_origin(conn: &mut Conn, state: StateId) -> Result<Option<SendOrigin>> {
    sqlx::query!(
        r#"SELECT journey_id, status, person -> 'properties' AS "properties: Json<Properties>"
           FROM journey_states WHERE id = $1"#,
        state as StateId
    )
    .map(|row| SendOrigin {
        journey_id: row.journey_id,
        status: row.status,
        properties: row.properties.map(|Json(own)| own).unwrap_or_default(),
    })
    .fetch_optional(conn)
    .await
}

/// How many mails that count towards the cap were begun, at `since` or later.
pub async fn sends_begun_since(
    conn: &mut Conn,
    contact: ContactId,
    since: DateTime<Utc>,
) -> Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM email_sends
           WHERE contact_id = $1 AND first_attempt_at >= $2 AND NOT transactional
             AND status NOT IN ('failed', 'skipped')"#,
        contact as ContactId,
        since
    )
    .fetch_one(conn)
    .await
}

/// When the last mail of a journey to the person was begun.
pub async fn journey_last_send(
    conn: &mut Conn,
    contact: ContactId,
    journey: &str,
) -> Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT max(e.first_attempt_at) FROM email_sends e
         JOIN journey_states s ON s.id = e.journey_state_id
         WHERE e.contact_id = $1 AND s.journey_id = $2
           AND e.status NOT IN ('failed', 'skipped')",
        contact as ContactId,
        journey
    )
    .fetch_one(conn)
    .await
}
