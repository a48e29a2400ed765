//! Creates and changes contacts without an event of theirs, and stores the events that follow.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;

use super::store;
use crate::catalog::Catalog;
use crate::contacts::{self, Person, Resolved, Touch, Whom};
use crate::db::{self, Conn, Contact, NewIdentity, PendingChange, PendingRow};
use crate::enrolment;
use crate::ids::EventId;

/// Result of a request about a contact.
#[derive(Clone, Debug)]
pub struct Put {
    pub contact: Arc<Contact>,
    pub created: bool,
    /// An existing contact gained a name, or two contacts were merged.
    pub linked: bool,
}

/// Finds or creates the contact with these names and gives it the properties, in the caller's
/// transaction. None if it was not stored.
pub async fn put(
    conn: &mut Conn,
    catalog: &Catalog,
    names: &NewIdentity,
    properties: Properties,
    now: DateTime<Utc>,
) -> db::Result<Option<Put>> {
    let people = vec![(names.clone(), properties)];
    let put = put_all(conn, catalog, people, now).await?;
    Ok(put.and_then(|all| all.into_iter().next()))
}

/// As [`put`], for several people; the results are in their order. Several of them may be the same
/// contact. None if one of them was not stored.
pub async fn put_all(
    conn: &mut Conn,
    catalog: &Catalog,
    people: Vec<(NewIdentity, Properties)>,
    now: DateTime<Utc>,
) -> db::Result<Option<Vec<Put>>> {
    let people: Vec<(Person, Properties)> = people
        .into_iter()
        .map(|(names, properties)| (Person::Names(names), properties))
        .collect();
    contacts::lock_names(conn, people.iter().map(|(person, _)| person)).await?;
    let touches = people
        .iter()
        .map(|(person, properties)| Touch::asked(EventId::new(now), "api", person, properties));
    let resolved = contacts::resolve(conn, touches, true, now).await?;
    let put = |whom: &Whom| {
        let contact = whom.contact()?.clone();
        Some(Put {
            created: resolved.made.contains(&contact.id),
            linked: resolved.linked.contains(&contact.id),
            contact,
        })
    };
    let put: Option<Vec<Put>> = resolved.people.iter().map(put).collect();
    if put.is_none() {
        return Ok(None);
    }
    follow(conn, catalog, now, resolved).await?;
    Ok(put)
}

/// Stores the events that follow when contacts were created, changed or merged without an event of
/// theirs. The caller holds their locks.
pub async fn follow(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    resolved: Resolved,
) -> db::Result<()> {
    enrolment::offer_again(conn, catalog, now, &resolved.reachable).await?;
    if !resolved.follows.is_empty() {
        let events = resolved.follows.into_iter().map(Into::into).collect();
        store(conn, catalog, now, events).await?;
    }
    Ok(())
}

/// Applies a pending change as a trusted call would, and deletes the pending row. False if another
/// contact has one of the names or a contact is gone; the caller must then roll its transaction back.
pub async fn apply_pending(
    conn: &mut Conn,
    catalog: &Catalog,
    pending: &PendingRow,
    now: DateTime<Utc>,
) -> db::Result<bool> {
    let done = match pending.change() {
        Some(PendingChange::Address(address)) => {
            give_address(conn, catalog, pending, &address, now).await?
        }
        Some(PendingChange::Unite(other)) => {
            let pair = (pending.contact_id, other);
            match contacts::unite(conn, pair, "administrator", now).await? {
                Some(resolved) => {
                    follow(conn, catalog, now, resolved).await?;
                    true
                }
                None => false,
            }
        }
        None => false,
    };
    if done {
        db::pending_delete(conn, pending.id).await?;
    }
    Ok(done)
}

async fn give_address(
    conn: &mut Conn,
    catalog: &Catalog,
    pending: &PendingRow,
    address: &str,
    now: DateTime<Utc>,
) -> db::Result<bool> {
    let names = NewIdentity {
        external_id: pending.external_id.clone(),
        email: Some(address.to_owned()),
        ..NewIdentity::default()
    };
    if names.external_id.is_some() {
        // A contact that has this address and no product id is the same person: merge it.
        let put = put(conn, catalog, &names, Default::default(), now).await?;
        return Ok(put.is_some_and(|put| put.contact.id == pending.contact_id));
    }
    if !contacts::claim(conn, pending.contact_id, &names)
        .await?
        .is_empty()
    {
        return Ok(false);
    }
    let found = db::contact_lock(conn, &[pending.contact_id]).await?;
    let Some(mut contact) = found.into_iter().next() else {
        return Ok(false);
    };
    contact.email = names.email;
    contact.email_unconfirmed = false;
    db::contact_upsert(conn, &[contact], now).await?;
    Ok(true)
}
