//! Confirms an address that came from an untrusted event.

use chrono::{DateTime, Utc};
use hogsend_semantics::address::comparable;

use crate::db::{self, Conn};
use crate::ids::ContactId;

/// A person clicked a link in a mail to this address, which proves that they read its mail. If it is
/// the contact's unconfirmed address, it becomes confirmed. The caller holds the contact's lock.
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
