//! A contact's mail preferences as administrators see them: with the suppression of the address.

use super::consent;
use super::suppress::suppression_of;
use crate::context::Context;
use crate::db::{self, Conn, ContactRow, Preferences, Suppression};

/// What mail a contact gets.
pub struct MailPreferences {
    pub contact: ContactRow,
    /// The stricter of the contact's own preferences and those of the address.
    pub wants: Preferences,
    pub suppression: Option<Suppression>,
    /// Transient bounces.
    pub bounces: i32,
}

/// The preferences of a contact, and what else decides about its mail.
pub async fn mail_preferences(
    cx: &Context,
    conn: &mut Conn,
    contact: ContactRow,
) -> db::Result<MailPreferences> {
    let email = contact.email.as_deref();
    let wants = consent::preferences_at(cx, conn, contact.id, email).await?;
    let suppression = match email {
        Some(email) => suppression_of(conn, &cx.addresses.mailbox(email)).await?,
        None => None,
    };
    Ok(MailPreferences {
        wants,
        suppression,
        bounces: db::preferences_bounces(conn, contact.id).await?,
        contact,
    })
}
