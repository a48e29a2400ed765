//! Consent: the preferences of contacts and of mailboxes, and every change of either.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use hogsend_semantics::address::comparable;
use serde::Serialize;
use sqlx::types::Json;

use crate::db::{Conn, Preferences, Result};
use crate::ids::{self, ContactId};

/// Preferences of contacts and mailboxes. Those without any are absent.
#[derive(Debug, Default)]
pub struct Consents {
    contacts: HashMap<ContactId, Preferences>,
    /// By mailbox key.
    mailboxes: HashMap<String, Preferences>,
}

impl Consents {
    /// What may be sent to this mailbox for this contact: the stricter of the two preferences.
    pub fn of(&self, contact: ContactId, mailbox: &[String]) -> Preferences {
        let own = self.contacts.get(&contact).cloned().unwrap_or_default();
        let found = mailbox.iter().filter_map(|key| self.mailboxes.get(key));
        found.fold(own, |all, one| all.stricter(one))
    }

    /// Like [`of`](Self::of), for one category.
    pub fn allow(&self, contact: ContactId, mailbox: &[String], category: &str) -> bool {
        let own = self.contacts.get(&contact);
        let boxes = mailbox.iter().filter_map(|key| self.mailboxes.get(key));
        own.into_iter()
            .chain(boxes)
            .all(|wants| wants.allow(category))
    }
}

/// Reads the preferences of these contacts and mailboxes in one statement of index look-ups.
/// Preferences that an older version stored for a contact alone also apply to the contact's mailbox
/// before they are copied there.
pub async fn consents(
    conn: &mut Conn,
    contacts: &[ContactId],
    mailboxes: &[String],
) -> Result<Consents> {
    let rows = sqlx::query!(
        r#"SELECT p.contact_id AS "contact: ContactId", NULL::text AS mailbox,
                  p.unsubscribed_all AS "unsubscribed_all!",
                  p.categories AS "categories!: Json<BTreeMap<String, bool>>"
           FROM email_preferences p WHERE p.contact_id = ANY($1)
           UNION ALL
           SELECT NULL, m.mailbox, m.unsubscribed_all, m.categories
           FROM mailbox_consents m WHERE m.mailbox = ANY($2)
           UNION ALL
           SELECT NULL, c.email, p.unsubscribed_all, p.categories
           FROM contacts c JOIN email_preferences p ON p.contact_id = c.id
           WHERE c.id = ANY(ARRAY(SELECT id FROM contacts WHERE address = ANY($2)
                                  UNION SELECT id FROM contacts WHERE lower(email) = ANY($2)))
             AND p.mailbox_at IS DISTINCT FROM p.updated_at"#,
        contacts as &[ContactId],
        mailboxes
    )
    .fetch_all(conn)
    .await?;
    let mut all = Consents::default();
    for row in rows {
        let wants = Preferences {
            unsubscribed_all: row.unsubscribed_all,
            categories: row.categories.0,
        };
        match (row.contact, row.mailbox) {
            (Some(contact), _) => {
                all.contacts.insert(contact, wants);
            }
            (None, Some(mailbox)) => {
                let mailbox = match mailbox.starts_with('#') {
                    true => mailbox,
                    false => comparable(&mailbox),
                };
                let known = all.mailboxes.entry(mailbox).or_default();
                *known = known.stricter(&wants);
            }
            (None, None) => {}
        }
    }
    Ok(all)
}

/// A consent row as stored.
#[derive(Debug)]
pub struct ConsentRow {
    /// One of the two is set.
    pub contact: Option<ContactId>,
    pub mailbox: Option<String>,
    pub wants: Preferences,
    /// The contact's row has been copied to the mailbox.
    pub copied: bool,
}

/// The rows of these contacts and mailboxes, to change them.
pub async fn consent_rows(
    conn: &mut Conn,
    contacts: &[ContactId],
    mailboxes: &[String],
) -> Result<Vec<ConsentRow>> {
    sqlx::query!(
        r#"SELECT p.contact_id AS "contact: ContactId", NULL::text AS mailbox,
                  p.unsubscribed_all AS "unsubscribed_all!",
                  p.categories AS "categories!: Json<BTreeMap<String, bool>>",
                  p.mailbox_at IS NOT DISTINCT FROM p.updated_at AS "copied!"
           FROM email_preferences p WHERE p.contact_id = ANY($1)
           UNION ALL
           SELECT NULL, m.mailbox, m.unsubscribed_all, m.categories, true
           FROM mailbox_consents m WHERE m.mailbox = ANY($2)"#,
        contacts as &[ContactId],
        mailboxes
    )
    .map(|row| ConsentRow {
        contact: row.contact,
        mailbox: row.mailbox,
        wants: Preferences {
            unsubscribed_all: row.unsubscribed_all,
            categories: row.categories.0,
        },
        copied: row.copied,
    })
    .fetch_all(conn)
    .await
}

/// A change to a consent row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConsentDelta {
    pub unsubscribed_all: Option<bool>,
    pub set: BTreeMap<String, bool>,
    /// Categories whose entry is removed.
    pub unset: Vec<String>,
}

/// Changes contacts' preferences and marks them as copied: the caller changes the mailboxes as
/// well. Rows are created for contacts in `made`, whose locks the caller holds; for others only
/// existing rows change.
///
/// Two transactions that race change a row one after the other, each only the categories it names.
pub async fn preferences_change(
    conn: &mut Conn,
    changes: &[(ContactId, ConsentDelta)],
    made: &[ContactId],
    now: DateTime<Utc>,
) -> Result<()> {
    #[derive(Serialize)]
    struct Row<'a> {
        contact: ContactId,
        #[serde(flatten)]
        delta: &'a ConsentDelta,
    }
    if changes.is_empty() {
        return Ok(());
    }
    let rows = changes.iter().map(|(contact, delta)| Row {
        contact: *contact,
        delta,
    });
    let rows: Vec<Row<'_>> = rows.collect();
    let contacts: Vec<ContactId> = changes.iter().map(|(id, _)| *id).collect();
    sqlx::query!(
        "INSERT INTO email_preferences (contact_id, updated_at, mailbox_at)
         SELECT id, $3, $3 FROM unnest($1::uuid[]) AS id WHERE id = ANY($2) ORDER BY id
         ON CONFLICT DO NOTHING",
        &contacts as &[ContactId],
        made as &[ContactId],
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "WITH held AS (SELECT contact_id FROM email_preferences WHERE contact_id = ANY($1)
                       ORDER BY contact_id FOR UPDATE)
         UPDATE email_preferences p SET
             unsubscribed_all = coalesce(n.unsubscribed_all, p.unsubscribed_all),
             categories = (p.categories - ARRAY(SELECT jsonb_array_elements_text(n.unset))) || n.set,
             updated_at = $3, mailbox_at = $3
         FROM held, jsonb_to_recordset($2) AS n (contact uuid, unsubscribed_all boolean, set jsonb,
                                                 unset jsonb)
         WHERE p.contact_id = held.contact_id AND p.contact_id = n.contact",
        &contacts as &[ContactId],
        Json(rows) as Json<Vec<Row<'_>>>,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes the preferences of mailboxes, by the keys they are stored under.
///
/// Two transactions that race change a row one after the other, each only the categories it names,
/// so no opt-out is lost. Rows are locked in key order, after those of contacts.
pub async fn mailboxes_change(
    conn: &mut Conn,
    changes: &[(String, ConsentDelta)],
    now: DateTime<Utc>,
) -> Result<()> {
    #[derive(Serialize)]
    struct Row<'a> {
        mailbox: &'a str,
        #[serde(flatten)]
        delta: &'a ConsentDelta,
    }
    if changes.is_empty() {
        return Ok(());
    }
    let mut keys: Vec<String> = changes.iter().map(|(key, _)| key.clone()).collect();
    keys.sort_unstable();
    let rows = changes
        .iter()
        .map(|(mailbox, delta)| Row { mailbox, delta });
    let rows: Vec<Row<'_>> = rows.collect();
    sqlx::query!(
        "INSERT INTO mailbox_consents (mailbox, updated_at) SELECT *, $2 FROM unnest($1::text[])
         ON CONFLICT DO NOTHING",
        &keys,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "WITH held AS (SELECT mailbox FROM mailbox_consents WHERE mailbox = ANY($1)
                       ORDER BY mailbox FOR UPDATE)
         UPDATE mailbox_consents m SET
             unsubscribed_all = coalesce(n.unsubscribed_all, m.unsubscribed_all),
             categories = (m.categories - ARRAY(SELECT jsonb_array_elements_text(n.unset))) || n.set,
             updated_at = $3
         FROM held, jsonb_to_recordset($2) AS n (mailbox text, unsubscribed_all boolean, set jsonb,
                                                 unset jsonb)
         WHERE m.mailbox = held.mailbox AND m.mailbox = n.mailbox",
        &keys,
        Json(rows) as Json<Vec<Row<'_>>>,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A stored change of consent.
#[derive(Clone, Debug)]
pub struct ConsentChange {
    pub contact: Option<ContactId>,
    pub mailbox: Option<String>,
    /// None means all mail.
    pub category: Option<String>,
    pub subscribed: bool,
    pub source: &'static str,
    pub wording: String,
}

pub async fn consent_changes_insert(
    conn: &mut Conn,
    changes: &[ConsentChange],
    now: DateTime<Utc>,
) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = changes.iter().map(|_| ids::at(now)).collect();
    let contacts: Vec<_> = changes.iter().map(|it| it.contact).collect();
    let mailboxes: Vec<_> = changes.iter().map(|it| it.mailbox.clone()).collect();
    let categories: Vec<_> = changes.iter().map(|it| it.category.clone()).collect();
    let subscribed: Vec<_> = changes.iter().map(|it| it.subscribed).collect();
    let sources: Vec<_> = changes.iter().map(|it| it.source.to_owned()).collect();
    let wordings: Vec<_> = changes.iter().map(|it| it.wording.clone()).collect();
    sqlx::query!(
        "INSERT INTO consent_changes (id, contact_id, mailbox, category, subscribed, source,
                                      wording, created_at)
         SELECT *, $8 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::boolean[],
                                  $6::text[], $7::text[])",
        &ids,
        &contacts as &[Option<ContactId>],
        &mailboxes as &[Option<String>],
        &categories as &[Option<String>],
        &subscribed,
        &sources,
        &wordings,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the address of a mailbox: its preferences and their changes stay under `hashed`. The
/// changes lose the contacts' ids as well.
pub async fn mailbox_forget(
    conn: &mut Conn,
    key: &str,
    hashed: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "WITH known AS (DELETE FROM mailbox_consents WHERE mailbox = $1
                        RETURNING unsubscribed_all, categories)
         INSERT INTO mailbox_consents AS m (mailbox, unsubscribed_all, categories, updated_at)
         SELECT $2, unsubscribed_all, categories, $3 FROM known
         ON CONFLICT (mailbox) DO UPDATE SET
             unsubscribed_all = m.unsubscribed_all OR excluded.unsubscribed_all,
             categories = m.categories || excluded.categories || (
                 SELECT coalesce(jsonb_object_agg(key, false), '{}')
                 FROM jsonb_each(m.categories) WHERE value = 'false'),
             updated_at = excluded.updated_at",
        key,
        hashed,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE consent_changes SET mailbox = $2, contact_id = NULL WHERE mailbox = $1",
        key,
        hashed
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes these contacts' ids from their consent changes.
pub async fn consent_changes_forget(conn: &mut Conn, contacts: &[ContactId]) -> Result<()> {
    sqlx::query!(
        "UPDATE consent_changes SET contact_id = NULL WHERE contact_id = ANY($1)",
        contacts as &[ContactId]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A preference stored by an older version, which knows no mailboxes.
pub struct NotCopied {
    pub contact: ContactId,
    pub email: Option<String>,
    pub wants: Preferences,
}

/// Takes up to `limit` contacts whose preferences are not copied to their mailboxes yet, and marks
/// them as copied; the caller copies them in the same transaction.
///
/// Two workers that race take different rows; a row locked by a change of consent is skipped.
pub async fn preferences_not_copied(conn: &mut Conn, limit: i64) -> Result<Vec<NotCopied>> {
    sqlx::query!(
        r#"WITH due AS (SELECT contact_id FROM email_preferences
                        WHERE mailbox_at IS DISTINCT FROM updated_at
                        LIMIT $1 FOR UPDATE SKIP LOCKED)
           UPDATE email_preferences p SET mailbox_at = p.updated_at
           FROM due JOIN contacts c ON c.id = due.contact_id
           WHERE p.contact_id = due.contact_id
           RETURNING p.contact_id AS "contact: ContactId", c.email, p.unsubscribed_all,
                     p.categories AS "categories: Json<BTreeMap<String, bool>>""#,
        limit
    )
    .map(|row| NotCopied {
        contact: row.contact,
        email: row.email,
        wants: Preferences {
            unsubscribed_all: row.unsubscribed_all,
            categories: row.categories.0,
        },
    })
    .fetch_all(conn)
    .await
}
