//! Contacts as administrators see them.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use hogsend_semantics::address::comparable;

use crate::db::stored::Stored;
use crate::db::{Conn, Result};
use crate::ids::ContactId;

/// A contact as shown to administrators.
#[derive(Clone, Debug)]
pub struct ContactRow {
    pub id: ContactId,
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub properties: Properties,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Every contact with this external id or this address, oldest first.
pub async fn contacts_find(
    conn: &mut Conn,
    external_id: Option<&str>,
    email: Option<&str>,
) -> Result<Vec<ContactRow>> {
    let address = email.map(comparable);
    let found = sqlx::query_as!(
        ContactRow,
        r#"SELECT id AS "id: ContactId", external_id, email,
                  properties AS "properties: Stored<Properties>", first_seen_at, last_seen_at,
                  created_at, updated_at
           FROM contacts WHERE id = ANY(ARRAY(
               SELECT id FROM contacts WHERE external_id = $1
               UNION SELECT contact_id FROM contact_identities WHERE kind = 'user' AND value = $1
               UNION SELECT id FROM contacts WHERE address = $2
               UNION SELECT id FROM contacts WHERE lower(email) = $2))
           ORDER BY id LIMIT 100"#,
        external_id,
        address
    )
    .map(|row| {
        let same = address.is_some() && row.email.as_deref().map(comparable) == address;
        (same, row)
    })
    .fetch_all(&mut *conn)
    .await?;
    // `lower()` alone also matches addresses of older versions that are different ones.
    let (same, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(same, _)| *same);
    let mut all: Vec<ContactRow> = same.into_iter().map(|(_, row)| row).collect();
    if external_id.is_some() {
        let by_id = match external_id {
            Some(id) => contact_by_user(conn, id).await?,
            None => None,
        };
        all.extend(
            others
                .into_iter()
                .map(|(_, row)| row)
                .filter(|row| Some(row.id) == by_id),
        );
        all.sort_by_key(|row| row.id);
    }
    Ok(all)
}

/// The contact with this external id.
pub async fn contact_by_user(conn: &mut Conn, id: &str) -> Result<Option<ContactId>> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id!: ContactId" FROM (
               SELECT id FROM contacts WHERE external_id = $1
               UNION SELECT contact_id FROM contact_identities WHERE kind = 'user' AND value = $1)
               AS found
           ORDER BY id LIMIT 1"#,
        id
    )
    .fetch_optional(conn)
    .await
}
