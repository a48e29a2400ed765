//! Everything stored about a mail, for administrators.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::db::{Conn, Result, SendStatus};
use crate::ids::{ContactId, SendId, StateId};

/// A mail without its content.
#[derive(Clone, Debug)]
pub struct SendStory {
    pub id: SendId,
    pub contact_id: ContactId,
    pub journey_state_id: Option<StateId>,
    pub journey_id: Option<String>,
    pub template_key: String,
    pub category: String,
    pub from_email: String,
    pub to_email: String,
    pub subject: String,
    pub status: SendStatus,
    pub reason: Option<String>,
    pub provider: Option<String>,
    pub message_id: Option<String>,
    pub attempts: i32,
    pub created_at: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub opened_at: Option<DateTime<Utc>>,
    pub clicked_at: Option<DateTime<Utc>>,
    pub bounced_at: Option<DateTime<Utc>>,
    pub complained_at: Option<DateTime<Utc>>,
    /// Expiry: past this moment it is not sent; None in rows of older versions.
    pub not_after: Option<DateTime<Utc>>,
    /// Whether the sender was given for this one mail; None in rows of older versions.
    pub sender_given: Option<bool>,
}

/// Filters of a list of mails; None does not filter.
#[derive(Clone, Debug, Default)]
pub struct SendFilter {
    pub status: Option<SendStatus>,
    pub template_key: Option<String>,
    pub category: Option<String>,
    pub contact: Option<ContactId>,
    /// The contact's external id.
    pub user: Option<String>,
    /// An address, in any case.
    pub to: Option<String>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    /// Only mails after this one in the list.
    pub after: Option<(DateTime<Utc>, Uuid)>,
}

/// Mails, newest first.
pub async fn send_stories(
    conn: &mut Conn,
    filter: &SendFilter,
    limit: i64,
    offset: i64,
) -> Result<Vec<SendStory>> {
    sqlx::query_as!(
        SendStory,
        r#"SELECT e.id AS "id: SendId", e.contact_id AS "contact_id: ContactId",
               e.journey_state_id AS "journey_state_id: StateId", s.journey_id AS "journey_id?",
               e.template_key, e.category, e.from_email, e.to_email, e.subject,
               e.status AS "status: SendStatus", e.reason,
               e.provider, e.message_id, e.attempts, e.created_at, e.sent_at, e.delivered_at,
               e.opened_at, e.clicked_at, e.bounced_at, e.complained_at,
               e.not_after, e.sender_given
           FROM email_sends e LEFT JOIN journey_states s ON s.id = e.journey_state_id
           WHERE ($1::text IS NULL OR e.status = $1)
             AND ($2::text IS NULL OR e.template_key = $2)
             AND ($3::text IS NULL OR e.category = $3)
             AND ($4::uuid IS NULL OR e.contact_id = $4)
             AND ($5::text IS NULL OR lower(e.to_email) = lower($5))
             AND ($6::timestamptz IS NULL OR e.created_at >= $6)
             AND ($7::timestamptz IS NULL OR e.created_at < $7)
             AND ($8::text IS NULL
                  OR e.contact_id = (SELECT id FROM contacts WHERE external_id = $8
                          UNION SELECT contact_id FROM contact_identities
                                WHERE kind = 'user' AND value = $8 LIMIT 1))
             AND ($9::timestamptz IS NULL OR (e.created_at, e.id) < ($9, $10::uuid))
           ORDER BY e.created_at DESC, e.id DESC LIMIT $11 OFFSET $12"#,
        filter.status.map(SendStatus::name),
        filter.template_key,
        filter.category,
        filter.contact as Option<ContactId>,
        filter.to,
        filter.since,
        filter.until,
        filter.user,
        filter.after.map(|(at, _)| at),
        filter.after.map(|(_, id)| id),
        limit,
        offset
    )
    .fetch_all(conn)
    .await
}

/// How many mails match, ignoring `after`.
pub async fn send_count(conn: &mut Conn, filter: &SendFilter) -> Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM email_sends
           WHERE ($1::text IS NULL OR status = $1)
             AND ($2::text IS NULL OR template_key = $2)
             AND ($3::text IS NULL OR category = $3)
             AND ($4::uuid IS NULL OR contact_id = $4)
             AND ($5::text IS NULL OR lower(to_email) = lower($5))
             AND ($6::timestamptz IS NULL OR created_at >= $6)
             AND ($7::timestamptz IS NULL OR created_at < $7)
             AND ($8::text IS NULL
                  OR contact_id = (SELECT id FROM contacts WHERE external_id = $8
                          UNION SELECT contact_id FROM contact_identities
                                WHERE kind = 'user' AND value = $8 LIMIT 1))"#,
        filter.status.map(SendStatus::name),
        filter.template_key,
        filter.category,
        filter.contact as Option<ContactId>,
        filter.to,
        filter.since,
        filter.until,
        filter.user
    )
    .fetch_one(conn)
    .await
}

pub async fn send_story(conn: &mut Conn, id: SendId) -> Result<Option<SendStory>> {
    sqlx::query_as!(
        SendStory,
        r#"SELECT e.id AS "id: SendId", e.contact_id AS "contact_id: ContactId",
               e.journey_state_id AS "journey_state_id: StateId", s.journey_id AS "journey_id?",
               e.template_key, e.category, e.from_email, e.to_email, e.subject,
               e.status AS "status: SendStatus", e.reason,
               e.provider, e.message_id, e.attempts, e.created_at, e.sent_at, e.delivered_at,
               e.opened_at, e.clicked_at, e.bounced_at, e.complained_at,
               e.not_after, e.sender_given
           FROM email_sends e LEFT JOIN journey_states s ON s.id = e.journey_state_id
           WHERE e.id = $1"#,
        id as SendId
    )
    .fetch_optional(conn)
    .await
}

/// An entry of a mail's history: an attempt, or an event reported later.
#[derive(Clone, Debug)]
pub struct SendHappening {
    pub at: DateTime<Utc>,
    /// `attempt`, or the kind of event.
    pub kind: String,
    pub provider: Option<String>,
    /// For an attempt: its number.
    pub number: Option<i32>,
    /// For an attempt: the batch it was made with.
    pub batch_id: Option<Uuid>,
    pub ended_at: Option<DateTime<Utc>>,
    pub outcome: Option<String>,
    pub reason: Option<String>,
    /// Why it is attributed to a machine.
    pub machine: Option<String>,
    pub detail: Option<Value>,
}

/// The history of a mail, oldest first.
pub async fn send_history(conn: &mut Conn, id: SendId) -> Result<Vec<SendHappening>> {
    sqlx::query_as!(
        SendHappening,
        r#"SELECT started_at AS "at!", 'attempt' AS "kind!", provider AS "provider?",
               number AS "number?", batch_id, ended_at, outcome, reason, NULL AS machine,
               NULL::jsonb AS detail
           FROM email_attempts WHERE send_id = $1
           UNION ALL
           SELECT occurred_at, kind, provider, NULL, NULL, NULL, NULL, NULL, machine, detail
           FROM email_events WHERE send_id = $1
           UNION ALL
           SELECT last_at, kind, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
               jsonb_strip_nulls(jsonb_build_object('further', count,
                   'linkId', nullif(link_id, '00000000-0000-0000-0000-000000000000')))
           FROM further_visits WHERE send_id = $1
           ORDER BY 1"#,
        id as SendId
    )
    .fetch_all(conn)
    .await
}

/// A link of a mail.
#[derive(Clone, Debug)]
pub struct LinkStory {
    pub id: Uuid,
    pub url: String,
    /// Clicks of people.
    pub clicks: i64,
}

pub async fn send_links(conn: &mut Conn, id: SendId) -> Result<Vec<LinkStory>> {
    sqlx::query_as!(
        LinkStory,
        r#"SELECT l.id, l.url, count(e.id) AS "clicks!"
           FROM tracked_links l LEFT JOIN email_events e
             ON e.link_id = l.id AND e.kind = 'clicked' AND e.machine IS NULL
           WHERE l.send_id = $1 GROUP BY l.id ORDER BY l.position"#,
        id as SendId
    )
    .fetch_all(conn)
    .await
}

/// A click on a link of a mail.
#[derive(Clone, Debug)]
pub struct ClickStory {
    pub link_id: Uuid,
    pub at: DateTime<Utc>,
    pub machine: Option<String>,
    pub detail: Value,
}

pub async fn send_clicks(conn: &mut Conn, id: SendId) -> Result<Vec<ClickStory>> {
    sqlx::query_as!(
        ClickStory,
        r#"SELECT link_id AS "link_id!", occurred_at AS at, machine, detail
           FROM email_events WHERE send_id = $1 AND link_id IS NOT NULL ORDER BY occurred_at"#,
        id as SendId
    )
    .fetch_all(conn)
    .await
}

/// The frozen content of a mail, to send it again.
pub async fn send_mail(conn: &mut Conn, id: SendId) -> Result<Option<hogsend_plugin_api::Mail>> {
    let mail = sqlx::query_scalar!(
        r#"SELECT mail AS "mail: sqlx::types::Json<hogsend_plugin_api::Mail>"
           FROM email_sends WHERE id = $1"#,
        id as SendId
    )
    .fetch_optional(conn)
    .await?;
    Ok(mail.flatten().map(|mail| mail.0))
}
