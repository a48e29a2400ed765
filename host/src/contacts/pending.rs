//! What untrusted events asked for and an administrator decides.

use chrono::{DateTime, Utc};
use hogsend_semantics::address::comparable;

use super::{claim, put, unite};
use crate::catalog::Catalog;
use crate::db::{self, Conn, NewIdentity, PendingChange, PendingRow};
use crate::ids::ContactId;
use crate::ingest;

/// Makes a change come about, on the way that a trusted call takes, and lets go of what waits for it.
/// False where somebody else stands in its way, or a contact is gone; then nothing changed, and the
/// caller's transaction is to end so.
pub async fn apply(
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
            match unite(conn, pair, "administrator", now).await? {
                Some(resolved) => {
                    ingest::follow(conn, catalog, now, resolved).await?;
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
        // Who holds the address and is known by nothing better is the same person.
        let put = put(conn, catalog, &names, Default::default(), now).await?;
        return Ok(put.is_some_and(|put| put.contact.id == pending.contact_id));
    }
    if !claim(conn, pending.contact_id, &names).await?.is_empty() {
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

/// Somebody who reads the mail of this address clicked in a mail to it: where it is the contact's, it
/// is theirs. The caller holds the contact's lock.
pub async fn confirm(
    conn: &mut Conn,
    contact: ContactId,
    address: &str,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let found = db::contact_get(conn, contact).await?;
    let own = found.filter(|contact| contact.email_unconfirmed);
    let own = own.and_then(|contact| contact.email);
    if own.is_some_and(|own| comparable(&own) == comparable(address)) {
        db::contact_confirm(conn, contact, now).await?;
    }
    Ok(())
}
