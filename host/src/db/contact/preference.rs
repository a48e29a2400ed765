//! Preferences of contacts: the mail they want to receive.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use hogsend_semantics as semantics;
use sqlx::types::Json;

use crate::db::{Conn, Result};
use crate::ids::ContactId;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    pub unsubscribed_all: bool,
    /// Whether the contact is subscribed, by category.
    pub categories: BTreeMap<String, bool>,
}

impl Preferences {
    /// Whether mails of this category may be sent. A category without an entry counts as
    /// subscribed.
    pub fn allow(&self, category: &str) -> bool {
        let subscribed = self.categories.get(category).copied();
        semantics::wants(self.unsubscribed_all, subscribed, category)
    }
}

impl Preferences {
    /// What both allow.
    pub fn stricter(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.unsubscribed_all |= other.unsubscribed_all;
        for (id, wanted) in &other.categories {
            let known = all.categories.entry(id.clone()).or_insert(*wanted);
            *known &= *wanted;
        }
        all
    }

    /// Only the opt-outs.
    pub fn refusals(&self) -> Self {
        let left = self.categories.iter().filter(|(_, wanted)| !**wanted);
        Self {
            unsubscribed_all: self.unsubscribed_all,
            categories: left.map(|(id, _)| (id.clone(), false)).collect(),
        }
    }
}

/// The preferences of these contacts alone, without those of their mailboxes; a contact without any
/// is absent.
pub async fn preferences_by_contact(
    conn: &mut Conn,
    contacts: &[ContactId],
) -> Result<HashMap<ContactId, Preferences>> {
    let rows = sqlx::query!(
        r#"SELECT contact_id, unsubscribed_all,
                  categories AS "categories: Json<BTreeMap<String, bool>>"
           FROM email_preferences WHERE contact_id = ANY($1)"#,
        contacts as &[ContactId]
    )
    .fetch_all(conn)
    .await?;
    let preferences = rows.into_iter().map(|row| {
        let preferences = Preferences {
            unsubscribed_all: row.unsubscribed_all,
            categories: row.categories.0,
        };
        (ContactId(row.contact_id), preferences)
    });
    Ok(preferences.collect())
}

/// Counts a transient bounce.
pub async fn preferences_count_bounce(
    conn: &mut Conn,
    contact: ContactId,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO email_preferences AS p (contact_id, bounce_count, updated_at, mailbox_at)
         VALUES ($1, 1, $2, $2)
         ON CONFLICT (contact_id) DO UPDATE SET bounce_count = p.bounce_count + 1,
             updated_at = excluded.updated_at,
             mailbox_at = CASE WHEN p.mailbox_at = p.updated_at THEN excluded.updated_at
                               ELSE p.mailbox_at END",
        contact as ContactId,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many transient bounces the contact has.
pub async fn preferences_bounces(conn: &mut Conn, contact: ContactId) -> Result<i32> {
    let count = sqlx::query_scalar!(
        "SELECT bounce_count FROM email_preferences WHERE contact_id = $1",
        contact as ContactId
    )
    .fetch_optional(conn)
    .await?;
    Ok(count.unwrap_or_default())
}
