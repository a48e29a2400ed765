//! Events as administrators see them.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use sqlx::types::Json;
use uuid::Uuid;

use crate::db::{Conn, Result};
use crate::ids::{ContactId, EventId};

/// A list of events is counted up to this number.
pub const EVENTS_COUNTED: i64 = 100_000;

/// An event with the names of its contact.
#[derive(Clone, Debug)]
pub struct EventStory {
    pub id: EventId,
    pub contact_id: ContactId,
    pub user_id: Option<String>,
    pub email: Option<String>,
    pub source: String,
    pub name: String,
    pub properties: Json<Properties>,
    /// Whether its source was trusted.
    pub trusted: bool,
    /// It happened before it was reported as history: it starts, ends and satisfies nothing.
    pub historical: bool,
    pub occurred_at: DateTime<Utc>,
    pub received_at: DateTime<Utc>,
}

/// Filters of a list of events; None does not filter.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub name: Option<String>,
    pub source: Option<String>,
    pub contact: Option<ContactId>,
    /// The contact's external id.
    pub user: Option<String>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    /// Only events received before this one.
    pub after: Option<Uuid>,
    /// Only events received after this one.
    pub newer_than: Option<EventId>,
}

/// Events, latest received first.
pub async fn event_stories(
    conn: &mut Conn,
    filter: &EventFilter,
    limit: i64,
    offset: i64,
) -> Result<Vec<EventStory>> {
    sqlx::query_as!(
        EventStory,
        r#"SELECT e.id AS "id: EventId", e.contact_id AS "contact_id: ContactId",
                  c.external_id AS "user_id?", c.email AS "email?", e.source, e.name,
                  e.properties AS "properties: Json<Properties>", e.trusted, e.historical,
                  e.occurred_at, e.received_at
           FROM user_events e LEFT JOIN contacts c ON c.id = e.contact_id
           WHERE ($1::text IS NULL OR e.name = $1)
             AND ($2::text IS NULL OR e.source = $2)
             AND ($3::uuid IS NULL OR e.contact_id = $3)
             AND ($4::timestamptz IS NULL OR e.occurred_at >= $4)
             AND ($5::timestamptz IS NULL OR e.occurred_at < $5)
             AND ($6::text IS NULL
                  OR e.contact_id = (SELECT id FROM contacts WHERE external_id = $6
                          UNION SELECT contact_id FROM contact_identities
                                WHERE kind = 'user' AND value = $6 LIMIT 1))
             AND ($7::uuid IS NULL OR e.id < $7)
             AND ($10::uuid IS NULL OR e.id > $10)
           ORDER BY e.id DESC LIMIT $8 OFFSET $9"#,
        filter.name,
        filter.source,
        filter.contact as Option<ContactId>,
        filter.since,
        filter.until,
        filter.user,
        filter.after,
        limit,
        offset,
        filter.newer_than as Option<EventId>
    )
    .fetch_all(conn)
    .await
}

pub async fn event_story(conn: &mut Conn, id: EventId) -> Result<Option<EventStory>> {
    sqlx::query_as!(
        EventStory,
        r#"SELECT e.id AS "id: EventId", e.contact_id AS "contact_id: ContactId",
                  c.external_id AS "user_id?", c.email AS "email?", e.source, e.name,
                  e.properties AS "properties: Json<Properties>", e.trusted, e.historical,
                  e.occurred_at, e.received_at
           FROM user_events e LEFT JOIN contacts c ON c.id = e.contact_id WHERE e.id = $1"#,
        id as EventId
    )
    .fetch_optional(conn)
    .await
}

/// How many events match, counted up to [`EVENTS_COUNTED`], ignoring `after` and `newer_than`.
pub async fn event_count(conn: &mut Conn, filter: &EventFilter) -> Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT FROM user_events
               WHERE ($1::text IS NULL OR name = $1)
                 AND ($2::text IS NULL OR source = $2)
                 AND ($3::uuid IS NULL OR contact_id = $3)
                 AND ($4::timestamptz IS NULL OR occurred_at >= $4)
                 AND ($5::timestamptz IS NULL OR occurred_at < $5)
                 AND ($6::text IS NULL
                      OR contact_id = (SELECT id FROM contacts WHERE external_id = $6
                          UNION SELECT contact_id FROM contact_identities
                                WHERE kind = 'user' AND value = $6 LIMIT 1))
               LIMIT $7) AS counted"#,
        filter.name,
        filter.source,
        filter.contact as Option<ContactId>,
        filter.since,
        filter.until,
        filter.user,
        EVENTS_COUNTED
    )
    .fetch_one(conn)
    .await
}
