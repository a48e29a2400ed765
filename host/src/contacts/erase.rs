//! Erasure of a person's data: the right to be forgotten (GDPR, article 17).

use chrono::{DateTime, Utc};
use hogsend_mime as mime;
use hogsend_semantics::identity::USER;

use super::named;
use super::suppress::forget;
use crate::context::Context;
use crate::db::{self, Conn, Tx};
use crate::ids::ContactId;
use crate::mailbox::Mailbox;
use crate::webhooks::announce_deleted;

/// Erases the contact with this product id, or if there is none, those with this address. A keyed hash of
/// each address stays on the suppression list, so that an import or a late webhook does not restart lifecycle
/// mail. Returns the number of erased contacts.
///
/// A provider request that is already in flight is not cancelled.
pub async fn erase(
    cx: &Context,
    external_id: Option<&str>,
    email: Option<&str>,
) -> db::Result<usize> {
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let erased = erase_in(cx, &mut tx, external_id, email, now).await?;
        db::Result::Ok((tx, erased))
    };
    cx.db.transact(work).await
}

/// As [`erase`], in the caller's transaction.
pub async fn erase_in(
    cx: &Context,
    conn: &mut Conn,
    external_id: Option<&str>,
    email: Option<&str>,
    now: DateTime<Utc>,
) -> db::Result<usize> {
    let people = named(conn, external_id, email).await?;
    let ids: Vec<ContactId> = people.iter().map(|person| person.id).collect();
    erase_all(cx, conn, &ids, now).await
}

/// Erases the contact with this id, as [`erase`] does. False if there is none.
pub(super) async fn erase_one(
    cx: &Context,
    conn: &mut Conn,
    id: ContactId,
    now: DateTime<Utc>,
) -> db::Result<bool> {
    Ok(erase_all(cx, conn, &[id], now).await? > 0)
}

async fn erase_all(
    cx: &Context,
    conn: &mut Conn,
    ids: &[ContactId],
    now: DateTime<Utc>,
) -> db::Result<usize> {
    let locked = db::contact_lock(conn, ids).await?;
    if locked.is_empty() {
        return Ok(0);
    }
    let mut mailboxes: Vec<Mailbox> = Vec::new();
    for email in locked.iter().filter_map(|person| person.email.as_deref()) {
        let mailbox = cx.addresses.mailbox(email);
        if !mailboxes.contains(&mailbox) {
            mailboxes.push(mailbox);
        }
    }
    let lower = |person: &db::Contact| person.email.as_deref().map(str::to_lowercase);
    let mut addresses: Vec<String> = locked.iter().filter_map(lower).collect();
    addresses.extend(locked.iter().filter_map(db::Contact::address));
    // Mails are stored with the ASCII (punycode) form of a domain.
    let ascii = |address: &String| mime::bare_address("address", address).ok();
    addresses.extend(addresses.iter().filter_map(ascii).collect::<Vec<_>>());
    addresses.sort_unstable();
    addresses.dedup();
    let own = locked.iter();
    let mut external: Vec<String> = own.filter_map(|it| it.external_id.clone()).collect();
    let further = db::identities_of(conn, ids).await?.into_iter();
    external.extend(
        further
            .filter(|(_, id)| id.kind == USER)
            .map(|(_, id)| id.value),
    );
    for mailbox in &mailboxes {
        forget(conn, mailbox, now).await?;
    }
    let gone = locked
        .iter()
        .map(|person| (person.id, person.external_id.clone()));
    announce_deleted(conn, &gone.collect::<Vec<_>>(), now).await?;
    db::consent_changes_forget(conn, ids).await?;
    db::contacts_erase(conn, ids, &addresses, &external).await?;
    let names = addresses.iter().chain(&external);
    let names: Vec<String> = names.map(|name| name.to_lowercase()).collect();
    db::audits_forget(conn, ids, &names).await?;
    tracing::info!(people = locked.len(), "erased people who asked for it");
    Ok(locked.len())
}
