//! Reports. Figures about mails are index-only reads of the sent mails.

use chrono::{DateTime, TimeDelta, Utc};

use crate::db::{Conn, Result, RunCount};
use crate::states::RunState;

/// Figures of the whole installation.
#[derive(Clone, Debug)]
pub struct Overview {
    pub contacts: i64,
    pub unsubscribed: i64,
    /// Runs that are active or waiting.
    pub runs: i64,
    pub sent_24h: i64,
    pub sent_7d: i64,
    pub sent_30d: i64,
    pub bounced_30d: i64,
}

pub async fn metric_overview(conn: &mut Conn, now: DateTime<Utc>) -> Result<Overview> {
    sqlx::query_as!(
        Overview,
        r#"SELECT (SELECT count(*) FROM contacts) AS "contacts!",
                  (SELECT count(*) FROM email_preferences WHERE unsubscribed_all)
                      AS "unsubscribed!",
                  (SELECT count(*) FROM journey_states WHERE status IN ('active', 'waiting'))
                      AS "runs!",
                  count(*) FILTER (WHERE sent_at >= $1) AS "sent_24h!",
                  count(*) FILTER (WHERE sent_at >= $2) AS "sent_7d!",
                  count(*) AS "sent_30d!",
                  count(bounced_at) AS "bounced_30d!"
           FROM email_sends WHERE sent_at >= $3 AND sent_at <= $4"#,
        now - TimeDelta::days(1),
        now - TimeDelta::days(7),
        now - TimeDelta::days(30),
        now
    )
    .fetch_one(conn)
    .await
}

/// Mails sent in a period, and how many of them bounced.
pub async fn metric_sent(
    conn: &mut Conn,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(i64, i64)> {
    sqlx::query!(
        r#"SELECT count(*) AS "sent!", count(bounced_at) AS "bounced!"
           FROM email_sends WHERE sent_at >= $1 AND sent_at < $2"#,
        since,
        until
    )
    .map(|row| (row.sent, row.bounced))
    .fetch_one(conn)
    .await
}

/// Runs that began in a period, by journey and status; of one journey where given.
pub async fn metric_runs(
    conn: &mut Conn,
    journey: Option<&str>,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<RunCount>> {
    sqlx::query_as!(
        RunCount,
        r#"SELECT journey_id, status AS "status: RunState", count(*) AS "count!" FROM journey_states
           WHERE ($1::text IS NULL OR journey_id = $1) AND created_at >= $2 AND created_at < $3
           GROUP BY journey_id, status"#,
        journey,
        since,
        until
    )
    .fetch_all(conn)
    .await
}

/// Counts of the mails sent in a period, by result.
#[derive(Clone, Debug)]
pub struct Outcomes {
    /// A template's key or a provider's id.
    pub name: String,
    pub sent: i64,
    pub delivered: i64,
    pub opened: i64,
    pub clicked: i64,
    pub bounced: i64,
    pub complained: i64,
}

/// Mails sent in a period, by template.
pub async fn metric_templates(
    conn: &mut Conn,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Outcomes>> {
    sqlx::query_as!(
        Outcomes,
        r#"SELECT template_key AS "name!", count(*) AS "sent!", count(delivered_at) AS "delivered!",
                  count(opened_at) AS "opened!", count(clicked_at) AS "clicked!",
                  count(bounced_at) AS "bounced!", count(complained_at) AS "complained!"
           FROM email_sends WHERE sent_at >= $1 AND sent_at < $2
           GROUP BY template_key ORDER BY count(*) DESC, template_key"#,
        since,
        until
    )
    .fetch_all(conn)
    .await
}

/// Mails sent in a period, by provider.
pub async fn metric_providers(
    conn: &mut Conn,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Outcomes>> {
    sqlx::query_as!(
        Outcomes,
        r#"SELECT coalesce(provider, 'unknown') AS "name!", count(*) AS "sent!",
                  count(delivered_at) AS "delivered!", count(opened_at) AS "opened!",
                  count(clicked_at) AS "clicked!", count(bounced_at) AS "bounced!",
                  count(complained_at) AS "complained!"
           FROM email_sends WHERE sent_at >= $1 AND sent_at < $2
           GROUP BY 1 ORDER BY count(*) DESC, 1"#,
        since,
        until
    )
    .fetch_all(conn)
    .await
}

/// Counts of one journey's mails, by result.
pub async fn metric_journey_mails(
    conn: &mut Conn,
    journey: &str,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Outcomes>> {
    sqlx::query_as!(
        Outcomes,
        r#"SELECT e.template_key AS "name!", count(*) AS "sent!",
                  count(e.delivered_at) AS "delivered!", count(e.opened_at) AS "opened!",
                  count(e.clicked_at) AS "clicked!", count(e.bounced_at) AS "bounced!",
                  count(e.complained_at) AS "complained!"
           FROM journey_states s JOIN email_sends e ON e.journey_state_id = s.id
           WHERE s.journey_id = $1 AND e.sent_at >= $2 AND e.sent_at < $3
           GROUP BY 1 ORDER BY count(*) DESC, 1"#,
        journey,
        since,
        until
    )
    .fetch_all(conn)
    .await
}

/// How often an event was received, by name.
#[derive(Clone, Debug)]
pub struct EventTally {
    pub name: String,
    pub count: i64,
    /// How many contacts it was about.
    pub people: i64,
}

/// Events received in a period: the 100 most frequent names, most frequent first.
pub async fn metric_events(
    conn: &mut Conn,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<EventTally>> {
    // An id is never older than the time of receipt, so the primary key finds the start of the
    // period.
    sqlx::query_as!(
        EventTally,
        r#"SELECT name, sum(times)::bigint AS "count!", count(*) AS "people!"
           FROM (SELECT name, contact_id, count(*) AS times
                 FROM user_events WHERE id >= $1 AND received_at >= $2 AND received_at < $3
                 GROUP BY name, contact_id) AS by_person
           GROUP BY name ORDER BY 2 DESC, name LIMIT 100"#,
        crate::ids::floor(since),
        since,
        until
    )
    .fetch_all(conn)
    .await
}
