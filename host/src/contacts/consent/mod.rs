//! Consent: which mail people want to receive, and every way it changes.
//!
//! Preference pages, one-click unsubscribe, the API, events, administrators, providers and imports all
//! pass [`Decision`]s to a [`Book`]. It stores them for the contact and for the mailbox, records where
//! they came from, and makes events of them. Note that a decision about a contact also applies to every
//! other contact with the same address.

mod book;
mod call;
mod catch_up;
mod change;
mod lists;

pub use book::{Book, Reach};
pub use call::{Asked, Choosing, choose};
pub use catch_up::catch_up;
pub use lists::{Choice, Lists, choices, list_issue};

use std::borrow::Cow;

use crate::audit::By;
use crate::context::Context;
use crate::db::{self, Conn, Contact, Preferences};
use crate::ids::ContactId;
use crate::mailbox::Mailbox;

/// A change of consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// For one category. Unsubscribing from everything overrides it.
    Category { id: String, subscribed: bool },
    /// For all mail.
    All { subscribed: bool },
    /// The product subscribes a person to a list. If they left this list or unsubscribed from everything,
    /// this needs `consent`, and the other lists they left stay left.
    Join { id: String, consent: bool },
    /// An administrator replaces the decisions about all categories.
    Replace {
        categories: std::collections::BTreeMap<String, bool>,
    },
}

/// Where a decision came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Source {
    /// A page of this server.
    Page,
    /// The unsubscribe button of a mail program (RFC 8058).
    OneClick,
    /// An API call about lists or a contact.
    Api,
    /// The lists of an event.
    Event,
    /// An administrator.
    Admin,
    /// A mail provider, which adds its own unsubscribe links.
    Provider,
    /// An imported file of contacts.
    Import,
}

impl Source {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The proof for a decision.
#[derive(Clone, Debug)]
pub struct Grounds<'a> {
    pub source: Source,
    /// The text the person agreed to or read, or a description of the call.
    pub wording: Cow<'a, str>,
    /// The caller that states the consent of a person who joins again.
    pub by: Option<By>,
}

impl<'a> Grounds<'a> {
    pub fn new(source: Source, wording: impl Into<Cow<'a, str>>) -> Self {
        Self {
            source,
            wording: wording.into(),
            by: None,
        }
    }
}

/// What a decision is about: a contact, a mailbox, or both. It applies to every contact with the
/// mailbox.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    pub contact: Option<ContactId>,
    /// None means the contact's mailbox.
    pub mailbox: Option<Mailbox>,
}

impl Subject {
    pub fn contact(id: ContactId) -> Self {
        Self {
            contact: Some(id),
            mailbox: None,
        }
    }
}

/// Result of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It applies now; it may have applied before.
    Done,
    /// The person left that list, and the caller did not state their consent to joining again.
    Left,
}

/// Locks a contact and every other contact with its mailbox.
pub async fn lock(
    cx: &Context,
    conn: &mut Conn,
    contact: ContactId,
    email: Option<&str>,
) -> db::Result<()> {
    let mailbox = email.map(|email| cx.addresses.mailbox(email));
    let held = mailbox.as_ref().and_then(Mailbox::address);
    let held: Vec<String> = held.map(str::to_owned).into_iter().collect();
    db::contacts_holding_lock(conn, &[contact], &held).await?;
    Ok(())
}

/// What may be sent to a contact: the stricter of its own and its mailbox's preferences.
pub async fn preferences(
    cx: &Context,
    conn: &mut Conn,
    contact: &Contact,
) -> db::Result<Preferences> {
    preferences_at(cx, conn, contact.id, contact.email.as_deref()).await
}

/// What may be sent to a contact at an address.
pub async fn preferences_at(
    cx: &Context,
    conn: &mut Conn,
    contact: ContactId,
    email: Option<&str>,
) -> db::Result<Preferences> {
    let keys = email.map(|email| cx.addresses.mailbox(email).keys());
    let keys = keys.unwrap_or_default();
    let found = db::consents(conn, &[contact], &keys).await?;
    Ok(found.of(contact, &keys))
}
