//! The recipient that a signed link belongs to.

use crate::contacts::consent::Subject;
use crate::context::Context;
use crate::db::{self, Conn, Contact, Preferences};
use crate::ids::ContactId;
use crate::mailbox::{Mailbox, SHORT};
use crate::signed_link::{Category, Ids, Token, Whom};

/// The recipient of a mail, as far as the database knows them.
#[derive(Debug)]
pub struct Recipient {
    /// Whose consent the link changes.
    pub subject: Subject,
    /// The contact the mail belongs to, if it still exists.
    pub contact: Option<Contact>,
    /// The address the mail went to, if it is known.
    pub email: Option<String>,
}

impl Recipient {
    /// The preferences of this contact and mailbox.
    pub async fn preferences(&self, conn: &mut Conn) -> db::Result<Preferences> {
        let contact = self.subject.contact.unwrap_or(ContactId(uuid::Uuid::nil()));
        let keys = self.subject.mailbox.as_ref().map(Mailbox::keys);
        let keys = keys.unwrap_or_default();
        Ok(db::consents(conn, &[contact], &keys)
            .await?
            .of(contact, &keys))
    }

    /// Whether the contact or the address is known.
    pub fn is_known(&self) -> bool {
        self.contact.is_some() || self.email.is_some()
    }

    /// The ids for further links to the same recipient.
    pub fn ids(&self) -> Ids {
        Ids {
            contact: self.contact.as_ref().map(|contact| contact.id),
            mailbox: self.subject.mailbox.as_ref().map(Mailbox::short),
            own: self.subject.contact.is_some(),
        }
    }

    /// The name of the category of a link. None if no list and no mail of this contact has it.
    pub async fn category(
        &self,
        cx: &Context,
        conn: &mut Conn,
        category: &Category,
    ) -> db::Result<Option<String>> {
        if let Category::Named(name) = category {
            return Ok(Some(name.clone()));
        }
        let catalog = cx.catalog();
        let known = catalog.lists().iter().map(|list| list.id.clone());
        let mut names: Vec<String> = known.collect();
        if let Some(contact) = &self.contact {
            names.extend(db::send_categories(conn, contact.id).await?);
        }
        Ok(names.into_iter().find(|name| category.is(name)))
    }
}

/// Finds the recipient of a link. Locks nothing.
pub async fn recipient(cx: &Context, conn: &mut Conn, token: &Token) -> db::Result<Recipient> {
    match &token.whom {
        Whom::Ids(ids) => by_ids(cx, conn, *ids).await,
        Whom::Names { external_id, email } => {
            by_names(cx, conn, external_id.as_deref(), email.as_deref()).await
        }
    }
}

async fn by_ids(cx: &Context, conn: &mut Conn, ids: Ids) -> db::Result<Recipient> {
    let contact = match ids.contact {
        Some(id) => db::contact_get(conn, id).await?,
        None => None,
    };
    let email = match (&contact, ids.mailbox) {
        (Some(contact), Some(hash)) => address_of(cx, conn, contact, &hash).await?,
        _ => None,
    };
    let mailbox = match (&email, ids.mailbox) {
        (Some(email), _) => Some(cx.addresses.mailbox(email)),
        (None, hash) => hash.map(Mailbox::hashed),
    };
    Ok(Recipient {
        subject: Subject {
            contact: contact.as_ref().map(|one| one.id).filter(|_| ids.own),
            mailbox,
        },
        contact,
        email,
    })
}

/// The address with this hash, among the contact's own and those of their mails.
async fn address_of(
    cx: &Context,
    conn: &mut Conn,
    contact: &Contact,
    hash: &[u8; SHORT],
) -> db::Result<Option<String>> {
    let is = |email: &String| cx.addresses.mailbox(email).has_hash(hash);
    if let Some(own) = contact.email.clone().filter(is) {
        return Ok(Some(own));
    }
    let written = db::send_addresses(conn, contact.id).await?;
    Ok(written.into_iter().find(is))
}

async fn by_names(
    cx: &Context,
    conn: &mut Conn,
    external_id: Option<&str>,
    email: Option<&str>,
) -> db::Result<Recipient> {
    let id = match external_id {
        Some(id) => db::contacts_find(conn, Some(id), None)
            .await?
            .into_iter()
            .next(),
        None => None,
    };
    let id = match (id, email) {
        (None, Some(email)) => db::contacts_find(conn, None, Some(email))
            .await?
            .into_iter()
            .next(),
        (id, _) => id,
    };
    let contact = match id {
        Some(row) => db::contact_get(conn, row.id).await?,
        None => None,
    };
    let email = email.map(str::to_owned);
    let email = email.or_else(|| contact.as_ref().and_then(|contact| contact.email.clone()));
    let mailbox = email
        .as_deref()
        .map(|email| cx.addresses.mailbox(email))
        .map(|mailbox| match &contact {
            Some(_) => mailbox,
            // An erased contact's link still works for the mailbox, but its address is not stored.
            None => Mailbox::hashed(mailbox.short()),
        });
    Ok(Recipient {
        subject: Subject {
            contact: contact.as_ref().map(|one| one.id),
            mailbox,
        },
        email: email.filter(|_| contact.is_some()),
        contact,
    })
}

/// Whose consent a report changes, about a mail to `to` that belongs to `contact`.
pub(super) async fn addressee(
    cx: &Context,
    conn: &mut Conn,
    contact: ContactId,
    to: &str,
) -> db::Result<Subject> {
    let mailbox = cx.addresses.mailbox(to);
    let found = db::contact_get(conn, contact).await?;
    let own = found.and_then(|contact| contact.email);
    let own = own.is_some_and(|email| cx.addresses.mailbox(&email) == mailbox);
    Ok(Subject {
        contact: own.then_some(contact),
        mailbox: Some(mailbox),
    })
}
