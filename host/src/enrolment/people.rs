//! The facts that the guards need about people, and what the guards decide.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::User;
use hogsend_semantics::guard::{Facts, decide};

use super::changes::Changes;
use super::exit::Exit;
use super::happened::Happened;
use crate::catalog::{Catalog, JourneyEntry};
use crate::db::{self, Conn, Consents, Contact, HeldEntry, NewState, OpenState};
use crate::ids::{ContactId, StateId};
use crate::mailbox::Mailbox;
use crate::states::RunState;
use crate::telemetry::traces::spans;

/// The facts that the guards need, read once for all events.
pub(super) struct People {
    open: Vec<OpenState>,
    last_entries: HashMap<(String, ContactId), DateTime<Utc>>,
    consents: Consents,
    disabled: HashSet<String>,
    paused: HashSet<String>,
}

impl People {
    pub(super) async fn load<'e>(
        conn: &mut Conn,
        catalog: &Catalog,
        events: impl Iterator<Item = &'e Happened<'e>> + Clone,
    ) -> db::Result<Self> {
        let mut people = Self {
            open: Vec::new(),
            last_entries: HashMap::new(),
            consents: Consents::default(),
            disabled: HashSet::new(),
            paused: HashSet::new(),
        };
        let mut contacts: Vec<ContactId> = events.clone().map(|event| event.contact.id).collect();
        contacts.sort_unstable();
        contacts.dedup();
        let mut entering: Vec<ContactId> = Vec::new();
        let mut journeys: Vec<String> = Vec::new();
        let mut mailboxes: Vec<String> = Vec::new();
        for event in events {
            let triggered = catalog.triggered_by(event.name);
            if !triggered.is_empty() {
                entering.push(event.contact.id);
                mailboxes.extend(mailbox(event.contact));
                journeys.extend(triggered.iter().map(|entry| entry.definition.id.clone()));
            }
        }
        if catalog.has_exits() || !entering.is_empty() {
            people.open = db::states_open(conn, &contacts).await?;
        }
        if !entering.is_empty() {
            let entries = db::state_last_entries(conn, &journeys, &entering).await?;
            let entries = entries
                .into_iter()
                .map(|e| ((e.journey_id, e.contact_id), e.at));
            people.last_entries = entries.collect();
            people.consents = db::consents(conn, &entering, &mailboxes).await?;
            people.disabled = db::journeys_disabled(conn).await?;
            people.paused = db::journeys_paused(conn).await?;
        }
        Ok(people)
    }

    /// Ends the person's runs whose exit condition the event meets.
    pub(super) fn exit(
        &mut self,
        catalog: &Catalog,
        event: &Happened<'_>,
        changes: &mut Changes,
    ) -> Vec<Exit> {
        let mut exits = Vec::new();
        self.open.retain(|state| {
            if state.contact_id != event.contact.id {
                return true;
            }
            let Some(entry) = catalog.journey(&state.journey_id) else {
                return true;
            };
            if entry.definition.exit_on.is_empty() {
                return true;
            }
            let exited = entry.definition.exit_on.iter().any(|exit| {
                exit.event == event.name
                    && exit.condition.as_ref().is_none_or(|condition| {
                        condition.matches(event.properties, &event.contact.properties)
                    })
            });
            exits.push(Exit {
                journey_id: state.journey_id.clone(),
                state_id: state.id,
                exited,
            });
            if exited {
                changes.exit(state, event);
            }
            !exited
        });
        exits
    }

    /// Whether entries into this journey are held.
    pub(super) fn is_held(&self, entry: &JourneyEntry) -> bool {
        self.paused.contains(&entry.definition.id)
    }

    /// Enrols the contact of an event, holds the entry while the journey is paused, or records why not.
    pub(super) fn offer(
        &mut self,
        entry: &JourneyEntry,
        event: &Happened<'_>,
        now: DateTime<Utc>,
        changes: &mut Changes,
    ) {
        match self.guard(entry, event, now) {
            Ok(()) if self.is_held(entry) => changes.held.push(HeldEntry {
                journey_id: entry.definition.id.clone(),
                contact_id: event.contact.id,
                event: event.name.to_owned(),
                properties: event.properties.clone(),
                occurred_at: event.occurred_at,
                depth: event.depth,
                trust: event.trust,
                held_at: now,
            }),
            Ok(()) => self.enter(entry, event, now, changes),
            Err(reason) => changes.refuse(entry, event, reason),
        }
    }

    /// Asks the guards in their order; the first that refuses names the reason.
    pub(super) fn guard(
        &self,
        entry: &JourneyEntry,
        event: &Happened<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), &'static str> {
        let definition = &entry.definition;
        let contact = event.contact;
        let entered = (definition.id.clone(), contact.id);
        let is_open =
            |state: &OpenState| state.contact_id == contact.id && state.journey_id == definition.id;
        let facts = Facts {
            event: event.properties,
            contact: &contact.properties,
            now,
            trust: event.trust,
            age: now - event.occurred_at,
            admitted: entry.selected && !self.disabled.contains(&definition.id),
            last_entry: self.last_entries.get(&entered).copied(),
            subscribed: self.consents.allow(
                contact.id,
                mailbox(contact).as_slice(),
                &definition.category,
            ),
            open: self.open.iter().any(is_open),
            depth: event.depth,
        };
        decide(definition, &facts)
    }

    pub(super) fn enter(
        &mut self,
        entry: &JourneyEntry,
        event: &Happened<'_>,
        now: DateTime<Utc>,
        changes: &mut Changes,
    ) {
        let definition = &entry.definition;
        let id = StateId::new(now);
        let state = NewState {
            id,
            traceparent: spans::enrol(event.traceparent, event.id, &definition.id, id),
            journey_id: definition.id.clone(),
            contact_id: event.contact.id,
            plugin_id: entry.plugin.id().to_owned(),
            plugin_version: entry.plugin.version().to_owned(),
            trigger_event: event.name.to_owned(),
            context: event.properties.clone(),
            person: person(event.contact),
            depth: event.depth,
            trust: event.trust,
        };
        // Later events of the same transaction have to see the run.
        self.open.push(OpenState {
            id: state.id,
            journey_id: state.journey_id.clone(),
            contact_id: state.contact_id,
            status: RunState::Active,
            depth: state.depth,
        });
        self.last_entries
            .insert((state.journey_id.clone(), state.contact_id), now);
        changes.enter(state, event);
    }
}

/// The key of a contact's mailbox. Entries that have only a hash of the address are checked before a mail
/// goes out.
fn mailbox(contact: &Contact) -> Option<String> {
    let email = contact.email.as_deref()?;
    Some(Mailbox::plain(email).key())
}

/// A person as they are when they enter.
fn person(contact: &Contact) -> User {
    let id = contact.id.into();
    let mut user = User::new(id, contact.external_id.clone(), contact.email.clone());
    user.properties.clone_from(&contact.properties);
    user
}
