//! The suppression list: mailboxes that get no mail at all, because they bounced, the recipient
//! complained, an administrator blocked them, or the contact was erased.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::db::{self, Conn, NewSuppression, Suppression};
use crate::mailbox::Mailbox;

/// The suppressions of some mailboxes.
pub struct Suppressions(Vec<Suppression>);

impl Suppressions {
    /// The suppression that applies to this mailbox. There can be several after a change of the
    /// installation's secret; an erasure then gives way to any other reason.
    pub fn of(&self, mailbox: &Mailbox) -> Option<&Suppression> {
        let mine = self.0.iter().filter(|one| {
            mailbox.suppressed_as().contains(&one.hash)
                || one.address.is_some() && one.address.as_deref() == mailbox.address()
        });
        mine.min_by_key(|one| one.reason == "erased")
    }
}

/// The suppressions of these mailboxes, from one query by hash and by address.
pub async fn suppressions(conn: &mut Conn, mailboxes: &[&Mailbox]) -> db::Result<Suppressions> {
    let hashes: Vec<Vec<u8>> = mailboxes
        .iter()
        .flat_map(|one| one.suppressed_as().to_vec())
        .collect();
    let addresses: Vec<String> = mailboxes
        .iter()
        .filter_map(|one| one.address().map(str::to_owned))
        .collect();
    db::suppressions_of(conn, &hashes, &addresses)
        .await
        .map(Suppressions)
}

/// The suppression of this mailbox, if there is one.
pub async fn suppression_of(conn: &mut Conn, mailbox: &Mailbox) -> db::Result<Option<Suppression>> {
    let found = suppressions(conn, &[mailbox]).await?;
    Ok(found.of(mailbox).cloned())
}

/// Suppresses a mailbox. A provider's report replaces an erasure or an administrator's reason;
/// otherwise the first reason stays.
pub async fn suppress(
    conn: &mut Conn,
    mailbox: &Mailbox,
    reason: &str,
    (provider, detail): (Option<&str>, Option<&str>),
    now: DateTime<Utc>,
) -> db::Result<()> {
    let Some(hash) = mailbox.suppressed_as().first() else {
        return Ok(());
    };
    // Keep one row per mailbox, keyed with the current secret.
    db::suppression_rekey(conn, mailbox.suppressed_as(), mailbox.address(), hash).await?;
    let new = NewSuppression {
        hash,
        address: mailbox.address(),
        reason,
        provider,
        detail,
    };
    db::suppression_insert(conn, &new, now).await
}

/// Suppresses mailboxes for an administrator, each with an optional reason. Returns how many were not
/// suppressed before; mailboxes of erased contacts count as such.
pub async fn suppress_all(
    conn: &mut Conn,
    wanted: &[(Mailbox, Option<String>)],
    now: DateTime<Utc>,
) -> db::Result<usize> {
    let mailboxes: Vec<&Mailbox> = wanted.iter().map(|(mailbox, _)| mailbox).collect();
    let known = suppressions(conn, &mailboxes).await?;
    let mut new = BTreeMap::new();
    let mut erased = Vec::new();
    for (mailbox, why) in wanted {
        match (known.of(mailbox), mailbox.suppressed_as().first()) {
            (None, Some(hash)) => {
                new.entry(hash.as_slice()).or_insert(NewSuppression {
                    hash,
                    address: mailbox.address(),
                    reason: "manual",
                    provider: None,
                    detail: why.as_deref(),
                });
            }
            (Some(one), _) if one.reason == "erased" => erased.push((mailbox, why)),
            _ => {}
        }
    }
    for (mailbox, why) in &erased {
        suppress(conn, mailbox, "manual", (None, why.as_deref()), now).await?;
    }
    let new: Vec<NewSuppression<'_>> = new.into_values().collect();
    db::suppressions_insert(conn, &new, now).await?;
    Ok(new.len() + erased.len())
}

/// Removes a mailbox from the suppression list, and returns its suppression.
pub async fn lift(conn: &mut Conn, mailbox: &Mailbox) -> db::Result<Option<Suppression>> {
    let was = suppression_of(conn, mailbox).await?;
    db::suppression_delete(conn, mailbox.suppressed_as(), mailbox.address()).await?;
    Ok(was)
}

/// Suppresses the mailbox of an erased contact and removes its address everywhere. Its preferences and
/// its suppression are stored under a keyed hash from then on.
pub(super) async fn forget(
    conn: &mut Conn,
    mailbox: &Mailbox,
    now: DateTime<Utc>,
) -> db::Result<()> {
    suppress(conn, mailbox, "erased", (None, None), now).await?;
    db::suppression_forget(conn, mailbox.suppressed_as()).await?;
    if let Some(key) = mailbox.address() {
        db::mailbox_forget(conn, key, &mailbox.forgotten_key(), now).await?;
    }
    Ok(())
}
