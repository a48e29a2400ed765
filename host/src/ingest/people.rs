//! Creates and changes contacts without an event of theirs, and stores the events that follow.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;

use super::store;
use crate::audit::{Actor, Refused};
use crate::catalog::Catalog;
use crate::contacts::{self, Person, Resolved, Touch, Whom};
use crate::context::Context;
use crate::db::{self, Conn, Contact, ContactRow, NewIdentity, Topic, Tx};
use crate::enrolment;
use crate::ids::EventId;

/// The contact could not be stored beside concurrent changes.
pub const NOT_STORED: Refused = Refused::Busy("The contact was not stored");

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

/// As [`put`], in a transaction of its own, for a call of the product.
pub async fn put_contact(
    cx: &Context,
    names: &NewIdentity,
    properties: &Properties,
) -> Result<Put, Refused> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let put = put(&mut tx, &cx.catalog(), names, properties.clone(), now).await?;
        let put = put.ok_or(NOT_STORED)?;
        [Topic::Runs, Topic::Captures]
            .into_iter()
            .for_each(db::stir);
        Ok::<_, Refused>((tx, put))
    };
    cx.db.transact(work).await
}

/// Creates a contact for an administrator, with at least one name that no contact has yet. No journey
/// starts.
pub async fn create_contact(
    cx: &Context,
    actor: &Actor,
    names: (Option<String>, Option<String>),
    properties: &Properties,
) -> Result<ContactRow, Refused> {
    let (external_id, email) = names;
    let names = contacts::names_of(external_id, email, properties)?;
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let put = put(&mut tx, &cx.catalog(), &names, properties.clone(), now).await?;
        // An error rolls back, so a contact that exists already is not changed.
        let put = put.filter(|put| put.created && !put.linked);
        let put = put.ok_or(contacts::TAKEN)?;
        let row = contacts::contact_at(&mut tx, &put.contact.id.to_string()).await?;
        contacts::note_created(&mut tx, actor, &row, now).await?;
        Ok::<_, Refused>((tx, row))
    };
    cx.db.transact(work).await
}
