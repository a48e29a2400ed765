//! Runs that wait for an event: open `wait_for` steps.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use hogsend_plugin_api::journey::WaitForArgs;
use uuid::Uuid;

use crate::db::stored::Stored;
use crate::db::transact::takes_contacts;
use crate::db::{Conn, PastEvent, Result};
use crate::ids::{ContactId, EventId, StateId};

/// An open `wait_for` step.
#[derive(Clone, Debug)]
pub struct OpenWait {
    pub state_id: StateId,
    pub contact_id: ContactId,
    pub seq: i32,
    pub args: WaitForArgs,
    pub issued_at: DateTime<Utc>,
    pub due_at: Option<DateTime<Utc>>,
}

/// Marks the contact as one whose events a run may wait for. The caller holds the contact's lock;
/// [`event_insert_known`](crate::db::event_insert_known) reads the mark.
pub async fn contact_listen(conn: &mut Conn, contact: ContactId) -> Result<()> {
    takes_contacts(std::iter::once(contact));
    sqlx::query!(
        "UPDATE contacts SET listening = true WHERE id = $1 AND NOT listening",
        contact as ContactId
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Clears the mark of contacts no run waits for any longer. The caller holds the contacts' locks.
pub async fn contact_unlisten(conn: &mut Conn, contacts: &[ContactId]) -> Result<()> {
    takes_contacts(contacts.iter().copied());
    sqlx::query!(
        "UPDATE contacts SET listening = false WHERE id = ANY($1) AND listening",
        contacts as &[ContactId]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The waits of these contacts' open runs, oldest first. Steps with unreadable arguments are
/// skipped here; their run reports them.
pub async fn waits_open(conn: &mut Conn, contacts: &[ContactId]) -> Result<Vec<OpenWait>> {
    let rows = sqlx::query!(
        "SELECT t.state_id, s.contact_id, t.seq, t.args, t.issued_at, t.due_at
         FROM journey_states s JOIN journey_steps t ON t.state_id = s.id
         WHERE s.contact_id = ANY($1) AND s.status IN ('active', 'waiting')
           AND t.kind = 'wait_for' AND t.state = 'open'
         ORDER BY t.state_id, t.seq",
        contacts as &[ContactId]
    )
    .fetch_all(conn)
    .await?;
    let waits = rows.into_iter().filter_map(|row| {
        Some(OpenWait {
            state_id: row.state_id.into(),
            contact_id: row.contact_id.into(),
            seq: row.seq,
            args: serde_json::from_value(row.args).ok()?,
            issued_at: row.issued_at,
            due_at: row.due_at,
        })
    });
    Ok(waits.collect())
}

/// The contact's events of this name that arrived after a position in the order of arrival, or at
/// `since` or later, in that order, at most `limit`, without historical events.
pub async fn events_arrived(
    conn: &mut Conn,
    (contact, name): (ContactId, &str),
    after: (DateTime<Utc>, Uuid),
    since: Option<DateTime<Utc>>,
    limit: i64,
) -> Result<Vec<PastEvent>> {
    sqlx::query_as!(
        PastEvent,
        r#"SELECT id AS "id: EventId", name, properties AS "properties: Stored<Properties>",
                  occurred_at, received_at, trusted AS "trust"
           FROM user_events
           WHERE contact_id = $1 AND name = $2 AND NOT historical
             AND ((received_at, id) > ($3, $4) OR received_at >= $5)
           ORDER BY received_at, id LIMIT $6"#,
        contact as ContactId,
        name,
        after.0,
        after.1,
        since,
        limit
    )
    .fetch_all(conn)
    .await
}
