//! Finding and locking the contacts that a request may be about.

use std::collections::HashSet;

use hogsend_plugin_api::Properties;
use hogsend_semantics::identity::{ANONYMOUS, Id, USER};
use sqlx::types::Json;

use super::row::Contact;
use crate::db::transact::{moved, takes_contacts, takes_names};
use crate::db::{Conn, Result};
use crate::ids::ContactId;

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
