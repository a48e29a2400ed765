//! The audit log: what administrators changed.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::db::{Conn, Result};
use crate::ids::{self, ContactId};

pub struct NewAudit<'a> {
    pub actor_type: &'a str,
    pub actor_id: Option<String>,
    pub actor_name: &'a str,
    pub action: &'a str,
    pub resource_type: &'a str,
    pub resource_id: &'a str,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

pub struct AuditRow {
    pub id: Uuid,
    pub actor_type: String,
    pub actor_id: Option<String>,
    pub actor_name: String,
    pub action: String,
    pub resource_type: String,
    pub resource_id: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub created_at: DateTime<Utc>,
}

/// Which rows to list; `None` does not filter.
#[derive(Default)]
pub struct AuditFilter {
    pub action: Option<String>,
    pub resource_type: Option<String>,
    pub resource_id: Option<String>,
    /// The last row of the page before; the offset counts from there.
    pub after: Option<(DateTime<Utc>, Uuid)>,
}

pub async fn audit_insert(conn: &mut Conn, row: &NewAudit<'_>, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "INSERT INTO audit_logs (id, actor_type, actor_id, actor_name, action, resource_type,
                                 resource_id, before, after, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        ids::at(now),
        row.actor_type,
        row.actor_id,
        row.actor_name,
        row.action,
        row.resource_type,
        row.resource_id,
        row.before,
        row.after,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A page of rows, newest first, and the total count.
pub async fn audits_list(
    conn: &mut Conn,
    filter: &AuditFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<AuditRow>, i64)> {
    let (after_at, after_id) = filter.after.unzip();
    let rows = sqlx::query_as!(
        AuditRow,
        r#"SELECT id, actor_type, actor_id, actor_name, action, resource_type, resource_id,
                  before, after, created_at
           FROM audit_logs
           WHERE ($1::text IS NULL OR action = $1)
             AND ($2::text IS NULL OR resource_type = $2)
             AND ($3::text IS NULL OR resource_id = $3)
             AND ($4::timestamptz IS NULL OR (created_at, id) < ($4, $5::uuid))
           ORDER BY created_at DESC, id DESC LIMIT $6 OFFSET $7"#,
        filter.action,
        filter.resource_type,
        filter.resource_id,
        after_at,
        after_id,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"SELECT count(*) AS "total!" FROM audit_logs
           WHERE ($1::text IS NULL OR action = $1)
             AND ($2::text IS NULL OR resource_type = $2)
             AND ($3::text IS NULL OR resource_id = $3)"#,
        filter.action,
        filter.resource_type,
        filter.resource_id
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}

/// Removes what identifies erased people. Rows about the contacts lose external id and address;
/// other rows that contain one of `names` (in lower case) lose their whole content.
pub async fn audits_forget(
    conn: &mut Conn,
    contacts: &[ContactId],
    names: &[String],
) -> Result<()> {
    let ids: Vec<String> = contacts.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "UPDATE audit_logs SET before = before - 'externalId' - 'email',
                               after = after - 'externalId' - 'email'
         WHERE resource_type = 'contact' AND resource_id = ANY($1)",
        &ids
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"UPDATE audit_logs a
           SET before = CASE WHEN a.before IS NOT NULL THEN '{"erased": true}'::jsonb END,
               after = CASE WHEN a.after IS NOT NULL THEN '{"erased": true}'::jsonb END,
               resource_id = CASE WHEN lower(a.resource_id) = ANY($1) THEN 'erased'
                                  ELSE a.resource_id END
           WHERE lower(a.resource_id) = ANY($1)
              OR EXISTS (
                  SELECT FROM unnest($1::text[]) AS n (name)
                  WHERE position(to_jsonb(n.name)::text IN
                                 lower(concat(a.before::text, a.after::text))) > 0)"#,
        names
    )
    .execute(conn)
    .await?;
    Ok(())
}
