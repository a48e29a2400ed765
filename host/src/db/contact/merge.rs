//! Merges two contacts that are the same person.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::pending::pending_merge;
use crate::db::transact::rouse;
use crate::db::{Conn, Result};
use crate::ids::{self, ContactId, StateId};

/// Which contact is merged into which, and why.
#[derive(Clone, Copy, Debug)]
pub struct Merge<'a> {
    pub keep: ContactId,
    pub gone: ContactId,
    /// The event or change that joined them.
    pub reason: &'a str,
    /// The source of that.
    pub source: &'a str,
}

/// A run that exited because another run of its journey goes on.
#[derive(Clone, Debug)]
pub struct EndedByMerge {
    pub state: StateId,
    pub journey_id: String,
    pub depth: i16,
}

/// Moves everything of `gone` to `keep` and deletes it: ids, events, runs, mails, preferences, pending
/// claims. The stricter opt-out of the two stays. If both are in a run of one journey, the run that
/// began first goes on and the other one exits. What `gone` was, and which rows were its own, stays in a
/// log. The caller has locked both contacts and given `keep` the names and properties. Returns the runs
/// that exited.
pub async fn contact_merge(
    conn: &mut Conn,
    merge: Merge<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<EndedByMerge>> {
    let Merge { keep, gone, .. } = merge;
    let log = ids::at(now);
    log_merge(conn, merge, log, now).await?;
    let ended = end_second_runs(conn, merge, now).await?;
    move_runs(conn, merge, log).await?;
    move_events(conn, merge, log).await?;
    move_mails(conn, merge, log).await?;
    move_outboxes(conn, merge, log).await?;
    merge_preferences(conn, merge, now).await?;
    merge_visits(conn, merge).await?;
    pending_merge(conn, keep, gone).await?;
    move_identities(conn, merge, now).await?;
    sqlx::query!("DELETE FROM contacts WHERE id = $1", gone as ContactId)
        .execute(conn)
        .await?;
    Ok(ended)
}

/// Stores a snapshot of `gone`.
async fn log_merge(conn: &mut Conn, merge: Merge<'_>, log: Uuid, now: DateTime<Utc>) -> Result<()> {
    let Merge { keep, gone, .. } = merge;
    sqlx::query!(
        "INSERT INTO contact_merges (id, contact_id, kept, gone, reason, source, snapshot,
                                     created_at)
         SELECT $3, $1, $1, $2, $4, $5, jsonb_build_object(
                    'contact', to_jsonb(c),
                    'identities', (SELECT coalesce(jsonb_agg(to_jsonb(i)), '[]')
                                   FROM contact_identities i WHERE i.contact_id = c.id),
                    'preferences', (SELECT to_jsonb(p) FROM email_preferences p
                                    WHERE p.contact_id = c.id),
                    'onces', (SELECT coalesce(jsonb_agg(to_jsonb(o)), '[]')
                              FROM journey_onces o WHERE o.contact_id = c.id)), $6
         FROM contacts c WHERE c.id = $2",
        keep as ContactId,
        gone as ContactId,
        log,
        merge.reason,
        merge.source,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the later run of each journey that both are in.
async fn end_second_runs(
    conn: &mut Conn,
    merge: Merge<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<EndedByMerge>> {
    let Merge { keep, gone, .. } = merge;
    let ended = sqlx::query!(
        r#"WITH twins AS (
             SELECT CASE WHEN (a.created_at, a.id) <= (b.created_at, b.id) THEN b.id ELSE a.id END
                        AS id
             FROM journey_states a JOIN journey_states b ON a.journey_id = b.journey_id
             WHERE a.contact_id = $1 AND b.contact_id = $2
               AND a.status IN ('active', 'waiting') AND b.status IN ('active', 'waiting')),
         ended AS (
             UPDATE journey_states s SET status = 'exited', exited_at = $3, updated_at = $3,
                 wake_at = NULL, claim = NULL, revision = revision + 1, error_message = 'merged'
             FROM twins WHERE s.id = twins.id RETURNING s.id, s.journey_id, s.depth),
         logged AS (
             INSERT INTO journey_logs (id, state_id, to_status, action, created_at)
             SELECT gen_random_uuid(), id, 'exited', 'merged', $3 FROM ended)
         SELECT id AS "id: StateId", journey_id, depth FROM ended ORDER BY id"#,
        keep as ContactId,
        gone as ContactId,
        now
    )
    .map(|row| EndedByMerge {
        state: row.id,
        journey_id: row.journey_id,
        depth: row.depth,
    })
    .fetch_all(conn)
    .await?;
    rouse(ended.iter().map(|run| (run.state, None)));
    Ok(ended)
}

async fn move_runs(conn: &mut Conn, merge: Merge<'_>, log: Uuid) -> Result<()> {
    let Merge { keep, gone, .. } = merge;
    sqlx::query!(
        // A worker that read the run before sees that it changed.
        "WITH moved AS (UPDATE journey_states SET contact_id = $1, revision = revision + 1
                        WHERE contact_id = $2 RETURNING id)
         INSERT INTO contact_merge_rows (merge_id, table_name, row_id)
         SELECT $3, 'journey_states', id FROM moved",
        keep as ContactId,
        gone as ContactId,
        log
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn move_events(conn: &mut Conn, merge: Merge<'_>, log: Uuid) -> Result<()> {
    let Merge { keep, gone, .. } = merge;
    sqlx::query!(
        "WITH moved AS (UPDATE user_events SET contact_id = $1 WHERE contact_id = $2 RETURNING id)
         INSERT INTO contact_merge_rows (merge_id, table_name, row_id)
         SELECT $3, 'user_events', id FROM moved",
        keep as ContactId,
        gone as ContactId,
        log
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn move_mails(conn: &mut Conn, merge: Merge<'_>, log: Uuid) -> Result<()> {
    let Merge { keep, gone, .. } = merge;
    sqlx::query!(
        // A worker that is about to begin an attempt checks again whether this contact opted out.
        "WITH moved AS (UPDATE email_sends SET contact_id = $1,
                            claim = CASE WHEN in_doubt THEN claim END
                        WHERE contact_id = $2 RETURNING id)
         INSERT INTO contact_merge_rows (merge_id, table_name, row_id)
         SELECT $3, 'email_sends', id FROM moved",
        keep as ContactId,
        gone as ContactId,
        log
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves what waits for analytics and webhooks, refused enrolments, passes, `once` values and former
/// merges.
async fn move_outboxes(conn: &mut Conn, merge: Merge<'_>, log: Uuid) -> Result<()> {
    let Merge { keep, gone, .. } = merge;
    sqlx::query!(
        "WITH skips AS (UPDATE enrolment_skips SET contact_id = $1 WHERE contact_id = $2
                        RETURNING id),
              passes AS (UPDATE journey_passes SET contact_id = $1 WHERE contact_id = $2
                         RETURNING id),
              captures AS (UPDATE analytics_outbox SET contact_id = $1 WHERE contact_id = $2),
              lost AS (UPDATE analytics_given_up SET contact_id = $1 WHERE contact_id = $2),
              webhooks AS (UPDATE webhook_deliveries SET contact_id = $1 WHERE contact_id = $2),
              entries AS (UPDATE held_entries SET contact_id = $1 WHERE contact_id = $2),
              merges AS (UPDATE contact_merges SET contact_id = $1 WHERE contact_id = $2),
              onces AS (
                  INSERT INTO journey_onces (contact_id, journey_id, key, value, created_at)
                  SELECT $1, journey_id, key, value, created_at FROM journey_onces
                  WHERE contact_id = $2
                  ON CONFLICT DO NOTHING)
         INSERT INTO contact_merge_rows (merge_id, table_name, row_id)
         SELECT $3::uuid, 'enrolment_skips', id FROM skips
         UNION ALL SELECT $3::uuid, 'journey_passes', id FROM passes",
        keep as ContactId,
        gone as ContactId,
        log
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A category that either of them left stays left.
async fn merge_preferences(conn: &mut Conn, merge: Merge<'_>, now: DateTime<Utc>) -> Result<()> {
    let Merge { keep, gone, .. } = merge;
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
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the earlier first and the later last visit, and listens if either did.
async fn merge_visits(conn: &mut Conn, merge: Merge<'_>) -> Result<()> {
    let Merge { keep, gone, .. } = merge;
    sqlx::query!(
        "UPDATE contacts k SET listening = k.listening OR g.listening,
             first_seen_at = least(k.first_seen_at, g.first_seen_at),
             last_seen_at = greatest(k.last_seen_at, g.last_seen_at)
         FROM contacts g WHERE k.id = $1 AND g.id = $2",
        keep as ContactId,
        gone as ContactId
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The names of `gone` lead to `keep`.
async fn move_identities(conn: &mut Conn, merge: Merge<'_>, now: DateTime<Utc>) -> Result<()> {
    let Merge { keep, gone, .. } = merge;
    sqlx::query!(
        "WITH own AS (
             SELECT n.kind, n.value FROM contacts c,
                    LATERAL (VALUES ('user', c.external_id), ('anonymous', c.anonymous_id))
                        AS n (kind, value)
             WHERE c.id = $2 AND n.value IS NOT NULL),
              moved AS (UPDATE contact_identities SET contact_id = $1 WHERE contact_id = $2)
         INSERT INTO contact_identities (kind, value, contact_id, source, created_at)
         SELECT kind, value, $1, $3, $4 FROM own
         ON CONFLICT DO NOTHING",
        keep as ContactId,
        gone as ContactId,
        merge.source,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
