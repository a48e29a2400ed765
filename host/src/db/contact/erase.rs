//! Erasing contacts.

use crate::db::transact::rouse;
use crate::db::{Conn, Result};
use crate::ids::{ContactId, StateId};

/// Deletes contacts and everything about them: events, runs, mails with their rendered bytes,
/// preferences, pending captures. Rows of other contacts that contain one of the addresses lose it.
/// The caller holds the contacts' locks.
pub async fn contacts_erase(
    conn: &mut Conn,
    contacts: &[ContactId],
    addresses: &[String],
    external_ids: &[String],
) -> Result<()> {
    // Event keys keep a redelivered event from recreating the contact, so only keys that contain a
    // name of theirs are deleted.
    sqlx::query!(
        "DELETE FROM event_keys k USING unnest($1::text[]) AS n (name)
         WHERE position(lower(n.name) IN lower(k.key)) > 0
           AND k.event_id IN (SELECT id FROM user_events WHERE contact_id = ANY($2))",
        &[addresses, external_ids].concat(),
        contacts as &[ContactId]
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM user_events WHERE contact_id = ANY($1)",
        contacts as &[ContactId]
    )
    .execute(&mut *conn)
    .await?;
    // Mails of other contacts' journeys to this address, for example an invitation. Replay compares
    // the fingerprints of a journal, not its arguments, so this does not break the run.
    sqlx::query!(
        r#"UPDATE journey_steps t SET args = jsonb_set(t.args, '{to}', '"erased"')
           FROM email_sends e
           WHERE lower(e.to_email) = ANY($1) AND NOT e.contact_id = ANY($2)
             AND t.state_id = e.journey_state_id AND t.seq = e.step_seq AND t.args ? 'to'"#,
        addresses,
        contacts as &[ContactId]
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "WITH erased AS (
             UPDATE email_sends SET to_email = 'erased', subject = 'erased', mail = NULL,
                 prepared = NULL, prepared_type = NULL, claim = NULL, next_attempt_at = NULL,
                 batch_id = NULL, batch_pos = NULL,
                 reason = CASE WHEN status IN ('queued', 'sending') THEN 'contact_deleted' END,
                 status = CASE WHEN status = 'queued' AND NOT in_doubt THEN 'skipped'
                               WHEN status IN ('queued', 'sending') THEN 'ambiguous'
                               ELSE status END
             WHERE lower(to_email) = ANY($1) AND NOT contact_id = ANY($2) RETURNING id),
             visits AS (
             UPDATE email_events v SET detail = '{}' FROM erased e WHERE v.send_id = e.id)
         DELETE FROM tracked_links l USING erased e WHERE l.send_id = e.id",
        addresses,
        contacts as &[ContactId]
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM pending_changes WHERE address = ANY($1)",
        addresses
    )
    .execute(&mut *conn)
    .await?;
    let runs = sqlx::query_scalar!(
        r#"SELECT id AS "id: StateId" FROM journey_states
           WHERE contact_id = ANY($1) AND status IN ('active', 'waiting')"#,
        contacts as &[ContactId]
    )
    .fetch_all(&mut *conn)
    .await?;
    rouse(runs.into_iter().map(|run| (run, None)));
    sqlx::query!(
        "DELETE FROM contacts WHERE id = ANY($1)",
        contacts as &[ContactId]
    )
    .execute(conn)
    .await?;
    Ok(())
}
