//! Captures: events and properties to send to analytics products.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use sqlx::types::Json;
use uuid::Uuid;

use crate::db::transact::stir;
use crate::db::{Conn, Result, Topic};
use crate::ids::ContactId;

/// An event of a contact; without a name, only properties.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCapture {
    pub id: Uuid,
    pub contact_id: ContactId,
    pub event: Option<String>,
    pub properties: Properties,
    pub occurred_at: DateTime<Utc>,
}

/// A capture to send to a product.
#[derive(Clone, Debug)]
pub struct ClaimedCapture {
    /// Id of the row for this product.
    pub row: Uuid,
    /// Id of the capture, the same for every product.
    pub id: Uuid,
    /// The person's id at the product; the contact's own id where there is no other.
    pub distinct_id: String,
    pub event: Option<String>,
    pub properties: Properties,
    pub occurred_at: DateTime<Utc>,
    pub attempts: i32,
}

pub async fn capture_insert(
    conn: &mut Conn,
    captures: &[NewCapture],
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<Uuid> = captures.iter().map(|c| c.id).collect();
    let contacts: Vec<ContactId> = captures.iter().map(|c| c.contact_id).collect();
    let events: Vec<Option<String>> = captures.iter().map(|c| c.event.clone()).collect();
    let properties: Vec<Json<&Properties>> = captures.iter().map(|c| Json(&c.properties)).collect();
    let occurred: Vec<DateTime<Utc>> = captures.iter().map(|c| c.occurred_at).collect();
    sqlx::query!(
        "INSERT INTO analytics_outbox (id, contact_id, event, properties, occurred_at,
                                       next_attempt_at)
         SELECT c.*, $6 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::jsonb[],
                                    $5::timestamptz[]) AS c (id, contact_id, event, properties, at)
         -- Whoever is gone is told nothing of.
         JOIN contacts p ON p.id = c.contact_id",
        &ids,
        &contacts as &[ContactId],
        &events as &[Option<String>],
        &properties as &[Json<&Properties>],
        &occurred,
        now
    )
    .execute(conn)
    .await?;
    stir(Topic::Captures);
    Ok(())
}

/// Assigns a batch of due captures to these products, a row each. Captures that are not assigned
/// yet have no product.
///
/// Two workers racing: each skips the rows the other has locked.
pub async fn captures_address(
    conn: &mut Conn,
    products: &[&str],
    limit: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "WITH bare AS (
             SELECT * FROM analytics_outbox WHERE product IS NULL AND next_attempt_at <= $2
             ORDER BY next_attempt_at LIMIT $3 FOR UPDATE SKIP LOCKED),
         copies AS (
             INSERT INTO analytics_outbox (id, contact_id, event, properties, occurred_at,
                                           next_attempt_at, product, capture_id)
             SELECT gen_random_uuid(), b.contact_id, b.event, b.properties, b.occurred_at,
                    b.next_attempt_at, p.product, b.id
             FROM bare b CROSS JOIN unnest(($1::text[])[2:]) AS p (product))
         UPDATE analytics_outbox o SET product = ($1::text[])[1]
         FROM bare WHERE o.id = bare.id",
        products as &[&str],
        now,
        limit
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up a batch of due captures for products that are not active any longer.
pub async fn captures_orphaned(
    conn: &mut Conn,
    products: &[&str],
    limit: i64,
    now: DateTime<Utc>,
) -> Result<u64> {
    let done = sqlx::query!(
        "WITH old AS (
             SELECT id FROM analytics_outbox
             WHERE product IS NOT NULL AND product <> ALL($1) AND next_attempt_at <= $2
             ORDER BY next_attempt_at LIMIT $3 FOR UPDATE SKIP LOCKED),
         gone AS (DELETE FROM analytics_outbox o USING old WHERE o.id = old.id RETURNING o.*)
         INSERT INTO analytics_given_up (id, contact_id, event, properties, occurred_at, error,
                                         created_at, product, capture_id)
         SELECT id, contact_id, event, properties, occurred_at,
                'no plugin ' || product || ' is active any more', $2, product, capture_id
         FROM gone ON CONFLICT DO NOTHING",
        products as &[&str],
        now,
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Claims captures that are due for a product until `lease_until`, in order.
///
/// Two workers racing: each skips the rows the other has locked, and after the commit the rows are
/// no longer due.
pub async fn capture_claim(
    conn: &mut Conn,
    product: &str,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ClaimedCapture>> {
    let rows = sqlx::query!(
        r#"WITH due AS (
               SELECT id FROM analytics_outbox WHERE product = $4 AND next_attempt_at <= $1
               ORDER BY next_attempt_at, coalesce(capture_id, id) LIMIT $3
               FOR UPDATE SKIP LOCKED),
           claimed AS (
               UPDATE analytics_outbox o SET next_attempt_at = $2, attempts = attempts + 1
               FROM due WHERE o.id = due.id RETURNING o.*)
           SELECT c.id, coalesce(c.capture_id, c.id) AS "capture_id!", c.event,
                  c.properties AS "properties: Json<Properties>", c.occurred_at,
                  c.attempts, coalesce(p.external_id, p.id::text) AS "distinct_id!"
           FROM claimed c JOIN contacts p ON p.id = c.contact_id ORDER BY 2"#,
        now,
        lease_until,
        limit,
        product
    )
    .fetch_all(conn)
    .await?;
    let captures = rows.into_iter().map(|row| ClaimedCapture {
        row: row.id,
        id: row.capture_id,
        distinct_id: row.distinct_id,
        event: row.event,
        properties: row.properties.0,
        occurred_at: row.occurred_at,
        attempts: row.attempts,
    });
    Ok(captures.collect())
}

/// Records the keys of captures sent to a product, so that they are duplicates when its webhook
/// sends them back.
pub async fn captures_known(
    conn: &mut Conn,
    source: &str,
    captures: &[Uuid],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO event_keys (source, key, event_id, received_at)
         SELECT $1, c.id::text, c.id, $3 FROM unnest($2::uuid[]) AS c (id) ORDER BY 2
         ON CONFLICT DO NOTHING",
        source,
        captures,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn capture_delete(conn: &mut Conn, rows: &[Uuid]) -> Result<()> {
    sqlx::query!("DELETE FROM analytics_outbox WHERE id = ANY($1)", rows)
        .execute(conn)
        .await?;
    Ok(())
}

/// Makes captures due again at `at`. The caller says whether the attempt counts.
pub async fn capture_retry(
    conn: &mut Conn,
    rows: &[Uuid],
    counted: bool,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE analytics_outbox SET next_attempt_at = $2,
             attempts = CASE WHEN $3 THEN attempts ELSE greatest(attempts - 1, 0) END
         WHERE id = ANY($1)",
        rows,
        at,
        counted
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes captures dead letters, each with its reason.
pub async fn capture_give_up(
    conn: &mut Conn,
    refused: &[(Uuid, String)],
    now: DateTime<Utc>,
) -> Result<()> {
    let rows: Vec<Uuid> = refused.iter().map(|one| one.0).collect();
    let errors: Vec<&str> = refused.iter().map(|one| one.1.as_str()).collect();
    sqlx::query!(
        "WITH why AS (SELECT * FROM unnest($1::uuid[], $2::text[]) AS w (id, error)),
         gone AS (DELETE FROM analytics_outbox o USING why WHERE o.id = why.id
                  RETURNING o.*, why.error)
         INSERT INTO analytics_given_up (id, contact_id, event, properties, occurred_at, error,
                                         created_at, product, capture_id)
         SELECT id, contact_id, event, properties, occurred_at, error, $3, product, capture_id
         FROM gone ON CONFLICT DO NOTHING",
        &rows,
        &errors as &[&str],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes a capture due again that was given up. False where there is no such capture.
pub async fn capture_again(conn: &mut Conn, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "WITH gone AS (DELETE FROM analytics_given_up WHERE id = $1 RETURNING *)
         INSERT INTO analytics_outbox (id, contact_id, event, properties, occurred_at,
                                       next_attempt_at, product, capture_id)
         SELECT id, contact_id, event, properties, occurred_at, $2, product, capture_id FROM gone",
        id,
        now
    )
    .execute(conn)
    .await?;
    stir(Topic::Captures);
    Ok(done.rows_affected() == 1)
}

/// Deletes a capture that was given up. False where there is no such capture.
pub async fn capture_dismiss(conn: &mut Conn, id: Uuid) -> Result<bool> {
    let done = sqlx::query!("DELETE FROM analytics_given_up WHERE id = $1", id)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// When the next capture is due: for one of these products, or not assigned yet.
pub async fn capture_next_due(conn: &mut Conn, products: &[&str]) -> Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT least(
             (SELECT min(next_attempt_at) FROM analytics_outbox WHERE product IS NULL),
             (SELECT min(o.at) FROM unnest($1::text[]) AS p (product) CROSS JOIN LATERAL (
                  SELECT min(next_attempt_at) AS at FROM analytics_outbox
                  WHERE product = p.product) AS o))",
        products as &[&str]
    )
    .fetch_one(conn)
    .await
}

/// A product that accepts nothing for now.
#[derive(Clone, Debug)]
pub struct CaptureHold {
    pub product: String,
    pub reason: String,
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

/// The products that accept nothing for now.
pub async fn capture_holds(conn: &mut Conn) -> Result<Vec<CaptureHold>> {
    sqlx::query_as!(
        CaptureHold,
        "SELECT product, reason, since, until FROM analytics_holds ORDER BY product"
    )
    .fetch_all(conn)
    .await
}

/// Records that a product accepts nothing until then. True where the hold is new.
pub async fn capture_hold(
    conn: &mut Conn,
    product: &str,
    reason: &str,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"INSERT INTO analytics_holds (product, reason, since, until) VALUES ($1, $2, $4, $3)
           ON CONFLICT (product) DO UPDATE SET reason = excluded.reason, until = excluded.until
           RETURNING since = $4 AS "news!""#,
        product,
        reason,
        until,
        now
    )
    .fetch_one(conn)
    .await
}

/// Takes the right to probe a product that accepts nothing. False where another worker has it.
pub async fn capture_probe(
    conn: &mut Conn,
    product: &str,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let ours = sqlx::query!(
        "UPDATE analytics_holds SET until = $2 WHERE product = $1 AND until <= $3",
        product,
        until,
        now
    )
    .execute(conn)
    .await?;
    Ok(ours.rows_affected() == 1)
}

/// Records that a product accepts captures again. True where it was on hold.
pub async fn capture_release(conn: &mut Conn, product: &str) -> Result<bool> {
    let done = sqlx::query!("DELETE FROM analytics_holds WHERE product = $1", product)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}
