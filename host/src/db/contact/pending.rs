//! Changes to contacts that untrusted events ask for and an administrator has to decide.

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};
use crate::ids::{ContactId, EventId, PendingId};

/// Changes stored for one contact; untrusted callers can ask for any number.
const EACH: i64 = 20;
/// Rows are counted up to this number.
pub const PENDING_COUNTED: i64 = 10_000;

/// A change to a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingChange {
    /// It gets this address, which is normalised.
    Address(String),
    /// It is merged with another contact.
    Unite(ContactId),
}

/// A change to store.
#[derive(Clone, Debug)]
pub struct NewPending {
    pub contact: ContactId,
    pub change: PendingChange,
    pub source: String,
    pub event: EventId,
}

/// A pending change, with the contacts' current names.
#[derive(Clone, Debug)]
pub struct PendingRow {
    pub id: PendingId,
    pub contact_id: ContactId,
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub address: Option<String>,
    pub other_id: Option<ContactId>,
    pub other_external_id: Option<String>,
    pub other_email: Option<String>,
    pub source: String,
    pub event_id: EventId,
    pub created_at: DateTime<Utc>,
}

impl PendingRow {
    pub fn change(&self) -> Option<PendingChange> {
        let address = self.address.clone().map(PendingChange::Address);
        address.or_else(|| self.other_id.map(PendingChange::Unite))
    }
}

/// Stores changes, each once; a contact with 20 of them gets no further ones. The caller holds the
/// contacts' locks, so that number is exact. Returns how many are new.
pub async fn pending_put(
    conn: &mut Conn,
    changes: &[NewPending],
    now: DateTime<Utc>,
) -> Result<usize> {
    if changes.is_empty() {
        return Ok(0);
    }
    let ids: Vec<PendingId> = changes.iter().map(|_| PendingId::new(now)).collect();
    let contacts: Vec<ContactId> = changes.iter().map(|one| one.contact).collect();
    let mut addresses: Vec<Option<&str>> = Vec::with_capacity(changes.len());
    let mut others: Vec<Option<ContactId>> = Vec::with_capacity(changes.len());
    for one in changes {
        let (address, other) = match &one.change {
            PendingChange::Address(address) => (Some(address.as_str()), None),
            PendingChange::Unite(other) => (None, Some(*other)),
        };
        addresses.push(address);
        others.push(other);
    }
    let sources: Vec<&str> = changes.iter().map(|one| one.source.as_str()).collect();
    let events: Vec<EventId> = changes.iter().map(|one| one.event).collect();
    let done = sqlx::query!(
        "INSERT INTO pending_changes (id, contact_id, address, other_id, source, event_id,
                                      created_at)
         SELECT id, contact_id, address, other_id, source, event_id, $7
         FROM (SELECT *, row_number() OVER (PARTITION BY contact_id ORDER BY id) AS place
               FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::uuid[])
                    AS new (id, contact_id, address, other_id, source, event_id)) AS n
         WHERE place + (SELECT count(*) FROM pending_changes p
                        WHERE p.contact_id = n.contact_id) <= $8
           AND EXISTS (SELECT FROM contacts c WHERE c.id = n.contact_id)
           AND (other_id IS NULL OR EXISTS (SELECT FROM contacts c WHERE c.id = n.other_id))
         ORDER BY contact_id, id
         ON CONFLICT DO NOTHING",
        &ids as &[PendingId],
        &contacts as &[ContactId],
        &addresses as &[Option<&str>],
        &others as &[Option<ContactId>],
        &sources as &[&str],
        &events as &[EventId],
        now,
        EACH
    )
    .execute(conn)
    .await?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or_default())
}

/// Selects the changes that meet a condition.
macro_rules! pending_where {
    ($condition:literal, $($value:expr),+) => {
        sqlx::query_as!(
            PendingRow,
            r#"SELECT p.id AS "id: PendingId", p.contact_id AS "contact_id: ContactId", c.external_id,
                  c.email, p.address, p.other_id AS "other_id: ContactId",
                  o.external_id AS "other_external_id?", o.email AS "other_email?", p.source,
                  p.event_id AS "event_id: EventId", p.created_at
           FROM pending_changes p JOIN contacts c ON c.id = p.contact_id
                LEFT JOIN contacts o ON o.id = p.other_id
           "# + $condition,
            $($value),+
        )
    };
}

/// Pending changes, longest waiting first; of one contact, or all.
pub async fn pending_list(
    conn: &mut Conn,
    contact: Option<ContactId>,
    limit: i64,
    offset: i64,
) -> Result<Vec<PendingRow>> {
    pending_where!(
        "WHERE $1::uuid IS NULL OR p.contact_id = $1 OR p.other_id = $1
           ORDER BY p.id LIMIT $2 OFFSET $3",
        contact as Option<ContactId>,
        limit,
        offset
    )
    .fetch_all(conn)
    .await
}

pub async fn pending_get(conn: &mut Conn, id: PendingId) -> Result<Option<PendingRow>> {
    pending_where!("WHERE p.id = $1", id as PendingId)
        .fetch_optional(conn)
        .await
}

/// True where there was such a change: of two administrators who decide at once, one finds it gone.
pub async fn pending_delete(conn: &mut Conn, id: PendingId) -> Result<bool> {
    let done = sqlx::query!("DELETE FROM pending_changes WHERE id = $1", id as PendingId)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Deletes the changes to an address that the contact now has. `addresses` holds each contact's
/// normalised address.
pub async fn pending_settle(
    conn: &mut Conn,
    contacts: &[ContactId],
    addresses: &[String],
) -> Result<()> {
    sqlx::query!(
        "DELETE FROM pending_changes p
         USING unnest($1::uuid[], $2::text[]) AS now (contact_id, address)
         WHERE p.contact_id = now.contact_id AND p.address = now.address",
        contacts as &[ContactId],
        addresses
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many changes are pending, counted up to [`PENDING_COUNTED`]; of one contact, or all.
pub async fn pending_count(conn: &mut Conn, contact: Option<ContactId>) -> Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT FROM pending_changes
               WHERE $1::uuid IS NULL OR contact_id = $1 OR other_id = $1 LIMIT $2) AS counted"#,
        contact as Option<ContactId>,
        PENDING_COUNTED
    )
    .fetch_one(conn)
    .await
}

/// Moves the changes of the contact that is merged away to the one that stays.
pub(super) async fn pending_merge(conn: &mut Conn, keep: ContactId, gone: ContactId) -> Result<()> {
    sqlx::query!(
        "INSERT INTO pending_changes (id, contact_id, address, other_id, source, event_id,
                                      created_at)
         SELECT gen_random_uuid(), CASE WHEN contact_id = $2 THEN $1 ELSE contact_id END, address,
                CASE WHEN other_id = $2 THEN $1 ELSE other_id END, source, event_id, created_at
         FROM pending_changes
         WHERE (contact_id = $2 AND other_id IS DISTINCT FROM $1)
            OR (other_id = $2 AND contact_id <> $1)
         ON CONFLICT DO NOTHING",
        keep as ContactId,
        gone as ContactId
    )
    .execute(conn)
    .await?;
    Ok(())
}
