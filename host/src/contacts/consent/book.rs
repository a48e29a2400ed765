//! The one place where consent changes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};
use hogsend_semantics::MAX_DEPTH;
use serde_json::json;

use super::{Decision, Grounds, Outcome, Subject};
use crate::catalog::List;
use crate::contacts::FollowUp;
use crate::db::{
    self, Conn, ConsentChange, ConsentDelta, Holder, NewAudit, NewCapture, Preferences,
};
use crate::ids::{self, ContactId};
use crate::mailbox::{Addresses, Mailbox};
use crate::webhooks::{News, announce};

/// The source of the events a change of consent makes.
const SOURCE: &str = "email";
/// Characters of a wording that are kept.
const WORDING_MAX: usize = 1_000;

/// What some people and mailboxes want, and what changes about it. Nothing is stored before
/// [`write`](Book::write).
#[derive(Default)]
pub struct Book {
    people: BTreeMap<ContactId, Person>,
    /// By their main keys.
    mailboxes: BTreeMap<String, Shelf>,
    changes: Vec<ConsentChange>,
    happened: Vec<Happened>,
    audits: Vec<Audited>,
}

struct Person {
    /// The key of their mailbox.
    mailbox: Option<String>,
    stored: Preferences,
    wants: Preferences,
    /// Their lock is held, so they can be told.
    locked: bool,
}

/// A mailbox, with every row the store has of it: one under the address, some under hashes.
struct Shelf {
    stored: BTreeMap<String, Preferences>,
    wants: BTreeMap<String, Preferences>,
}

/// Who hears of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everybody who holds the mailbox. Their contacts are locked, so this comes before any other
    /// lock of contacts.
    Everybody,
    /// The subjects' contacts, which the caller has locked. Of others who hold the mailbox only what
    /// is stored changes.
    Named,
}

struct Happened {
    contact: ContactId,
    name: &'static str,
    data: Properties,
    depth: i16,
}

struct Audited {
    by: crate::audit::By,
    resource: (&'static str, String),
    list: String,
}

impl Book {
    /// Opens the book of these subjects, with everybody else who holds one of the mailboxes, and
    /// reads what is stored. Without `addresses` mailboxes are known by address alone.
    pub async fn open(
        conn: &mut Conn,
        addresses: Option<&Addresses>,
        subjects: &[Subject],
        reach: Reach,
    ) -> db::Result<Self> {
        let mailbox = |email: &str| match addresses {
            Some(addresses) => addresses.mailbox(email),
            None => Mailbox::plain(email),
        };
        let named: Vec<ContactId> = subjects.iter().filter_map(|one| one.contact).collect();
        let given = subjects.iter().filter_map(|one| one.mailbox.as_ref());
        let mut mailboxes: BTreeMap<String, Mailbox> =
            given.map(|one| (one.key(), one.clone())).collect();
        let add = |mailboxes: &mut BTreeMap<String, Mailbox>, found: &[Holder]| {
            for email in found.iter().filter_map(|one| one.email.as_deref()) {
                let found = mailbox(email);
                mailboxes.entry(found.key()).or_insert(found);
            }
        };
        add(
            &mut mailboxes,
            &db::contacts_holding(conn, &named, &[]).await?,
        );
        let held = mailboxes.values().filter_map(Mailbox::address);
        let held: Vec<String> = held.map(str::to_owned).collect();
        let holders = match reach {
            Reach::Everybody => {
                // Somebody whose address changed meanwhile keeps it now.
                let locked = db::contacts_holding_lock(conn, &named, &held).await?;
                let about = |one: &&Holder| named.contains(&one.id);
                let own: Vec<Holder> = locked.iter().filter(about).cloned().collect();
                add(&mut mailboxes, &own);
                locked
            }
            Reach::Named => db::contacts_holding(conn, &named, &held).await?,
        };
        let ids: Vec<ContactId> = holders.iter().map(|one| one.id).collect();
        let keys: Vec<String> = mailboxes.values().flat_map(Mailbox::keys).collect();
        let rows = db::consent_rows(conn, &ids, &keys).await?;

        let mut book = Self::default();
        for holder in holders {
            let person = Person {
                mailbox: holder.email.as_deref().map(|email| mailbox(email).key()),
                stored: Preferences::default(),
                wants: Preferences::default(),
                locked: reach == Reach::Everybody || named.contains(&holder.id),
            };
            book.people.insert(holder.id, person);
        }
        let mut by_key: BTreeMap<String, Preferences> = BTreeMap::new();
        // What a version before stored for contacts alone.
        let mut due: BTreeMap<String, Preferences> = BTreeMap::new();
        for row in rows {
            if let Some(person) = row.contact.and_then(|id| book.people.get_mut(&id)) {
                if let (false, Some(key)) = (row.copied, &person.mailbox) {
                    let known = due.entry(key.clone()).or_default();
                    *known = known.stricter(&row.wants.refusals());
                }
                person.wants = row.wants.clone();
                person.stored = row.wants;
            } else if let Some(key) = row.mailbox {
                by_key.insert(key, row.wants);
            }
        }
        for (key, mailbox) in mailboxes {
            let rows = mailbox.keys().into_iter();
            let stored: BTreeMap<String, Preferences> = rows
                .filter_map(|key| Some((key.clone(), by_key.remove(&key)?)))
                .collect();
            let mut wants = stored.clone();
            if let Some(due) = due.remove(&key) {
                let main = wants.entry(key.clone()).or_default();
                *main = main.stricter(&due);
            }
            book.mailboxes.insert(key, Shelf { stored, wants });
        }
        Ok(book)
    }

    /// Whether the subject gets mails of a category now.
    pub fn allows(&self, subject: &Subject, category: &str) -> bool {
        let (people, key) = self.about(subject);
        let own = people.iter().filter(|id| Some(**id) == subject.contact);
        own.filter_map(|id| self.people.get(id))
            .map(|person| &person.wants)
            .chain(self.shelf(key.as_deref()))
            .all(|wants| wants.allow(category))
    }

    /// Carries out what was decided, in order, as one change. Every row it touches is known to the
    /// book: those of the subjects it was opened with.
    pub fn decide(
        &mut self,
        known: &[List],
        subject: &Subject,
        decisions: &[Decision],
        grounds: &Grounds<'_>,
    ) -> Vec<Outcome> {
        self.decide_at(known, subject, decisions, grounds, 0)
    }

    /// Like [`decide`](Self::decide), where `depth` journeys stand before the decision.
    pub fn decide_at(
        &mut self,
        known: &[List],
        subject: &Subject,
        decisions: &[Decision],
        grounds: &Grounds<'_>,
        depth: i16,
    ) -> Vec<Outcome> {
        let (people, key) = self.about(subject);
        let about = About {
            contact: subject.contact,
            people: &people,
            key: key.as_deref(),
        };
        let before = self.look(&about);
        let mut touched = Touched::default();
        let mut outcomes = Vec::with_capacity(decisions.len());
        for decision in decisions {
            if let Decision::Join { id, consent } = decision
                && !self.allows(subject, id)
            {
                if !consent {
                    outcomes.push(Outcome::Left);
                    continue;
                }
                touched.rejoined.insert(id.clone());
            }
            self.apply(known, &about, decision);
            touched.note(decision);
            outcomes.push(Outcome::Done);
        }
        let after = self.look(&about);
        self.tell(&about, &touched, (&before, &after), grounds, depth);
        outcomes
    }

    /// Whom a subject means: contacts of this book, and the main key of the mailbox.
    fn about(&self, subject: &Subject) -> (Vec<ContactId>, Option<String>) {
        let own = subject.contact.and_then(|id| self.people.get(&id));
        let key = match &subject.mailbox {
            Some(mailbox) => Some(mailbox.key()),
            None => own.and_then(|person| person.mailbox.clone()),
        };
        let people = self.people.iter().filter(|(id, person)| {
            Some(**id) == subject.contact || key.is_some() && person.mailbox == key
        });
        (people.map(|(id, _)| *id).collect(), key)
    }

    /// The rows of a mailbox.
    fn shelf(&self, key: Option<&str>) -> impl Iterator<Item = &Preferences> {
        let shelf = key.and_then(|key| self.mailboxes.get(key));
        shelf.into_iter().flat_map(|shelf| shelf.wants.values())
    }

    /// What each of these people, and the mailbox, want now.
    fn look(&self, about: &About<'_>) -> Look {
        let strictest = |own: Preferences, key: Option<&str>| {
            let rows = self.shelf(key);
            rows.fold(own, |all, one| all.stricter(one))
        };
        let people = about.people.iter().filter_map(|id| {
            let person = self.people.get(id)?;
            let wants = strictest(person.wants.clone(), person.mailbox.as_deref());
            Some((*id, (person.wants.clone(), wants)))
        });
        Look {
            people: people.collect(),
            mailbox: strictest(Preferences::default(), about.key),
        }
    }

    fn apply(&mut self, known: &[List], about: &About<'_>, decision: &Decision) {
        let main = about.key.unwrap_or_default();
        let shelf = self.mailboxes.get_mut(main);
        let mut rows: Vec<(Row, &mut Preferences)> = Vec::new();
        for (id, person) in &mut self.people {
            if about.people.contains(id) {
                let named = Some(*id) == about.contact;
                let row = if named { Row::Named } else { Row::Other };
                rows.push((row, &mut person.wants));
            }
        }
        if let Some(shelf) = shelf {
            shelf.wants.entry(main.to_owned()).or_default();
            rows.extend(shelf.wants.iter_mut().map(|(key, wants)| {
                let row = if key == main { Row::Main } else { Row::Hashed };
                (row, wants)
            }));
        }
        for (row, wants) in rows {
            match decision {
                Decision::All { subscribed: false } if row == Row::Hashed => {}
                Decision::All { subscribed } => wants.unsubscribed_all = !subscribed,
                Decision::Category { id, subscribed } => set(wants, row, id, *subscribed),
                Decision::Join { id, .. } => {
                    if std::mem::take(&mut wants.unsubscribed_all) {
                        for list in known {
                            wants.categories.insert(list.id.clone(), false);
                        }
                    }
                    set(wants, row, id, true);
                }
                Decision::Replace { categories } => {
                    let named = row == Row::Named;
                    wants
                        .categories
                        .retain(|id, wanted| categories.contains_key(id) || *wanted && !named);
                    for (id, subscribed) in categories {
                        set(wants, row, id, *subscribed);
                    }
                }
            }
        }
    }

    /// Keeps what changed for whom, and who is to hear of it.
    fn tell(
        &mut self,
        about: &About<'_>,
        touched: &Touched,
        (before, after): (&Look, &Look),
        grounds: &Grounds<'_>,
        depth: i16,
    ) {
        for (id, (own_before, was)) in &before.people {
            let Some((own_after, is)) = after.people.get(id) else {
                continue;
            };
            let named = about.contact == Some(*id);
            let mut found = touched.compare(was, is);
            if named {
                found.explicit(touched, own_before, own_after, is);
            }
            let locked = self.people.get(id).is_some_and(|one| one.locked);
            for (category, subscribed) in found.told.iter().filter(|_| locked) {
                let data = match category {
                    Some(id) => ("category".to_owned(), json!(id)),
                    None => ("all".to_owned(), json!(true)),
                };
                self.happened.push(Happened {
                    contact: *id,
                    name: if *subscribed {
                        "email.subscribed"
                    } else {
                        "email.unsubscribed"
                    },
                    data: Properties::from_iter([data]),
                    depth,
                });
            }
            let mailbox = self.people.get(id).and_then(|one| one.mailbox.clone());
            self.keep(Some(*id), mailbox.as_deref(), found.kept, grounds);
        }
        if before.people.is_empty() && about.key.is_some() {
            let found = touched.compare(&before.mailbox, &after.mailbox);
            self.keep(None, about.key, found.kept, grounds);
        }
        let Some(by) = &grounds.by else { return };
        for list in &touched.rejoined {
            let resource = match about.contact {
                Some(contact) => ("contact", contact.to_string()),
                None => ("mailbox", String::new()),
            };
            self.audits.push(Audited {
                by: by.clone(),
                resource,
                list: list.clone(),
            });
        }
    }

    fn keep(
        &mut self,
        contact: Option<ContactId>,
        mailbox: Option<&str>,
        found: BTreeSet<(Option<String>, bool)>,
        grounds: &Grounds<'_>,
    ) {
        let changes = found
            .into_iter()
            .map(|(category, subscribed)| ConsentChange {
                contact,
                mailbox: mailbox.map(str::to_owned),
                category,
                subscribed,
                source: grounds.source.name(),
                wording: grounds.wording.chars().take(WORDING_MAX).collect(),
            });
        self.changes.extend(changes);
    }

    /// Stores what changed, with its proof, and queues it for analytics and endpoints. Returns the
    /// events journeys may react to; the caller stores them in the same transaction.
    pub async fn write(self, conn: &mut Conn, now: DateTime<Utc>) -> db::Result<Vec<FollowUp>> {
        let locked = self.people.iter().filter(|(_, one)| one.locked);
        let locked: Vec<ContactId> = locked.map(|(id, _)| *id).collect();
        let people = self
            .people
            .iter()
            .filter_map(|(id, one)| Some((*id, difference(&one.stored, &one.wants)?)));
        let people: Vec<(ContactId, ConsentDelta)> = people.collect();
        db::preferences_change(conn, &people, &locked, now).await?;
        let mut mailboxes: Vec<(String, ConsentDelta)> = Vec::new();
        for Shelf { stored, wants } in self.mailboxes.values() {
            let nothing = Preferences::default();
            for (key, wants) in wants {
                let delta = difference(stored.get(key).unwrap_or(&nothing), wants);
                mailboxes.extend(delta.map(|delta| (key.clone(), delta)));
            }
        }
        db::mailboxes_change(conn, &mailboxes, now).await?;
        db::consent_changes_insert(conn, &self.changes, now).await?;
        for one in &self.audits {
            let row = NewAudit {
                actor_type: one.by.kind,
                actor_id: one.by.id.clone(),
                actor_name: &one.by.name,
                action: "consent.subscribe",
                resource_type: one.resource.0,
                resource_id: &one.resource.1,
                before: Some(json!({ "list": one.list, "subscribed": false })),
                after: Some(json!({ "list": one.list, "subscribed": true })),
            };
            db::audit_insert(conn, &row, now).await?;
        }
        let captures: Vec<NewCapture> = self
            .happened
            .iter()
            .map(|one| NewCapture {
                id: ids::at(now),
                contact_id: one.contact,
                event: Some(one.name.to_owned()),
                properties: one.data.clone(),
                occurred_at: now,
            })
            .collect();
        if !captures.is_empty() {
            db::capture_insert(conn, &captures, now).await?;
        }
        let news: Vec<News> = self.happened.iter().flat_map(|one| one.news(now)).collect();
        announce(conn, &news, now).await?;
        let events = self.happened.into_iter().filter_map(|one| {
            // A journey that is triggered by what it causes would never end.
            let depth = one.depth.checked_add(1).filter(|it| *it < MAX_DEPTH)?;
            Some(FollowUp {
                contact: one.contact,
                source: SOURCE,
                name: one.name,
                properties: one.data,
                trust: Trust::Trusted,
                depth,
                occurred_at: Some(now),
            })
        });
        Ok(events.collect())
    }
}

/// The rows a decision is about.
struct About<'a> {
    contact: Option<ContactId>,
    people: &'a [ContactId],
    key: Option<&'a str>,
}

/// What people want: each by their own row, and with their mailbox.
struct Look {
    people: BTreeMap<ContactId, (Preferences, Preferences)>,
    mailbox: Preferences,
}

/// Whose row it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Row {
    /// The contact the decision names.
    Named,
    /// Another contact with the same mailbox.
    Other,
    /// The mailbox, under its main key.
    Main,
    /// The mailbox, under a hash.
    Hashed,
}

/// Leaving is said of everybody. Joining is said of the named contact; elsewhere it takes back that
/// somebody left.
fn set(wants: &mut Preferences, row: Row, category: &str, subscribed: bool) {
    let left = wants.categories.get(category) == Some(&false);
    let write = match (subscribed, row) {
        (false, Row::Hashed) => false,
        (false, _) | (true, Row::Named) => true,
        (true, _) => left,
    };
    if write {
        wants.categories.insert(category.to_owned(), subscribed);
    }
}

/// What decisions were about.
#[derive(Default)]
struct Touched {
    all: bool,
    categories: BTreeSet<String>,
    /// Whatever anybody had said something of.
    every: bool,
    /// Lists that somebody had left and joined again with consent.
    rejoined: BTreeSet<String>,
}

/// Category, None standing for everything, and whether it is wanted now.
#[derive(Default)]
struct Found {
    /// What journeys, analytics and endpoints are told.
    told: BTreeSet<(Option<String>, bool)>,
    /// What is kept as a proof.
    kept: BTreeSet<(Option<String>, bool)>,
}

impl Touched {
    fn note(&mut self, decision: &Decision) {
        match decision {
            Decision::All { .. } => self.all = true,
            Decision::Category { id, .. } | Decision::Join { id, .. } => {
                self.categories.insert(id.clone());
            }
            Decision::Replace { categories } => {
                self.every = true;
                self.categories.extend(categories.keys().cloned());
            }
        }
    }

    /// What is different for somebody who got mail by `was` and gets it by `is`.
    fn compare(&self, was: &Preferences, is: &Preferences) -> Found {
        let mut found = Found::default();
        if self.all && was.unsubscribed_all != is.unsubscribed_all {
            found.told.insert((None, !is.unsubscribed_all));
        }
        let said = was.categories.keys().chain(is.categories.keys());
        let said = said.filter(|id| self.every || self.categories.contains(*id));
        for id in said.chain(&self.rejoined) {
            let (before, after) = (was.categories.get(id), is.categories.get(id));
            if was.allow(id) && after == Some(&false) {
                found.told.insert((Some(id.clone()), false));
            }
            let back = before == Some(&false) && after != Some(&false);
            if is.allow(id) && (back || !was.allow(id) && self.rejoined.contains(id)) {
                found.told.insert((Some(id.clone()), true));
            }
            if before != after {
                let wanted = after.copied().unwrap_or(true);
                found.kept.insert((Some(id.clone()), wanted));
            }
        }
        found.kept.extend(found.told.iter().cloned());
        found
    }
}

impl Found {
    /// A contact that is put on a list nobody had put them on joins it, although they got its mails
    /// before.
    fn explicit(
        &mut self,
        touched: &Touched,
        was: &Preferences,
        now: &Preferences,
        gets: &Preferences,
    ) {
        for id in &touched.categories {
            let joins = now.categories.get(id) == Some(&true) && !was.categories.contains_key(id);
            if joins && gets.allow(id) {
                self.kept.insert((Some(id.clone()), true));
                if !touched.every {
                    self.told.insert((Some(id.clone()), true));
                }
            }
        }
    }
}

impl Happened {
    /// For endpoints. `contact.resubscribed` is what `contact.subscribed` was called.
    fn news(&self, now: DateTime<Utc>) -> Vec<News> {
        let types: &[&'static str] = match self.name {
            "email.subscribed" => &["contact.subscribed", "contact.resubscribed"],
            _ => &["contact.unsubscribed"],
        };
        let news = types.iter().map(|event_type| News {
            event_type,
            contact: self.contact,
            occurred_at: now,
            data: self.data.clone(),
        });
        news.collect()
    }
}

/// What is to be written of a row.
fn difference(was: &Preferences, wants: &Preferences) -> Option<ConsentDelta> {
    if was == wants {
        return None;
    }
    let all = wants.unsubscribed_all;
    let set = wants.categories.iter();
    let set = set.filter(|(id, wanted)| was.categories.get(*id) != Some(wanted));
    let unset = was.categories.keys();
    let unset = unset.filter(|id| !wants.categories.contains_key(*id));
    Some(ConsentDelta {
        unsubscribed_all: (was.unsubscribed_all != all).then_some(all),
        set: set.map(|(id, wanted)| (id.clone(), *wanted)).collect(),
        unset: unset.cloned().collect(),
    })
}
