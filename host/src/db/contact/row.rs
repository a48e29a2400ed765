//! Contacts.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use hogsend_semantics::address::comparable;
use hogsend_semantics::identity::{Id, Names};
use sqlx::types::Json;

use crate::db::stored::Stored;
use crate::db::transact::{makes_contacts, takes_contacts};
use crate::db::{Conn, Result};
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
    /// A run may wait for this contact's events.
    pub listening: bool,
    /// No trusted source has confirmed that the address is theirs.
    pub email_unconfirmed: bool,
}

impl Contact {
    /// The name callers know the contact by.
    pub fn key(&self) -> String {
        self.external_id
            .clone()
            .or_else(|| self.email.clone())
            .unwrap_or_else(|| self.id.to_string())
    }

    /// The normalised address.
    pub fn address(&self) -> Option<String> {
        self.email.as_deref().map(comparable)
    }
}

/// The names a request gives for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewIdentity {
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub anonymous_id: Option<String>,
    /// Further ids the request gives for them.
    pub also: Vec<Id>,
}

impl NewIdentity {
    /// The names in the form in which they are compared.
    pub fn names(&self) -> Names {
        let own = self.external_id.iter().map(Id::user);
        let anonymous = self.anonymous_id.iter().map(Id::anonymous);
        let mut ids: Vec<Id> = own.chain(anonymous).collect();
        for id in &self.also {
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        Names {
            ids,
            address: self.email.as_deref().map(comparable),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.external_id.is_none()
            && self.email.is_none()
            && self.anonymous_id.is_none()
            && self.also.is_empty()
    }
}

/// These contacts, locked until the transaction ends.
pub async fn contact_lock(conn: &mut Conn, ids: &[ContactId]) -> Result<Vec<Contact>> {
    takes_contacts(ids.iter().copied());
    sqlx::query_as!(
        Contact,
        r#"SELECT id, external_id, email, anonymous_id, properties AS "properties: Stored<Properties>",
                  first_seen_at, last_seen_at, listening, email_unconfirmed
           FROM contacts WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE"#,
        ids as &[ContactId]
    )
    .fetch_all(conn)
    .await
}

pub async fn contact_get(conn: &mut Conn, id: ContactId) -> Result<Option<Contact>> {
    sqlx::query_as!(
        Contact,
        r#"SELECT id, external_id, email, anonymous_id, properties AS "properties: Stored<Properties>",
                  first_seen_at, last_seen_at, listening, email_unconfirmed
           FROM contacts WHERE id = $1"#,
        id as ContactId
    )
    .fetch_optional(conn)
    .await
}

/// Inserts or overwrites contacts; the caller holds the locks of existing ones.
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
    let addresses: Vec<Option<String>> = contacts.iter().map(Contact::address).collect();
    sqlx::query!(
        "INSERT INTO contacts (id, external_id, email, anonymous_id, properties, first_seen_at,
                               last_seen_at, email_unconfirmed, address, address_of, created_at,
                               updated_at)
         SELECT id, external_id, email, anonymous_id, properties, first_seen_at, last_seen_at,
                unconfirmed, address, email, $8, $8
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[],
                     $6::timestamptz[], $7::timestamptz[], $9::boolean[], $10::text[])
              AS new (id, external_id, email, anonymous_id, properties, first_seen_at,
                      last_seen_at, unconfirmed, address)
         ON CONFLICT (id) DO UPDATE SET
             external_id = excluded.external_id, email = excluded.email,
             address = excluded.address, address_of = excluded.address_of,
             anonymous_id = excluded.anonymous_id, properties = excluded.properties,
             first_seen_at = least(contacts.first_seen_at, excluded.first_seen_at),
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
        &unconfirmed,
        &addresses as &[Option<String>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records values a source sent that could not be stored, before those recorded earlier.
pub async fn contact_unfit(
    conn: &mut Conn,
    id: ContactId,
    newest: &serde_json::Value,
    max: i64,
) -> Result<()> {
    sqlx::query!(
        "UPDATE contacts SET unfit = (
             SELECT jsonb_agg(item ORDER BY place) FROM (
                 SELECT item, place
                 FROM jsonb_array_elements($2::jsonb || coalesce(contacts.unfit, '[]'))
                      WITH ORDINALITY AS all_of_them (item, place)
                 ORDER BY place LIMIT $3) AS newest)
         WHERE id = $1",
        id as ContactId,
        newest,
        max
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Confirms the contact's address: somebody who reads its mail did so.
pub async fn contact_confirm(conn: &mut Conn, id: ContactId, now: DateTime<Utc>) -> Result<()> {
    takes_contacts(std::iter::once(id));
    sqlx::query!(
        "UPDATE contacts SET email_unconfirmed = false, updated_at = $2
         WHERE id = $1 AND email_unconfirmed",
        id as ContactId,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The latest values sources sent that could not be stored.
pub async fn contact_unfit_of(conn: &mut Conn, id: ContactId) -> Result<Option<serde_json::Value>> {
    let found = sqlx::query_scalar!("SELECT unfit FROM contacts WHERE id = $1", id as ContactId)
        .fetch_optional(conn)
        .await?;
    Ok(found.flatten())
}

/// Sets properties of a contact; other properties stay.
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

/// Contacts without the normalised form of their address, as older versions leave them.
pub async fn contacts_not_addressed(
    conn: &mut Conn,
    limit: i64,
) -> Result<Vec<(ContactId, Option<String>)>> {
    let found = sqlx::query!(
        r#"SELECT id AS "id: ContactId", email FROM contacts
           WHERE email IS DISTINCT FROM address_of
           ORDER BY id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED"#,
        limit
    )
    .map(|row| (row.id, row.email))
    .fetch_all(conn)
    .await?;
    Ok(found)
}

/// Writes the normalised form of the addresses that [`contacts_not_addressed`] found. Returns how
/// many addresses belong to several contacts without an external id.
pub async fn contacts_address(
    conn: &mut Conn,
    rows: &[(ContactId, Option<String>)],
) -> Result<i64> {
    let ids: Vec<ContactId> = rows.iter().map(|(id, _)| *id).collect();
    let addresses: Vec<Option<String>> = rows
        .iter()
        .map(|(_, email)| email.as_deref().map(comparable))
        .collect();
    sqlx::query!(
        "UPDATE contacts c SET address = n.address, address_of = c.email
         FROM unnest($1::uuid[], $2::text[]) AS n (id, address) WHERE c.id = n.id",
        &ids as &[ContactId],
        &addresses as &[Option<String>]
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT FROM contacts WHERE address = ANY($1) AND external_id IS NULL
               GROUP BY address HAVING count(*) > 1) AS shared"#,
        &addresses as &[Option<String>]
    )
    .fetch_one(conn)
    .await
}
