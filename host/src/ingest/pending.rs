//! Decisions of administrators about changes that untrusted events requested.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::people::{follow, put};
use crate::audit::{Actor, Change, Refused, audit};
use crate::catalog::Catalog;
use crate::contacts::{self, contact_at};
use crate::context::Context;
use crate::db::{self, Conn, ContactRow, NewIdentity, PendingChange, PendingRow, Topic, Tx};
use crate::ids::PendingId;

const GONE: Refused = Refused::NotFound("Pending change not found");

#[derive(Clone, Copy)]
enum Decision {
    Apply,
    Dismiss,
}

/// Applies a pending change as a trusted call with the same data would. Returns the contact as it is now.
pub async fn apply_pending(
    cx: &Context,
    actor: &Actor,
    id: PendingId,
) -> Result<ContactRow, Refused> {
    decide(cx, actor, id, Decision::Apply).await
}

/// Dismisses a pending change; a later event may request it again. Returns the contact.
pub async fn dismiss_pending(
    cx: &Context,
    actor: &Actor,
    id: PendingId,
) -> Result<ContactRow, Refused> {
    decide(cx, actor, id, Decision::Dismiss).await
}

async fn decide(
    cx: &Context,
    actor: &Actor,
    id: PendingId,
    decision: Decision,
) -> Result<ContactRow, Refused> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let row = decide_in(cx, &mut tx, actor, (id, decision), now).await?;
        Ok::<_, Refused>((tx, row))
    };
    cx.db.transact(work).await
}

async fn decide_in(
    cx: &Context,
    tx: &mut Tx,
    actor: &Actor,
    (id, decision): (PendingId, Decision),
    now: DateTime<Utc>,
) -> Result<ContactRow, Refused> {
    let pending = db::pending_get(tx, id).await?.ok_or(GONE)?;
    let action = match decision {
        Decision::Apply => {
            if !apply(tx, &cx.catalog(), &pending, now).await? {
                return Err(Refused::Conflict(
                    "Another contact has this address, or the other contact was erased: change or merge the contacts first",
                ));
            }
            "contact.pending_apply"
        }
        Decision::Dismiss => {
            if !db::pending_delete(tx, id).await? {
                return Err(GONE);
            }
            "contact.pending_dismiss"
        }
    };
    let mut left = db::contact_get(tx, pending.contact_id).await?;
    if let (None, Some(other)) = (&left, pending.other_id) {
        left = db::contact_get(tx, other).await?;
    }
    let left = left.ok_or(GONE)?;
    let about = left.id.to_string();
    // The audit log stores the kind of change, not the address.
    let change = Change::created(json!({
        "kind": if pending.address.is_some() { "address" } else { "unite" },
        "source": pending.source, "eventId": pending.event_id,
        "contactId": pending.contact_id, "otherId": pending.other_id,
    }));
    audit(tx, actor, action, ("contact", &about), change, now).await?;
    let row = contact_at(tx, &about).await?;
    [Topic::Runs, Topic::Captures]
        .into_iter()
        .for_each(db::stir);
    Ok(row)
}

/// Applies a change and deletes its row. False if another contact has one of the names or a contact is gone;
/// the caller must then roll its transaction back.
async fn apply(
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
