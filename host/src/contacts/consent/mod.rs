//! Consent: what people want to receive, and every way it changes.
//!
//! There is one way to change it, whoever asks: pages, one-click, the API's lists, events,
//! administrators, providers and imports all hand [`Decision`]s to a [`Book`]. It stores them for
//! the contact and for the mailbox, keeps where they came from, and makes events of them. Its one
//! surprise: a decision about a contact is one about everybody who holds the same address.

mod book;
mod call;
mod catch_up;
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

/// What somebody decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// For one category. Leaving everything outweighs it.
    Category { id: String, subscribed: bool },
    /// For everything at once.
    All { subscribed: bool },
    /// The product puts a person on a list. Whoever left it, or everything, joins again only with
    /// consent to this list; then whatever else they left stays left.
    Join { id: String, consent: bool },
    /// An administrator replaces what was said of all categories.
    Replace {
        categories: std::collections::BTreeMap<String, bool>,
    },
}

/// Where a decision came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A page of ours.
    Page,
    /// A mail program's own button (RFC 8058).
    OneClick,
    /// A call about lists or a contact.
    Api,
    /// The lists of an event.
    Event,
    /// An administrator.
    Admin,
    /// A provider of mail, which has links of its own.
    Provider,
    /// A file of contacts.
    Import,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::OneClick => "one_click",
            Self::Api => "api",
            Self::Event => "event",
            Self::Admin => "admin",
            Self::Provider => "provider",
            Self::Import => "import",
        }
    }
}

/// What a decision rests on.
#[derive(Clone, Debug)]
pub struct Grounds<'a> {
    pub source: Source,
    /// What the person agreed to or read, or the words of the call.
    pub wording: Cow<'a, str>,
    /// Who says that a person who left consents to joining again.
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

/// Whom a decision is about: a contact, a mailbox, or both. Everybody who holds the mailbox is
/// meant as well.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    pub contact: Option<ContactId>,
    /// The contact's own where it is None.
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

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds, also where it held before.
    Done,
    /// The person left that list, and nobody said that they consent to joining again.
    Left,
}

/// Locks a contact, and everybody else who holds its mailbox.
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

/// What may be sent to a person: the stricter of what the contact and the mailbox want.
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
