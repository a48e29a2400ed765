//! Contacts.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use hogsend_semantics::address::comparable;
use hogsend_semantics::identity::{ANONYMOUS, Id, Names, USER};
use sqlx::types::Json;

use crate::db::transact::{makes_contacts, moved, takes_contacts, takes_names};
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

/// Above this many names the server's lock table would fill up.
const FINE_LOCKS: usize = 256;

/// Locks names until the transaction ends, so that two transactions that name the same person do
/// not both create a contact. `names` need not be sorted or unique.
///
/// Two transactions racing: both lock in ascending order, so one waits for the other and they
/// cannot deadlock.
pub async fn identity_lock(conn: &mut Conn, names: &[i64]) -> Result<()> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    takes_names(&names);
    if names.len() > FINE_LOCKS {
        // Key 0 covers all names: a large batch excludes all others.
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

/// The contacts to find.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Contacts by id; they may have been deleted meanwhile.
    pub contacts: Vec<ContactId>,
    pub ids: Vec<Id>,
    /// Normalised.
    pub addresses: Vec<String>,
}

/// A contact, and which of the requested ids it has.
#[derive(Clone, Debug)]
pub struct Found {
    pub contact: Contact,
    pub ids: Vec<Id>,
}

/// Every wanted contact, locked until the transaction ends. Addresses stored by an older version
/// are matched by Postgres' `lower()`, so the caller compares them again.
///
/// # Errors Where a contact was merged into another one while its lock was awaited, an error that
/// makes [`Db::transact`](crate::db::Db::transact) run again.
pub async fn contacts_wanted(conn: &mut Conn, wanted: &Wanted) -> Result<Vec<Found>> {
    let of = |kind: &str| {
        let ids = wanted.ids.iter().filter(|id| id.kind == kind);
        ids.map(|id| id.value.clone()).collect::<Vec<String>>()
    };
    let kinds: Vec<&str> = wanted.ids.iter().map(|id| id.kind.as_str()).collect();
    let values: Vec<&str> = wanted.ids.iter().map(|id| id.value.as_str()).collect();
    let (users, devices) = (of(USER), of(ANONYMOUS));
    let rows = sqlx::query!(
        r#"WITH owned AS MATERIALIZED (
               SELECT i.contact_id AS id, i.kind || ':' || i.value AS name
               FROM unnest($4::text[], $5::text[]) AS n (kind, value)
               JOIN contact_identities i ON i.kind = n.kind AND i.value = n.value),
           named AS MATERIALIZED (
               SELECT id FROM owned
               UNION SELECT c.id FROM unnest($2::text[]) AS n (name)
                     JOIN contacts c ON c.external_id = n.name
               UNION SELECT c.id FROM unnest($3::text[]) AS n (name)
                     JOIN contacts c ON c.anonymous_id = n.name
               UNION SELECT c.id FROM unnest($6::text[]) AS n (name)
                     JOIN contacts c ON c.address = n.name
               UNION SELECT c.id FROM unnest($6::text[]) AS n (name)
                     JOIN contacts c ON lower(c.email) = n.name),
           held AS MATERIALIZED (
               SELECT id, external_id, email, anonymous_id, properties, first_seen_at, last_seen_at,
                      listening, email_unconfirmed
               FROM contacts
               WHERE id = ANY(ARRAY(SELECT id FROM named UNION SELECT unnest($1::uuid[])))
               ORDER BY id FOR NO KEY UPDATE)
           SELECT coalesce(h.id, n.id) AS "id!", h.id IS NOT NULL AS "held!",
                  h.external_id AS "external_id?", h.email AS "email?",
                  h.anonymous_id AS "anonymous_id?",
                  h.properties AS "properties?: Json<Properties>",
                  h.first_seen_at AS "first_seen_at?", h.last_seen_at AS "last_seen_at?",
                  h.listening AS "listening?", h.email_unconfirmed AS "email_unconfirmed?",
                  o.names AS "names?: Vec<String>"
           FROM held h FULL JOIN named n ON n.id = h.id
           LEFT JOIN (SELECT id, array_agg(name) AS names FROM owned GROUP BY id) o
               ON o.id = h.id
           ORDER BY 1"#,
        &wanted.contacts as &[ContactId],
        &users,
        &devices,
        &kinds as &[&str],
        &values as &[&str],
        &wanted.addresses
    )
    .fetch_all(conn)
    .await?;
    let asked: HashSet<&Id> = wanted.ids.iter().collect();
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let (Some(first_seen_at), Some(last_seen_at), Some(properties)) =
            (row.first_seen_at, row.last_seen_at, row.properties)
        else {
            return Err(moved());
        };
        let names = row.names.unwrap_or_default();
        let mut ids: Vec<Id> = names.iter().filter_map(|name| id_of(name)).collect();
        let own = row.external_id.iter().map(Id::user);
        let own = own.chain(row.anonymous_id.iter().map(Id::anonymous));
        for id in own {
            if asked.contains(&id) && !ids.contains(&id) {
                ids.push(id);
            }
        }
        let contact = Contact {
            id: row.id.into(),
            external_id: row.external_id,
            email: row.email,
            anonymous_id: row.anonymous_id,
            properties: properties.0,
            first_seen_at,
            last_seen_at,
            listening: row.listening.unwrap_or_default(),
            email_unconfirmed: row.email_unconfirmed.unwrap_or_default(),
        };
        found.push(Found { contact, ids });
    }
    takes_contacts(found.iter().map(|one| one.contact.id));
    Ok(found)
}

/// Parses `kind:value`, the form in which a row holds several ids.
pub(super) fn id_of(name: &str) -> Option<Id> {
    let (kind, value) = name.split_once(':')?;
    Some(Id::new(kind, value))
}

/// A contact and its address.
#[derive(Clone, Debug)]
pub struct Holder {
    pub id: ContactId,
    pub email: Option<String>,
}

/// These contacts, and all contacts with one of these normalised addresses.
pub async fn contacts_holding(
    conn: &mut Conn,
    ids: &[ContactId],
    addresses: &[String],
) -> Result<Vec<Holder>> {
    sqlx::query_as!(
        Holder,
        r#"SELECT id AS "id: ContactId", email FROM contacts
           WHERE id = ANY(ARRAY(SELECT unnest($1::uuid[])
                                UNION SELECT id FROM contacts WHERE address = ANY($2)
                                UNION SELECT id FROM contacts WHERE lower(email) = ANY($2)))
           ORDER BY id"#,
        ids as &[ContactId],
        addresses
    )
    .fetch_all(conn)
    .await
}

/// Like [`contacts_holding`]; they are locked until the transaction ends.
pub async fn contacts_holding_lock(
    conn: &mut Conn,
    ids: &[ContactId],
    addresses: &[String],
) -> Result<Vec<Holder>> {
    let found = sqlx::query_as!(
        Holder,
        r#"SELECT id AS "id: ContactId", email FROM contacts
           WHERE id = ANY(ARRAY(SELECT unnest($1::uuid[])
                                UNION SELECT id FROM contacts WHERE address = ANY($2)
                                UNION SELECT id FROM contacts WHERE lower(email) = ANY($2)))
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

/// A contact as shown to administrators.
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

/// A [`ContactRow`] as stored.
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

/// Every contact with this external id or this address, oldest first.
pub async fn contacts_find(
    conn: &mut Conn,
    external_id: Option<&str>,
    email: Option<&str>,
) -> Result<Vec<ContactRow>> {
    let address = email.map(comparable);
    let found = sqlx::query_as!(
        ShownRow,
        r#"SELECT id AS "id: ContactId", external_id, email,
                  properties AS "properties: Json<Properties>", first_seen_at, last_seen_at,
                  created_at, updated_at
           FROM contacts WHERE id = ANY(ARRAY(
               SELECT id FROM contacts WHERE external_id = $1
               UNION SELECT contact_id FROM contact_identities WHERE kind = 'user' AND value = $1
               UNION SELECT id FROM contacts WHERE address = $2
               UNION SELECT id FROM contacts WHERE lower(email) = $2))
           ORDER BY id LIMIT 100"#,
        external_id,
        address
    )
    .map(|row| {
        let same = address.is_some() && row.email.as_deref().map(comparable) == address;
        (same, ContactRow::from(row))
    })
    .fetch_all(&mut *conn)
    .await?;
    // `lower()` alone also matches addresses of older versions that are different ones.
    let (same, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(same, _)| *same);
    let mut all: Vec<ContactRow> = same.into_iter().map(|(_, row)| row).collect();
    if external_id.is_some() {
        let by_id = match external_id {
            Some(id) => contact_by_user(conn, id).await?,
            None => None,
        };
        all.extend(
            others
                .into_iter()
                .map(|(_, row)| row)
                .filter(|row| Some(row.id) == by_id),
        );
        all.sort_by_key(|row| row.id);
    }
    Ok(all)
}

/// The contact with this external id.
pub async fn contact_by_user(conn: &mut Conn, id: &str) -> Result<Option<ContactId>> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id!: ContactId" FROM (
               SELECT id FROM contacts WHERE external_id = $1
               UNION SELECT contact_id FROM contact_identities WHERE kind = 'user' AND value = $1)
               AS found
           ORDER BY id LIMIT 1"#,
        id
    )
    .fetch_optional(conn)
    .await
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
