//! Who an event is about.

pub mod consent;
mod erase;
pub mod export;
pub mod file;
mod fill;
pub mod import;
pub mod pending;
mod resolve;
mod suppress;
pub mod suppression_file;

pub use erase::{erase, erase_one};
pub use fill::fill_addresses;
pub use resolve::{NoRoom, Resolved, Rival, Whom, claim, lock_people, resolve, unite};
pub use suppress::{Suppressions, lift, suppress, suppress_all, suppression_of, suppressions};

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use hogsend_plugin_api::Properties;
use hogsend_semantics::identity::Id;

use crate::catalog::Catalog;
use crate::db::{self, Conn, Contact, NewIdentity, Wanted};
use crate::ids::{ContactId, EventId};
use crate::ingest::{self, NewEvent, Person};
use resolve::{found, holding};

/// Makes requests that name the same people take turns until the transaction ends.
pub async fn lock_names<'a>(
    conn: &mut Conn,
    people: impl Iterator<Item = &'a Person>,
) -> db::Result<()> {
    let mut names = Vec::new();
    for person in people {
        let Person::Names(given) = person else {
            continue;
        };
        let given = given.names();
        names.extend(given.ids.iter().map(|id| lock_name(&id.kind, &id.value)));
        names.extend(given.address.map(|address| lock_name("email", &address)));
    }
    if names.is_empty() {
        return Ok(());
    }
    db::identity_lock(conn, &names).await
}

/// The same in every process and version, which a hasher's seed or algorithm may not be.
fn lock_name(kind: &str, name: &str) -> i64 {
    let digest = Sha256::new()
        .chain_update(kind)
        .chain_update([0])
        .chain_update(name)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

/// What a request about a person came to.
#[derive(Clone, Debug)]
pub struct Put {
    pub contact: Arc<Contact>,
    pub created: bool,
    /// A name was new to a person who was known, or two contacts turned out to be one.
    pub linked: bool,
}

/// Finds or makes the contact with these names and gives it the properties, in the caller's
/// transaction.
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

/// As [`put`], for several people, in their order; some of them may turn out to be one. None where
/// one of them was not stored.
pub async fn put_all(
    conn: &mut Conn,
    catalog: &Catalog,
    people: Vec<(NewIdentity, Properties)>,
    now: DateTime<Utc>,
) -> db::Result<Option<Vec<Put>>> {
    let event = |(names, properties): (NewIdentity, Properties)| {
        let mut event = NewEvent::from_journey(ContactId::new(now), "", Properties::new(), 0);
        event.source = "api".into();
        event.person = Person::Names(names);
        event.contact_properties = properties;
        event
    };
    let events: Vec<NewEvent> = people.into_iter().map(event).collect();
    lock_names(conn, events.iter().map(|event| &event.person)).await?;
    let told = events.iter().map(|event| (EventId::new(now), event));
    let resolved = resolve(conn, told, true, now).await?;
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
    ingest::follow(conn, catalog, now, resolved).await?;
    Ok(put)
}

/// The contacts a call names, locked until the transaction ends: the one with the product's id, else
/// those with the address.
pub async fn named(
    conn: &mut Conn,
    external_id: Option<&str>,
    email: Option<&str>,
) -> db::Result<Vec<Contact>> {
    if let Some(id) = external_id {
        let wanted = Wanted {
            ids: vec![Id::user(id)],
            ..Wanted::default()
        };
        let found = found(conn, &wanted).await?.into_iter();
        let found: Vec<Contact> = found.map(|one| one.contact).collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    match email {
        Some(email) => holding(conn, email).await,
        None => Ok(Vec::new()),
    }
}
