//! What people want to receive.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use hogsend_plugin_api::semantics;
use sqlx::types::Json;

use super::{Conn, Result};
use crate::ids::ContactId;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    pub unsubscribed_all: bool,
    /// Category to whether the person is subscribed.
    pub categories: BTreeMap<String, bool>,
}

impl Preferences {
    /// Whether mails of this category may be sent. A category nobody spoke of counts as wanted.
    pub fn allow(&self, category: &str) -> bool {
        let subscribed = self.categories.get(category).copied();
        semantics::wants(self.unsubscribed_all, subscribed, category)
    }
}

/// The preferences of these contacts; a contact without any is left out.
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

/// Subscribes to or unsubscribes from one category, leaving the others alone.
pub async fn preferences_set_category(
    conn: &mut Conn,
    contact: ContactId,
    category: &str,
    subscribed: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO email_preferences (contact_id, categories, updated_at)
         VALUES ($1, jsonb_build_object($2::text, $3::boolean), $4)
         ON CONFLICT (contact_id) DO UPDATE SET
             categories = email_preferences.categories || excluded.categories,
             updated_at = excluded.updated_at",
        contact as ContactId,
        category,
        subscribed,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Unsubscribes from everything, or takes that back.
pub async fn preferences_set_all(
    conn: &mut Conn,
    contact: ContactId,
    unsubscribed: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO email_preferences (contact_id, unsubscribed_all, updated_at)
         VALUES ($1, $2, $3)
         ON CONFLICT (contact_id) DO UPDATE SET
             unsubscribed_all = excluded.unsubscribed_all, updated_at = excluded.updated_at",
        contact as ContactId,
        unsubscribed,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts a bounce that may not be the last word about the address.
pub async fn preferences_count_bounce(
    conn: &mut Conn,
    contact: ContactId,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO email_preferences (contact_id, bounce_count, updated_at) VALUES ($1, 1, $2)
         ON CONFLICT (contact_id) DO UPDATE SET
             bounce_count = email_preferences.bounce_count + 1, updated_at = excluded.updated_at",
        contact as ContactId,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what a person said of every category but these.
pub async fn preferences_keep(
    conn: &mut Conn,
    contact: ContactId,
    categories: &[String],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"UPDATE email_preferences SET updated_at = $3, categories = (
               SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(categories)
               WHERE key = ANY($2))
           WHERE contact_id = $1"#,
        contact as ContactId,
        categories,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many transient bounces were counted.
pub async fn preferences_bounces(conn: &mut Conn, contact: ContactId) -> Result<i32> {
    let count = sqlx::query_scalar!(
        "SELECT bounce_count FROM email_preferences WHERE contact_id = $1",
        contact as ContactId
    )
    .fetch_optional(conn)
    .await?;
    Ok(count.unwrap_or_default())
}
