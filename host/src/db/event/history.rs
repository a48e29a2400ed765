//! A contact's history, as journeys query it.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::journey::{EmailPast, JourneyPast, Occurrence};
use hogsend_plugin_api::{Properties, Trust};
use uuid::Uuid;

use crate::db::stored::Stored;
use crate::db::{Conn, Result};
use crate::ids::{ContactId, EventId, floor};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    pub count: i64,
    pub last_at: Option<DateTime<Utc>>,
}

/// How far ahead of its receipt an event may have occurred, and a little more.
const AHEAD: TimeDelta = TimeDelta::hours(25);

/// Smaller than the id of every event that occurred at `since` or later: parts of the table with smaller ids
/// are not read.
fn first_part(since: Option<DateTime<Utc>>) -> Uuid {
    let first = since.and_then(|since| since.checked_sub_signed(AHEAD));
    first.map_or(Uuid::nil(), floor)
}

/// How often the contact's events of this name occurred, at `since` or later.
pub async fn history_event(
    conn: &mut Conn,
    contact: ContactId,
    name: &str,
    since: Option<DateTime<Utc>>,
) -> Result<History> {
    sqlx::query_as!(
        History,
        r#"SELECT count(*) AS "count!", max(occurred_at) AS last_at FROM user_events
           WHERE contact_id = $1 AND name = $2
             AND ($3::timestamptz IS NULL OR occurred_at >= $3)
             AND id >= $4"#,
        contact as ContactId,
        name,
        since,
        first_part(since)
    )
    .fetch_one(conn)
    .await
}

/// An event of a contact's history.
#[derive(Clone, Debug)]
pub struct PastEvent {
    pub id: EventId,
    pub name: String,
    pub properties: Properties,
    pub occurred_at: DateTime<Utc>,
    pub received_at: DateTime<Utc>,
    pub trust: Trust,
}

impl From<PastEvent> for Occurrence {
    fn from(event: PastEvent) -> Self {
        let mut occurrence = Self::new(event.name, event.properties, event.occurred_at);
        occurrence.id = Some(event.id.into());
        occurrence.trust = event.trust;
        occurrence
    }
}

/// The contact's events of this name that occurred at `since` or later, newest first.
pub async fn history_events(
    conn: &mut Conn,
    contact: ContactId,
    name: &str,
    since: Option<DateTime<Utc>>,
    limit: i64,
) -> Result<Vec<PastEvent>> {
    sqlx::query_as!(
        PastEvent,
        r#"SELECT id AS "id: EventId", name, properties AS "properties: Stored<Properties>",
                  occurred_at, received_at, trusted AS "trust"
           FROM user_events
           WHERE contact_id = $1 AND name = $2
             AND ($3::timestamptz IS NULL OR occurred_at >= $3)
             AND id >= $5
           ORDER BY occurred_at DESC, id DESC LIMIT $4"#,
        contact as ContactId,
        name,
        since,
        limit,
        first_part(since)
    )
    .fetch_all(conn)
    .await
}

/// A contact's events of a name that were received at a time or later, without historical events.
#[derive(Clone, Copy, Debug)]
pub struct Since<'a> {
    pub contact: ContactId,
    pub name: &'a str,
    pub received_at: DateTime<Utc>,
}

/// The end of a page: time of receipt and id of its last event.
pub type PageEnd = (DateTime<Utc>, EventId);

/// The next events, latest received first; `before` is where the previous page ended.
pub async fn history_page(
    conn: &mut Conn,
    since: &Since<'_>,
    before: Option<PageEnd>,
    limit: usize,
) -> Result<Vec<PastEvent>> {
    let (at, id) = before.unzip();
    sqlx::query_as!(
        PastEvent,
        r#"SELECT id AS "id: EventId", name, properties AS "properties: Stored<Properties>",
                  occurred_at, received_at, trusted AS "trust"
           FROM user_events
           WHERE contact_id = $1 AND name = $2 AND received_at >= $3 AND NOT historical
             AND ($4::timestamptz IS NULL OR (received_at, id) < ($4, $5))
           ORDER BY received_at DESC, id DESC LIMIT $6"#,
        since.contact as ContactId,
        since.name,
        since.received_at,
        at,
        id as Option<EventId>,
        i64::try_from(limit).unwrap_or(i64::MAX)
    )
    .fetch_all(conn)
    .await
}

/// How many events follow after the end of a page.
pub async fn history_count(
    conn: &mut Conn,
    since: &Since<'_>,
    before: Option<PageEnd>,
) -> Result<i64> {
    let (at, id) = before.unzip();
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM user_events
           WHERE contact_id = $1 AND name = $2 AND received_at >= $3 AND NOT historical
             AND ($4::timestamptz IS NULL OR (received_at, id) < ($4, $5))"#,
        since.contact as ContactId,
        since.name,
        since.received_at,
        at,
        id as Option<EventId>
    )
    .fetch_one(conn)
    .await
}

pub async fn history_journey(
    conn: &mut Conn,
    contact: ContactId,
    journey: &str,
) -> Result<JourneyPast> {
    let row = sqlx::query!(
        r#"SELECT count(*) AS "entered!", max(created_at) AS last_entered_at,
                  count(*) FILTER (WHERE status = 'completed') AS "completed!",
                  count(*) FILTER (WHERE status IN ('active', 'waiting')) > 0 AS "active!"
           FROM journey_states WHERE contact_id = $1 AND journey_id = $2"#,
        contact as ContactId,
        journey
    )
    .fetch_one(conn)
    .await?;
    let mut past = JourneyPast::default();
    past.entered = row.entered as u64;
    past.completed = row.completed as u64;
    past.active = row.active;
    past.last_entered_at = row.last_entered_at;
    Ok(past)
}

pub async fn history_email(
    conn: &mut Conn,
    contact: ContactId,
    template: &str,
) -> Result<EmailPast> {
    let row = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE sent_at IS NOT NULL) AS "sent!",
                  max(sent_at) AS last_sent_at,
                  coalesce(bool_or(status IN ('opened', 'clicked')), false) AS "opened!",
                  coalesce(bool_or(status = 'clicked'), false) AS "clicked!"
           FROM email_sends WHERE contact_id = $1 AND template_key = $2"#,
        contact as ContactId,
        template
    )
    .fetch_one(conn)
    .await?;
    let mut past = EmailPast::default();
    past.sent = row.sent as u64;
    past.last_sent_at = row.last_sent_at;
    past.opened = row.opened;
    past.clicked = row.clicked;
    Ok(past)
}
