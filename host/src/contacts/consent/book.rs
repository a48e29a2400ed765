//! The only code that changes consent.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};
use hogsend_semantics::MAX_DEPTH;
use serde_json::json;

use super::change::{Touched, difference};
use super::{Decision, Grounds, Outcome, Subject};
use crate::catalog::List;
use crate::contacts::FollowUp;
use crate::db::{
    self, Conn, ConsentChange, ConsentDelta, Holder, NewAudit, NewCapture, Preferences,
};
use crate::ids::{self, ContactId};
use crate::mailbox::{Addresses, Mailbox};
use crate::webhooks::{News, announce};

/// The source of events about changed consent.
const SOURCE: &str = "email";
/// Characters of a wording that are stored; longer ones are cut.
const WORDING_MAX: usize = 1_000;

/// The preferences of some contacts and mailboxes, with the changes to them. Nothing is stored before
/// [`write`](Book::write).
#[derive(Default)]
pub struct Book {
    people: BTreeMap<ContactId, Person>,
    /// By their main keys.
    mailboxes: BTreeMap<String, MailboxRows>,
    changes: Vec<ConsentChange>,
    happened: Vec<Happened>,
    audits: Vec<Audited>,
}

struct Person {
    /// The main key of its mailbox.
    mailbox: Option<String>,
    stored: Preferences,
    wants: Preferences,
    /// Its lock is held, so events about it may be stored.
    locked: bool,
}

/// A mailbox with all its rows: one under the address, some under hashes. Both maps are by key.
struct MailboxRows {
    stored: BTreeMap<String, Preferences>,
    wants: BTreeMap<String, Preferences>,
}

/// Which contacts a change is reported for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every contact with the mailbox. This locks them, so it must come before any other lock of
    /// contacts.
    Everybody,
    /// The subjects' contacts, which the caller has locked. Other contacts with the mailbox change without
    /// a report.
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
    /// Loads the preferences of these subjects and of every other contact with one of the mailboxes.
    /// Without `addresses`, mailboxes are looked up by address only, not by hash.
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
                // The address of a named contact may have changed before the lock.
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
        // Opt-outs that an earlier version stored for contacts only.
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
            book.mailboxes.insert(key, MailboxRows { stored, wants });
        }
        Ok(book)
    }

    /// Whether the subject gets mail of a category now.
    pub fn allows(&self, subject: &Subject, category: &str) -> bool {
        let (people, key) = self.about(subject);
        let own = people.iter().filter(|id| Some(**id) == subject.contact);
        own.filter_map(|id| self.people.get(id))
            .map(|person| &person.wants)
            .chain(self.mailbox_rows(key.as_deref()))
            .all(|wants| wants.allow(category))
    }

    /// Applies decisions in order, as one change. `subject` must be one the book was opened with.
    pub fn decide(
        &mut self,
        known: &[List],
        subject: &Subject,
        decisions: &[Decision],
        grounds: &Grounds<'_>,
    ) -> Vec<Outcome> {
        self.decide_at(known, subject, decisions, grounds, 0)
    }

    /// Like [`decide`](Self::decide), for a decision that `depth` journeys caused.
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
        let before = self.snapshot(&about);
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
        let after = self.snapshot(&about);
        self.record(&about, &touched, (&before, &after), grounds, depth);
        outcomes
    }

    /// The contacts and the main mailbox key of a subject.
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
    fn mailbox_rows(&self, key: Option<&str>) -> impl Iterator<Item = &Preferences> {
        let shelf = key.and_then(|key| self.mailboxes.get(key));
        shelf.into_iter().flat_map(|shelf| shelf.wants.values())
    }

    /// The current preferences of these contacts and of the mailbox.
    fn snapshot(&self, about: &About<'_>) -> Snapshot {
        let strictest = |own: Preferences, key: Option<&str>| {
            let rows = self.mailbox_rows(key);
            rows.fold(own, |all, one| all.stricter(one))
        };
        let people = about.people.iter().filter_map(|id| {
            let person = self.people.get(id)?;
            let wants = strictest(person.wants.clone(), person.mailbox.as_deref());
            Some((*id, (person.wants.clone(), wants)))
        });
        Snapshot {
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

    /// Records the changes for the proof, and the events to report.
    fn record(
        &mut self,
        about: &About<'_>,
        touched: &Touched,
        (before, after): (&Snapshot, &Snapshot),
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
            for (category, subscribed) in found.reported.iter().filter(|_| locked) {
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
            self.prove(Some(*id), mailbox.as_deref(), found.kept, grounds);
        }
        if before.people.is_empty() && about.key.is_some() {
            let found = touched.compare(&before.mailbox, &after.mailbox);
            self.prove(None, about.key, found.kept, grounds);
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

    fn prove(
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

    /// Stores the changes with their proof, and queues them for analytics and webhooks. Returns the events
    /// that journeys may react to; the caller stores them in the same transaction.
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
        for MailboxRows { stored, wants } in self.mailboxes.values() {
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
            // The limit stops journeys that trigger themselves.
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

/// Preferences at one moment: of each contact alone and with its mailbox, and of the mailbox.
struct Snapshot {
    people: BTreeMap<ContactId, (Preferences, Preferences)>,
    mailbox: Preferences,
}

/// The role of a row in a decision.
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

/// Leaving is written to every row but the hashed ones. Joining is written to the named contact's row;
/// in other rows it only replaces an earlier leaving.
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

impl Happened {
    /// The webhooks. `contact.resubscribed` is the former name of `contact.subscribed`.
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
