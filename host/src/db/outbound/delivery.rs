//! Webhook deliveries.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::db::transact::stir;
use crate::db::{Conn, Result, Topic};
use crate::ids::{Claim, ContactId, EndpointId};
use crate::states::DeliveryState;

/// An event to deliver to one endpoint.
pub struct NewDelivery {
    pub id: Uuid,
    pub endpoint_id: EndpointId,
    pub contact_id: Option<ContactId>,
    pub event_type: String,
    /// Formatted as RFC 3339.
    pub occurred_at: String,
    /// A JSON object.
    pub data: Value,
}

/// A delivery that a worker is about to post.
pub struct ClaimedDelivery {
    pub id: Uuid,
    pub endpoint_id: EndpointId,
    pub event_type: String,
    pub body: String,
    /// Including the one that begins.
    pub attempts: i32,
    pub claim: Claim,
    pub url: String,
    pub secret: String,
    pub previous_secret: Option<String>,
    pub previous_until: Option<DateTime<Utc>>,
}

/// Result of an attempt.
#[derive(Clone, Copy)]
pub struct DeliveryEnd<'a> {
    pub status: DeliveryState,
    pub retry_at: Option<DateTime<Utc>>,
    pub response_status: Option<u16>,
    pub error: Option<&'a str>,
}

/// A delivery as listed.
pub struct DeliveryRow {
    pub id: Uuid,
    pub event_type: String,
    pub status: DeliveryState,
    pub attempts: i32,
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub response_status: Option<i32>,
    pub error: Option<String>,
    pub body: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Queues deliveries. The bodies are frozen here, with the contact's current names; deliveries
/// about a deleted contact are dropped.
pub async fn deliveries_insert(
    conn: &mut Conn,
    all: &[NewDelivery],
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<Uuid> = all.iter().map(|one| one.id).collect();
    let endpoints: Vec<EndpointId> = all.iter().map(|one| one.endpoint_id).collect();
    let contacts: Vec<Option<ContactId>> = all.iter().map(|one| one.contact_id).collect();
    let types: Vec<String> = all.iter().map(|one| one.event_type.clone()).collect();
    let times: Vec<String> = all.iter().map(|one| one.occurred_at.clone()).collect();
    let data: Vec<Value> = all.iter().map(|one| one.data.clone()).collect();
    sqlx::query!(
        r#"WITH made AS (
               INSERT INTO webhook_deliveries (id, endpoint_id, contact_id, event_type, body, status,
                                               next_attempt_at, created_at, updated_at)
               SELECT n.id, n.endpoint, n.contact, n.type, jsonb_build_object(
                          'id', 'msg_' || replace(n.id::text, '-', ''), 'type', n.type, 'timestamp', n.at,
                          'data', n.data || CASE WHEN c.id IS NULL THEN '{}' ELSE
                              jsonb_build_object('contactId', c.id, 'userId', c.external_id,
                                                 'email', c.email) END)::text,
                      'pending', $7, $7, $7
               FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::jsonb[])
                        AS n (id, endpoint, contact, type, at, data)
                    LEFT JOIN contacts c ON c.id = n.contact
               WHERE n.contact IS NULL OR c.id IS NOT NULL
               RETURNING id)
           SELECT pg_notify('hogsend_wake', 'webhooks') FROM made LIMIT 1"#,
        &ids,
        &endpoints as &[EndpointId],
        &contacts as &[Option<ContactId>],
        &types,
        &times,
        &data,
        now
    )
    .fetch_optional(conn)
    .await?;
    stir(Topic::Webhooks);
    Ok(())
}

/// Claims due deliveries until `lease_until`: at most `each` per endpoint, so that a slow one does
/// not hold up the others, and none of the endpoints in `full`.
///
/// Two workers racing: each skips the rows the other has locked, and after the commit the rows are
/// no longer due.
pub async fn delivery_claim(
    conn: &mut Conn,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    full: &[EndpointId],
    (each, limit): (i64, i64),
) -> Result<Vec<ClaimedDelivery>> {
    let claim = Claim::new(now);
    sqlx::query_as!(
        ClaimedDelivery,
        r#"WITH due AS MATERIALIZED (
               SELECT d.id FROM webhook_endpoints e CROSS JOIN LATERAL (
                   SELECT id FROM webhook_deliveries
                   WHERE endpoint_id = e.id AND next_attempt_at <= $1
                   ORDER BY next_attempt_at LIMIT $4 FOR UPDATE SKIP LOCKED) d
               WHERE NOT e.disabled AND NOT e.id = ANY($3) LIMIT $5)
           UPDATE webhook_deliveries d SET next_attempt_at = $2, claim = $6, attempts = attempts + 1
           FROM due, webhook_endpoints e
           WHERE d.id = due.id AND e.id = d.endpoint_id
           RETURNING d.id, d.endpoint_id AS "endpoint_id: EndpointId", d.event_type, d.body,
                     d.attempts, d.claim AS "claim!: Claim", e.url, e.secret, e.previous_secret,
                     e.previous_until"#,
        now,
        lease_until,
        full as &[EndpointId],
        each,
        limit,
        claim as Claim
    )
    .fetch_all(conn)
    .await
}

/// Releases claims of deliveries that were not posted yet; they are due at once.
pub async fn deliveries_give_back(
    conn: &mut Conn,
    claims: &[(Uuid, Claim)],
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<Uuid> = claims.iter().map(|one| one.0).collect();
    let claims: Vec<Claim> = claims.iter().map(|one| one.1).collect();
    sqlx::query!(
        "UPDATE webhook_deliveries d SET claim = NULL, next_attempt_at = $3,
             attempts = greatest(attempts - 1, 0)
         FROM unnest($1::uuid[], $2::uuid[]) AS h (id, claim)
         WHERE d.id = h.id AND d.claim = h.claim",
        &ids,
        &claims as &[Claim],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records the result of an attempt, unless another worker has taken over the delivery.
pub async fn delivery_end(
    conn: &mut Conn,
    id: Uuid,
    claim: Claim,
    end: DeliveryEnd<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE webhook_deliveries SET status = $3, next_attempt_at = $4, response_status = $5,
             error = $6, claim = NULL, updated_at = $7
         WHERE id = $1 AND claim = $2",
        id,
        claim as Claim,
        end.status.name(),
        end.retry_at,
        end.response_status.map(i32::from),
        end.error,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When the next delivery is due, of endpoints that are not in `full`.
pub async fn delivery_next_due(
    conn: &mut Conn,
    full: &[EndpointId],
) -> Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT min(d.at) FROM webhook_endpoints e CROSS JOIN LATERAL (
             SELECT next_attempt_at AS at FROM webhook_deliveries
             WHERE endpoint_id = e.id AND next_attempt_at IS NOT NULL
             ORDER BY next_attempt_at LIMIT 1) d
         WHERE NOT e.disabled AND NOT e.id = ANY($1)",
        full as &[EndpointId]
    )
    .fetch_one(conn)
    .await
}

/// A page of an endpoint's deliveries, newest first, of one status or all, and the total count.
pub async fn deliveries_list(
    conn: &mut Conn,
    endpoint: EndpointId,
    status: Option<DeliveryState>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<DeliveryRow>, i64)> {
    let rows = sqlx::query_as!(
        DeliveryRow,
        r#"SELECT id, event_type, status AS "status: DeliveryState", attempts, next_attempt_at,
                  response_status, error, body, created_at, updated_at
           FROM webhook_deliveries
           WHERE endpoint_id = $1 AND ($2::text IS NULL OR status = $2)
           ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4"#,
        endpoint as EndpointId,
        status.map(DeliveryState::name),
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"SELECT count(*) AS "total!" FROM webhook_deliveries
           WHERE endpoint_id = $1 AND ($2::text IS NULL OR status = $2)"#,
        endpoint as EndpointId,
        status.map(DeliveryState::name)
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}
