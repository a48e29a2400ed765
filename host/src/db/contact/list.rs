//! Contacts as administrators see and change them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use hogsend_semantics::address::comparable;
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::db::stored::Stored;
use crate::db::{Conn, ContactRow, Result};
use crate::ids::ContactId;

/// A LIKE pattern for text that contains `search`, with LIKE's own characters escaped.
pub(super) fn pattern(search: &str) -> String {
    let text = search
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    format!("%{text}%")
}

fn as_id(text: &str) -> Option<Uuid> {
    text.parse().ok()
}

/// Contacts whose id is `search`, or whose address or external id contains it, newest first.
/// `after` is the last id of the page before.
pub async fn contacts_list(
    conn: &mut Conn,
    search: Option<&str>,
    after: Option<Uuid>,
    limit: i64,
    offset: i64,
) -> Result<Vec<ContactRow>> {
    sqlx::query_as!(
        ContactRow,
        r#"SELECT id AS "id: ContactId", external_id, email,
                  properties AS "properties: Stored<Properties>", first_seen_at, last_seen_at,
                  created_at, updated_at
           FROM contacts
           WHERE ($1::text IS NULL OR (email || '') ILIKE $1 OR (external_id || '') ILIKE $1 OR id = $5)
             AND ($2::uuid IS NULL OR id < $2)
           ORDER BY id DESC LIMIT $3 OFFSET $4"#,
        search.map(pattern),
        after,
        limit,
        offset,
        search.and_then(as_id)
    )
    .fetch_all(conn)
    .await
}

/// The anonymous ids of these contacts, for an export; contacts without any are absent.
pub async fn contact_anonymous_ids(
    conn: &mut Conn,
    contacts: &[ContactId],
) -> Result<HashMap<ContactId, String>> {
    let found = sqlx::query!(
        r#"SELECT id AS "id: ContactId", anonymous_id AS "anonymous_id!" FROM contacts
           WHERE id = ANY($1) AND anonymous_id IS NOT NULL"#,
        contacts as &[ContactId]
    )
    .map(|row| (row.id, row.anonymous_id))
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().collect())
}

/// How many contacts there are on all pages.
pub async fn contact_count(conn: &mut Conn, search: Option<&str>) -> Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "total!" FROM contacts
           WHERE $1::text IS NULL OR (email || '') ILIKE $1 OR (external_id || '') ILIKE $1 OR id = $2"#,
        search.map(pattern),
        search.and_then(as_id)
    )
    .fetch_one(conn)
    .await
}

/// Prefix that marks the rest of a name as an external id, whatever it looks like.
const EXTERNAL: &str = "ext:";

/// The contact with this id, else the one with this external id. The prefix `ext:` marks an
/// external id that looks like something else: a UUID, the name of a route, or `ext:` itself.
pub async fn contact_row(conn: &mut Conn, name: &str) -> Result<Option<ContactRow>> {
    let (id, name) = match name.strip_prefix(EXTERNAL) {
        Some(external) => (None, external),
        None => (as_id(name), name),
    };
    sqlx::query_as!(
        ContactRow,
        r#"SELECT id AS "id: ContactId", external_id, email,
                  properties AS "properties: Stored<Properties>", first_seen_at, last_seen_at,
                  created_at, updated_at
           FROM contacts WHERE id = $1 OR external_id = $2
              OR id = (SELECT contact_id FROM contact_identities WHERE kind = 'user' AND value = $2)
           ORDER BY id = $1 DESC NULLS LAST, id LIMIT 1"#,
        id,
        name
    )
    .fetch_optional(conn)
    .await
}

/// Overwrites the names and properties of a contact. The caller holds its lock.
pub async fn contact_change(conn: &mut Conn, row: &ContactRow, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "UPDATE contacts SET external_id = $2, email = $3, properties = $4, updated_at = $5,
             address = $6, address_of = $3,
             email_unconfirmed = email_unconfirmed AND address IS NOT DISTINCT FROM $6
         WHERE id = $1",
        row.id as ContactId,
        row.external_id,
        row.email,
        Json(&row.properties) as Json<&Properties>,
        now,
        row.email.as_deref().map(comparable)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An entry of a contact's timeline.
#[derive(Clone, Debug)]
pub struct TimelineItem {
    /// `event`, `email` or `journey`.
    pub kind: String,
    pub at: DateTime<Utc>,
    pub data: Value,
}

/// Entries of each kind up to which a timeline is counted.
const TIMELINE_COUNTED: i64 = 100_000;

/// A contact's events, mails and run transitions, newest first, and the total count, counted up to
/// 100,000 of each kind.
///
/// No more of each kind is read than offset and page: events one name at a time and transitions one
/// run at a time, each by its index, and their content for the page alone.
pub async fn contact_timeline(
    conn: &mut Conn,
    contact: ContactId,
    limit: i64,
    offset: i64,
) -> Result<(Vec<TimelineItem>, i64)> {
    let items = sqlx::query_as!(
        TimelineItem,
        r#"WITH RECURSIVE names AS (
               (SELECT name FROM user_events WHERE contact_id = $1 ORDER BY name LIMIT 1)
               UNION ALL
               SELECT (SELECT e.name FROM user_events e
                       WHERE e.contact_id = $1 AND e.name > n.name ORDER BY e.name LIMIT 1)
               FROM names n WHERE n.name IS NOT NULL),
           page AS MATERIALIZED (
               SELECT kind, at, id FROM (
                   (SELECT 'event' AS kind, e.at, e.id FROM names n CROSS JOIN LATERAL (
                        SELECT occurred_at AS at, id FROM user_events
                        WHERE contact_id = $1 AND name = n.name
                        ORDER BY occurred_at DESC, id DESC LIMIT $4) AS e
                    ORDER BY e.at DESC, e.id DESC LIMIT $4)
                   UNION ALL
                   (SELECT 'email', created_at, id FROM email_sends WHERE contact_id = $1
                    ORDER BY created_at DESC, id DESC LIMIT $4)
                   UNION ALL
                   (SELECT 'journey', l.at, l.id FROM journey_states s CROSS JOIN LATERAL (
                        SELECT created_at AS at, id FROM journey_logs WHERE state_id = s.id
                        ORDER BY created_at DESC, id DESC LIMIT $4) AS l
                    WHERE s.contact_id = $1 ORDER BY l.at DESC, l.id DESC LIMIT $4)) AS story
               ORDER BY at DESC, id DESC LIMIT $2 OFFSET $3)
           SELECT p.kind AS "kind!", p.at AS "at!",
                  CASE p.kind
                      WHEN 'event' THEN jsonb_build_object('id', e.id, 'name', e.name,
                          'source', e.source, 'properties', e.properties)
                      WHEN 'email' THEN jsonb_build_object('id', m.id,
                          'templateKey', m.template_key, 'subject', m.subject,
                          'status', m.status, 'reason', m.reason)
                      ELSE jsonb_build_object('journeyId', s.journey_id, 'stateId', s.id,
                          'action', l.action, 'from', l.from_status, 'to', l.to_status)
                  END AS "data!"
           FROM page p
           LEFT JOIN user_events e ON p.kind = 'event' AND e.id = p.id AND e.occurred_at = p.at
           LEFT JOIN email_sends m ON p.kind = 'email' AND m.id = p.id
           LEFT JOIN journey_logs l ON p.kind = 'journey' AND l.id = p.id
           LEFT JOIN journey_states s ON s.id = l.state_id
           ORDER BY p.at DESC, p.id DESC"#,
        contact as ContactId,
        limit,
        offset,
        limit.saturating_add(offset)
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM (
                       SELECT FROM user_events WHERE contact_id = $1 LIMIT $2) AS events)
                + (SELECT count(*) FROM (
                       SELECT FROM email_sends WHERE contact_id = $1 LIMIT $2) AS mails)
                + (SELECT count(*) FROM (
                       SELECT FROM journey_states s JOIN journey_logs l ON l.state_id = s.id
                       WHERE s.contact_id = $1 LIMIT $2) AS transitions) AS "total!""#,
        contact as ContactId,
        TIMELINE_COUNTED
    )
    .fetch_one(conn)
    .await?;
    Ok((items, total))
}
