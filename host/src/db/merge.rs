//! Two contacts that turn out to be one person.

use chrono::{DateTime, Utc};

use super::pending::pending_merge;
use super::{Conn, Result};
use crate::ids::ContactId;

/// Moves everything of `gone` to `keep` and deletes it: events, runs, mails, preferences, what
/// blocks keep. The stricter opt-out of the two stays. Where both are on the way through one
/// journey, the run that began first goes on and the other one exits. The caller holds both
/// contacts' locks and has given `keep` the names and properties.
pub async fn contact_merge(
    conn: &mut Conn,
    keep: ContactId,
    gone: ContactId,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "WITH twins AS (
             SELECT CASE WHEN (a.created_at, a.id) <= (b.created_at, b.id) THEN b.id ELSE a.id END
                        AS id
             FROM journey_states a JOIN journey_states b ON a.journey_id = b.journey_id
             WHERE a.contact_id = $1 AND b.contact_id = $2
               AND a.status IN ('active', 'waiting') AND b.status IN ('active', 'waiting')),
         ended AS (
             UPDATE journey_states s SET status = 'exited', exited_at = $3, updated_at = $3,
                 wake_at = NULL, claim = NULL, revision = revision + 1,
                 error_message = 'merged with the same person''s earlier run'
             FROM twins WHERE s.id = twins.id RETURNING s.id)
         INSERT INTO journey_logs (id, state_id, to_status, action, created_at)
         SELECT gen_random_uuid(), id, 'exited', 'merged', $3 FROM ended",
        keep as ContactId,
        gone as ContactId,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        // A worker that read the run before finds that it changed.
        "UPDATE journey_states SET contact_id = $1, revision = revision + 1 WHERE contact_id = $2",
        keep as ContactId,
        gone as ContactId
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE user_events SET contact_id = $1 WHERE contact_id = $2",
        keep as ContactId,
        gone as ContactId
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        // A worker that is about to begin an attempt asks anew what this person wants.
        "UPDATE email_sends SET contact_id = $1, claim = CASE WHEN in_doubt THEN claim END
         WHERE contact_id = $2",
        keep as ContactId,
        gone as ContactId
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "WITH skips AS (UPDATE enrolment_skips SET contact_id = $1 WHERE contact_id = $2),
              passes AS (UPDATE journey_passes SET contact_id = $1 WHERE contact_id = $2),
              captures AS (UPDATE analytics_outbox SET contact_id = $1 WHERE contact_id = $2),
              lost AS (UPDATE analytics_given_up SET contact_id = $1 WHERE contact_id = $2),
              webhooks AS (UPDATE webhook_deliveries SET contact_id = $1 WHERE contact_id = $2)
         INSERT INTO journey_onces (contact_id, journey_id, key, value, created_at)
         SELECT $1, journey_id, key, value, created_at FROM journey_onces WHERE contact_id = $2
         ON CONFLICT DO NOTHING",
        keep as ContactId,
        gone as ContactId
    )
    .execute(&mut *conn)
    .await?;
    // A category either of them left stays left.
    sqlx::query!(
        "INSERT INTO email_preferences AS p (contact_id, unsubscribed_all, categories, bounce_count,
                                             updated_at)
         SELECT $1, unsubscribed_all, categories, bounce_count, $3 FROM email_preferences
         WHERE contact_id = $2
         ON CONFLICT (contact_id) DO UPDATE SET
             unsubscribed_all = p.unsubscribed_all OR excluded.unsubscribed_all,
             categories = excluded.categories || p.categories || (
                 SELECT coalesce(jsonb_object_agg(key, false), '{}')
                 FROM jsonb_each(excluded.categories) WHERE value = 'false'),
             bounce_count = p.bounce_count + excluded.bounce_count,
             updated_at = excluded.updated_at",
        keep as ContactId,
        gone as ContactId,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE contacts k SET listening = k.listening OR g.listening,
             first_seen_at = least(k.first_seen_at, g.first_seen_at),
             last_seen_at = greatest(k.last_seen_at, g.last_seen_at)
         FROM contacts g WHERE k.id = $1 AND g.id = $2",
        keep as ContactId,
        gone as ContactId
    )
    .execute(&mut *conn)
    .await?;
    pending_merge(conn, keep, gone).await?;
    sqlx::query!("DELETE FROM contacts WHERE id = $1", gone as ContactId)
        .execute(conn)
        .await?;
    Ok(())
}
