//! What a person did before.

use chrono::{DateTime, Utc};

use super::{Conn, Result};
use crate::ids::ContactId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    pub count: i64,
    pub last_at: Option<DateTime<Utc>>,
}

/// How often the person's events of this name occurred, at `since` or later.
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
             AND ($3::timestamptz IS NULL OR occurred_at >= $3)"#,
        contact as ContactId,
        name,
        since
    )
    .fetch_one(conn)
    .await
}
