//! Contacts.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use sqlx::types::Json;

use super::transact::{makes_contacts, takes_contacts, takes_names};
use super::{Conn, Result};
use crate::ids::ContactId;

#[derive(Clone, Debug, PartialEq)]
pub struct Contact {
    pub id: ContactId,
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub anonymous_id: Option<String>,
    pub properties: Properties,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// A run may wait for their events.
    pub listening: bool,
    /// Nobody who is believed has said that the address is theirs.
    pub email_unconfirmed: bool,
}

impl Contact {
    /// What callers know the person by.
    pub fn key(&self) -> String {
        self.external_id
            .clone()
            .or_else(|| self.email.clone())
            .unwrap_or_else(|| self.id.to_string())
    }
}

/// The names a request gives a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewIdentity {
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub anonymous_id: Option<String>,
}

/// Above this many names the lock table of the server would fill up.
const FINE_LOCKS: usize = 256;

/// Makes transactions that name the same people take turns until they end, so that none of them
/// creates a contact the other creates as well. `names` need not be sorted or unique.
///
/// Two workers racing: both lock in ascending order, so one waits for the other and neither waits
/// in a circle.
pub async fn identity_lock(conn: &mut Conn, names: &[i64]) -> Result<()> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    takes_names(&names);
    if names.len() > FINE_LOCKS {
        // Key 0 stands for everyone: large batches exclude all others.
        sqlx::query!("SELECT pg_advisory_xact_lock(0, 0)")
            .execute(conn)
            .await?;
        return Ok(());
    }
    sqlx::query!(
        "SELECT pg_advisory_xact_lock_shared(0, 0) UNION ALL
         SELECT pg_advisory_xact_lock(name) FROM unnest($1::bigint[]) AS name",
        &names
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Every contact with one of these ids or names, locked until the transaction ends. E-mail addresses
/// are compared in lower case; `emails` holds them so.
pub async fn contacts_by_identity(
    conn: &mut Conn,
    ids: &[ContactId],
    external_ids: &[String],
    emails: &[String],
    anonymous_ids: &[String],
) -> Result<Vec<Contact>> {
    let found = sqlx::query_as!(
        Row,
        r#"SELECT id, external_id, email, anonymous_id, properties AS "properties: Json<Properties>",
                  first_seen_at, last_seen_at, listening, email_unconfirmed
           FROM contacts
           WHERE id IN (
               SELECT unnest($4::uuid[])
               UNION SELECT id FROM contacts WHERE external_id = ANY($1)
               UNION SELECT id FROM contacts WHERE lower(email) = ANY($2)
               UNION SELECT id FROM contacts WHERE anonymous_id = ANY($3))
           ORDER BY id FOR NO KEY UPDATE"#,
        external_ids,
        emails,
        anonymous_ids,
        ids as &[ContactId]
    )
    .map(Contact::from)
    .fetch_all(conn)
    .await?;
    takes_contacts(found.iter().map(|contact| contact.id));
    Ok(found)
}

/// A contact and its address.
#[derive(Clone, Debug)]
pub struct Holder {
    pub id: ContactId,
    pub email: Option<String>,
}

/// These contacts, and all who hold one of these normalised addresses.
pub async fn contacts_holding(
    conn: &mut Conn,
    ids: &[ContactId],
    addresses: &[String],
) -> Result<Vec<Holder>> {
    sqlx::query_as!(
        Holder,
        r#"SELECT id AS "id: ContactId", email FROM contacts
           WHERE id IN (SELECT unnest($1::uuid[])
                        UNION SELECT id FROM contacts WHERE lower(email) = ANY($2))
           ORDER BY id"#,
        ids as &[ContactId],
        addresses
    )
    .fetch_all(conn)
    .await
}

/// As [`contacts_holding`]; they are locked until the transaction ends.
pub async fn contacts_holding_lock(
    conn: &mut Conn,
    ids: &[ContactId],
    addresses: &[String],
) -> Result<Vec<Holder>> {
    let found = sqlx::query_as!(
        Holder,
        r#"SELECT id AS "id: ContactId", email FROM contacts
           WHERE id IN (SELECT unnest($1::uuid[])
                        UNION SELECT id FROM contacts WHERE lower(email) = ANY($2))
           ORDER BY id FOR NO KEY UPDATE"#,
        ids as &[ContactId],
        addresses
    )
    .fetch_all(conn)
    .await?;
    takes_contacts(found.iter().map(|holder| holder.id));
    Ok(found)
}

/// These contacts, locked until the transaction ends.
pub async fn contact_lock(conn: &mut Conn, ids: &[ContactId]) -> Result<Vec<Contact>> {
    takes_contacts(ids.iter().copied());
    sqlx::query_as!(
        Row,
        r#"SELECT id, external_id, email, anonymous_id, properties AS "properties: Json<Properties>",
                  first_seen_at, last_seen_at, listening, email_unconfirmed
           FROM contacts WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE"#,
        ids as &[ContactId]
    )
    .map(Contact::from)
    .fetch_all(conn)
    .await
}

pub async fn contact_get(conn: &mut Conn, id: ContactId) -> Result<Option<Contact>> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, external_id, email, anonymous_id, properties AS "properties: Json<Properties>",
                  first_seen_at, last_seen_at, listening, email_unconfirmed
           FROM contacts WHERE id = $1"#,
        id as ContactId
    )
    .map(Contact::from)
    .fetch_optional(conn)
    .await
}

/// Writes contacts whole, new ones and locked ones alike.
pub async fn contact_upsert(
    conn: &mut Conn,
    contacts: &[Contact],
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<ContactId> = contacts.iter().map(|c| c.id).collect();
    makes_contacts(ids.iter().copied());
    let external_ids: Vec<Option<String>> =
        contacts.iter().map(|c| c.external_id.clone()).collect();
    let emails: Vec<Option<String>> = contacts.iter().map(|c| c.email.clone()).collect();
    let anonymous: Vec<Option<String>> = contacts.iter().map(|c| c.anonymous_id.clone()).collect();
    let properties: Vec<Json<&Properties>> = contacts.iter().map(|c| Json(&c.properties)).collect();
    let first: Vec<DateTime<Utc>> = contacts.iter().map(|c| c.first_seen_at).collect();
    let last: Vec<DateTime<Utc>> = contacts.iter().map(|c| c.last_seen_at).collect();
    let unconfirmed: Vec<bool> = contacts.iter().map(|c| c.email_unconfirmed).collect();
    sqlx::query!(
        "INSERT INTO contacts (id, external_id, email, anonymous_id, properties, first_seen_at,
                               last_seen_at, email_unconfirmed, created_at, updated_at)
         SELECT *, $8, $8 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[],
                                      $6::timestamptz[], $7::timestamptz[], $9::boolean[])
         ON CONFLICT (id) DO UPDATE SET
             external_id = excluded.external_id, email = excluded.email,
             anonymous_id = excluded.anonymous_id, properties = excluded.properties,
             last_seen_at = excluded.last_seen_at,
             email_unconfirmed = excluded.email_unconfirmed, updated_at = excluded.updated_at",
        &ids as &[ContactId],
        &external_ids as &[Option<String>],
        &emails as &[Option<String>],
        &anonymous as &[Option<String>],
        &properties as &[Json<&Properties>],
        &first,
        &last,
        now,
        &unconfirmed
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets properties of a contact, leaving the others alone.
pub async fn contact_set_properties(
    conn: &mut Conn,
    id: ContactId,
    properties: &Properties,
    now: DateTime<Utc>,
) -> Result<()> {
    takes_contacts(std::iter::once(id));
    sqlx::query!(
        "UPDATE contacts SET properties = properties || $2, updated_at = $3 WHERE id = $1",
        id as ContactId,
        Json(properties) as Json<&Properties>,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct Row {
    id: uuid::Uuid,
    external_id: Option<String>,
    email: Option<String>,
    anonymous_id: Option<String>,
    properties: Json<Properties>,
    first_seen_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    listening: bool,
    email_unconfirmed: bool,
}

impl From<Row> for Contact {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            external_id: row.external_id,
            email: row.email,
            anonymous_id: row.anonymous_id,
            properties: row.properties.0,
            first_seen_at: row.first_seen_at,
            last_seen_at: row.last_seen_at,
            listening: row.listening,
            email_unconfirmed: row.email_unconfirmed,
        }
    }
}

/// A contact as it is shown.
#[derive(Clone, Debug)]
pub struct ContactRow {
    pub id: ContactId,
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub properties: Properties,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A [`ContactRow`] as the table has it.
pub(super) struct ShownRow {
    pub id: ContactId,
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub properties: Json<Properties>,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl From<ShownRow> for ContactRow {
    fn from(row: ShownRow) -> Self {
        Self {
            id: row.id,
            external_id: row.external_id,
            email: row.email,
            properties: row.properties.0,
            first_seen_at: row.first_seen_at,
            last_seen_at: row.last_seen_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Everyone with this id of the product or this address, the longest known first.
pub async fn contacts_find(
    conn: &mut Conn,
    external_id: Option<&str>,
    email: Option<&str>,
) -> Result<Vec<ContactRow>> {
    sqlx::query_as!(
        ShownRow,
        r#"SELECT id AS "id: ContactId", external_id, email,
                  properties AS "properties: Json<Properties>", first_seen_at, last_seen_at,
                  created_at, updated_at
           FROM contacts WHERE external_id = $1 OR lower(email) = lower($2) ORDER BY id LIMIT 100"#,
        external_id,
        email
    )
    .map(ContactRow::from)
    .fetch_all(conn)
    .await
}
