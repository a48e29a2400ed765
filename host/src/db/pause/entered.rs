//! How many contacts enter journeys, for the spike guard.

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};

/// How many contacts entered a journey.
#[derive(Clone, Debug)]
pub struct Entered {
    pub journey_id: String,
    pub people: i64,
}

/// Those of these journeys that more than `floor` contacts entered since, which are not paused, and for which
/// the spike guard is not told to be quiet.
pub async fn journeys_crowded(
    conn: &mut Conn,
    journeys: &[String],
    since: DateTime<Utc>,
    floor: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Entered>> {
    // Of a journey that few entered, only its few entries of these minutes are read, and of any other
    // no more than `floor` until it is known to be crowded.
    sqlx::query_as!(
        Entered,
        r#"SELECT j.id AS "journey_id!",
                  (SELECT count(*) FROM journey_states s
                   WHERE s.journey_id = j.id AND s.created_at >= $2) AS "people!"
           FROM unnest($1::text[]) AS j (id)
           WHERE EXISTS (SELECT FROM journey_states s
                         WHERE s.journey_id = j.id AND s.created_at >= $2
                         ORDER BY s.created_at DESC OFFSET $3 LIMIT 1)
             AND NOT EXISTS (SELECT FROM pauses p
                             WHERE p.scope = 'journey' AND p.name = j.id AND p.until IS NULL)
             AND NOT EXISTS (SELECT FROM journey_guards g
                             WHERE g.journey_id = j.id AND g.quiet_until > $4)"#,
        journeys,
        since,
        floor,
        now
    )
    .fetch_all(conn)
    .await
}

/// How many contacts entered a journey within its busiest ten minutes of this time, apart from those in which
/// the spike guard held it.
pub async fn journey_usual(
    conn: &mut Conn,
    journey: &str,
    (from, until): (DateTime<Utc>, DateTime<Utc>),
) -> Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT coalesce(max(b.people), 0) AS "people!"
           FROM (SELECT date_bin('10 minutes', created_at, timestamptz 'epoch') AS begins,
                        count(*) AS people
                 FROM journey_states
                 WHERE journey_id = $1 AND created_at >= $2 AND created_at < $3 GROUP BY 1) b
           WHERE NOT EXISTS (SELECT FROM pauses p
                             WHERE p.scope = 'journey' AND p.name = $1 AND p.cause = 'spike'
                               AND p.since >= b.begins
                               AND p.since < b.begins + interval '20 minutes')"#,
        journey,
        from,
        until
    )
    .fetch_one(conn)
    .await
}
