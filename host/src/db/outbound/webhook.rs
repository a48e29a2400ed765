//! Webhook endpoints.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::db::transact::stir;
use crate::db::{Conn, Result, Topic};
use crate::ids::EndpointId;

/// An endpoint with its secrets.
#[derive(Clone)]
pub struct Endpoint {
    pub id: EndpointId,
    pub url: String,
    pub description: String,
    pub event_types: Vec<String>,
    pub disabled: bool,
    pub disabled_reason: Option<String>,
    pub secret: String,
    pub previous_until: Option<DateTime<Utc>>,
    /// When a delivery was last posted there.
    pub last_delivery_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// An endpoint that subscribes to some of the given event types.
pub struct Subscriber {
    pub id: EndpointId,
    pub event_types: Vec<String>,
}

pub async fn webhook_insert(conn: &mut Conn, new: &Endpoint) -> Result<()> {
    sqlx::query!(
        "INSERT INTO webhook_endpoints (id, url, description, event_types, disabled, secret,
                                        created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
        new.id as EndpointId,
        new.url,
        new.description,
        &new.event_types,
        new.disabled,
        new.secret,
        new.created_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A page of endpoints, newest first, with or without disabled ones, and the total count.
pub async fn webhooks_list(
    conn: &mut Conn,
    with_disabled: bool,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Endpoint>, i64)> {
    let rows = sqlx::query_as!(
        Endpoint,
        r#"SELECT id AS "id: EndpointId", url, description, event_types, disabled, disabled_reason,
                  secret, previous_until, last_delivery_at, created_at, updated_at
           FROM webhook_endpoints WHERE $3 OR NOT disabled
           ORDER BY created_at DESC, id DESC LIMIT $1 OFFSET $2"#,
        limit,
        offset,
        with_disabled
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"SELECT count(*) AS "total!" FROM webhook_endpoints WHERE $1 OR NOT disabled"#,
        with_disabled
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}

pub async fn webhook_get(conn: &mut Conn, id: EndpointId) -> Result<Option<Endpoint>> {
    sqlx::query_as!(
        Endpoint,
        r#"SELECT id AS "id: EndpointId", url, description, event_types, disabled, disabled_reason,
                  secret, previous_until, last_delivery_at, created_at, updated_at
           FROM webhook_endpoints WHERE id = $1"#,
        id as EndpointId
    )
    .fetch_optional(conn)
    .await
}

/// One endpoint, locked until the transaction ends.
pub async fn webhook_lock(conn: &mut Conn, id: EndpointId) -> Result<Option<Endpoint>> {
    sqlx::query_as!(
        Endpoint,
        r#"SELECT id AS "id: EndpointId", url, description, event_types, disabled, disabled_reason,
                  secret, previous_until, last_delivery_at, created_at, updated_at
           FROM webhook_endpoints WHERE id = $1 FOR NO KEY UPDATE"#,
        id as EndpointId
    )
    .fetch_optional(conn)
    .await
}

/// Writes the fields an administrator may change.
pub async fn webhook_update(conn: &mut Conn, new: &Endpoint) -> Result<()> {
    sqlx::query!(
        "UPDATE webhook_endpoints SET url = $2, description = $3, event_types = $4, disabled = $5,
             disabled_reason = $6, updated_at = $7
         WHERE id = $1",
        new.id as EndpointId,
        new.url,
        new.description,
        &new.event_types,
        new.disabled,
        new.disabled_reason,
        new.updated_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces the secret; requests are signed with the old one as well until `until`.
pub async fn webhook_rotate(
    conn: &mut Conn,
    id: EndpointId,
    secret: &str,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE webhook_endpoints SET previous_secret = secret, previous_until = $3, secret = $2,
             updated_at = $4
         WHERE id = $1",
        id as EndpointId,
        secret,
        until,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes it with its pending deliveries.
pub async fn webhook_delete(conn: &mut Conn, id: EndpointId) -> Result<()> {
    sqlx::query!(
        "DELETE FROM webhook_endpoints WHERE id = $1",
        id as EndpointId
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that a delivery was posted to an endpoint, at most once a second.
pub async fn webhook_posted(conn: &mut Conn, id: EndpointId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "UPDATE webhook_endpoints SET last_delivery_at = $2
         WHERE id = $1 AND (last_delivery_at IS NULL
                            OR last_delivery_at <= $2::timestamptz - interval '1 second')",
        id as EndpointId,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Disables an endpoint, with a reason to display.
pub async fn webhook_switch_off(
    conn: &mut Conn,
    id: EndpointId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE webhook_endpoints SET disabled = true, disabled_reason = $2, updated_at = $3
         WHERE id = $1 AND NOT disabled",
        id as EndpointId,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Endpoints that subscribe to any of these types. They are locked against deletion until the
/// transaction ends.
pub async fn webhook_subscribers(conn: &mut Conn, types: &[String]) -> Result<Vec<Subscriber>> {
    sqlx::query_as!(
        Subscriber,
        r#"SELECT id AS "id: EndpointId", event_types FROM webhook_endpoints
           WHERE NOT disabled AND event_types && $1 ORDER BY id FOR KEY SHARE"#,
        types
    )
    .fetch_all(conn)
    .await
}

/// Dismisses a delivery that was given up. False where it is not one.
pub async fn delivery_dismiss(conn: &mut Conn, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE webhook_deliveries SET dismissed_at = $2
         WHERE id = $1 AND status = 'failed' AND dismissed_at IS NULL",
        id,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes a delivery due that was given up, with a full set of attempts. False where it is not one.
pub async fn delivery_retry(conn: &mut Conn, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE webhook_deliveries SET status = 'pending', attempts = 0, next_attempt_at = $2,
             updated_at = $2
         WHERE id = $1 AND status = 'failed' AND dismissed_at IS NULL",
        id,
        now
    )
    .execute(conn)
    .await?;
    stir(Topic::Webhooks);
    Ok(done.rows_affected() == 1)
}
