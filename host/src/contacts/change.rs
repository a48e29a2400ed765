//! What administrators change of a contact directly.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use serde_json::{Value, json};

use super::check::{PATHS, check};
use super::erase::erase_one;
use super::resolve::claim;
use crate::audit::{Actor, Change, Refused, audit};
use crate::context::Context;
use crate::db::{self, Conn, ContactRow, NewIdentity, Topic, Tx};
use crate::foreign::{self, Issue};
use crate::webhooks::{News, announce};

/// Another contact has a name that was given.
pub const TAKEN: Refused = Refused::Conflict("Another contact has this externalId or email");

/// What to set of a contact; `None` keeps the present value.
#[derive(Clone, Debug, Default)]
pub struct ContactChange {
    /// `Some(None)` removes it.
    pub external_id: Option<Option<String>>,
    /// `Some(None)` removes it.
    pub email: Option<Option<String>>,
    /// Merged into the contact's properties; null removes a property.
    pub properties: Properties,
}

/// The contact that a path of the API names: by its id, or by its external id.
pub async fn contact_at(conn: &mut Conn, name: &str) -> Result<ContactRow, Refused> {
    let row = db::contact_row(conn, name).await?;
    row.ok_or(Refused::NotFound("Contact not found"))
}

/// The names of a contact that an administrator gives, of which there must be one.
pub fn names_of(
    external_id: Option<String>,
    email: Option<String>,
    properties: &Properties,
) -> Result<NewIdentity, Refused> {
    if external_id.is_none() && email.is_none() {
        return Err(Refused::invalid("", "externalId or email is required"));
    }
    let names = NewIdentity {
        external_id,
        email,
        ..NewIdentity::default()
    };
    let mut issues = Vec::new();
    check(&names, properties, &PATHS, &mut issues);
    Refused::unless_valid(issues)?;
    Ok(names)
}

/// Changes a contact. A name of another contact is refused; nothing is merged.
pub async fn change_contact(
    cx: &Context,
    actor: &Actor,
    name: &str,
    wanted: &ContactChange,
) -> Result<ContactRow, Refused> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let row = change(&mut tx, actor, name, wanted, now).await?;
        Ok::<_, Refused>((tx, row))
    };
    cx.db.transact(work).await
}

async fn change(
    tx: &mut Tx,
    actor: &Actor,
    name: &str,
    wanted: &ContactChange,
    now: DateTime<Utc>,
) -> Result<ContactRow, Refused> {
    let before = contact_at(tx, name).await?;
    let mut given = NewIdentity {
        external_id: wanted.external_id.clone().flatten(),
        email: wanted.email.clone().flatten(),
        ..NewIdentity::default()
    };
    if given.external_id == before.external_id {
        given.external_id = None;
    }
    // Contacts that have one of the new identifiers, or are about to get it.
    let others = claim(tx, before.id, &given).await?;
    let before = contact_at(tx, &before.id.to_string()).await?;
    let mut after = before.clone();
    if let Some(external_id) = &wanted.external_id {
        after.external_id.clone_from(external_id);
    }
    if let Some(email) = &wanted.email {
        after.email.clone_from(email);
    }
    let properties = wanted.properties.clone();
    names_of(after.external_id.clone(), after.email.clone(), &properties)?;
    // Contacts with product ids may share an address.
    let mut taken_by = others
        .iter()
        .filter(|other| other.has_id || after.external_id.is_none() && !other.has_user);
    if taken_by.next().is_some() {
        return Err(TAKEN);
    }
    let unfit = foreign::merge(&mut after.properties, properties).into_iter();
    let issues = unfit.map(|one| Issue::new(&format!("properties.{}", one.name), one.reason));
    Refused::unless_valid(issues.collect())?;
    db::contact_change(tx, &after, now).await?;
    if wanted.email.is_some() {
        db::contact_confirm(tx, before.id, now).await?;
    }
    let row = contact_at(tx, &before.id.to_string()).await?;
    let change = Change::changed(told(&before), told(&row));
    keep(tx, actor, "contact.update", &row, change, now).await?;
    let own = |row: &ContactRow| {
        let names = (row.external_id.clone(), row.email.clone());
        (names, row.properties.clone())
    };
    if own(&before) != own(&row) {
        let news = News {
            event_type: "contact.updated",
            contact: row.id,
            occurred_at: now,
            data: Properties::new(),
        };
        announce(tx, &[news], now).await?;
    }
    db::stir(Topic::Webhooks);
    Ok(row)
}

/// Erases a contact, as [`erase`](super::erase()) does. False if it was erased meanwhile.
pub async fn erase_contact(cx: &Context, actor: &Actor, name: &str) -> Result<bool, Refused> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let row = contact_at(&mut tx, name).await?;
        let erased = erase_one(cx, &mut tx, row.id, now).await?;
        // The audit log records that a contact was erased, not whose data it was.
        let change = Change::deleted(json!({}));
        keep(&mut tx, actor, "contact.erase", &row, change, now).await?;
        Ok::<_, Refused>((tx, erased))
    };
    cx.db.transact(work).await
}

/// Records that an administrator created a contact, in the transaction that did.
pub async fn note_created(
    conn: &mut Conn,
    actor: &Actor,
    row: &ContactRow,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let change = Change::created(told(row));
    keep(conn, actor, "contact.create", row, change, now).await
}

/// What the audit log stores about a contact: identifiers and names of properties, not their values.
fn told(row: &ContactRow) -> Value {
    json!({ "externalId": row.external_id, "properties": row.properties.keys().collect::<Vec<_>>() })
}

async fn keep(
    conn: &mut Conn,
    actor: &Actor,
    action: &str,
    row: &ContactRow,
    change: Change,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let about = ("contact", &*row.id.to_string());
    audit(conn, actor, action, about, change, now).await
}
