//! What events do to journeys: they end runs, and begin runs that the guards allow.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::journey::{Entry, User};
use hogsend_plugin_api::{Properties, Trust};
use hogsend_semantics::guard::{Facts, decide};
use serde_json::json;

use super::exit::Exit;
use super::happened::Happened;
use super::wait;
use crate::catalog::{Catalog, JourneyEntry};
use crate::contacts::FollowUp;
use crate::db::{
    self, Conn, Consents, Contact, HeldEntry, Log, NewSkip, NewState, OpenState, Unreached,
};
use crate::ids::{ContactId, EventId, StateId};
use crate::mailbox::Mailbox;
use crate::run_ended::{RunEnd, RunEnded};
use crate::states::RunState;
use crate::webhooks::{News, announce};

/// Why nobody is enrolled by hand or by a replay while a journey is paused.
const HELD: &str = "held";
/// How long ago a run may have begun for its journey to be offered again.
const OFFERED_AGAIN: TimeDelta = TimeDelta::days(7);

/// The effects of events on journeys.
#[derive(Default)]
pub struct Reactions {
    /// For each event: the open runs of the person that have exit conditions.
    pub exits: Vec<Vec<Exit>>,
    /// Events that follow.
    pub events: Vec<FollowUp>,
    /// Runs that are due now: those that began, and those whose wait the events ended.
    pub enrolled: usize,
}

/// Lets events end and begin runs, in order. The caller holds the contacts' locks, so no other transaction
/// begins or ends a run of these people meanwhile.
pub async fn react(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    events: &[Happened<'_>],
) -> db::Result<Reactions> {
    let mut people = People::load(conn, catalog, events.iter()).await?;
    let mut reactions = Reactions::default();
    let mut changes = Changes::default();
    for event in events {
        let exits = people.exit(catalog, event, &mut changes);
        for exit in exits.iter().filter(|exit| exit.exited) {
            let ended = RunEnded {
                run: exit.state_id,
                journey_id: exit.journey_id.clone(),
                contact: event.contact.id,
                end: RunEnd::ExitedOn {
                    event: event.name.to_owned(),
                },
                depth: event.depth,
                trust: event.trust,
            };
            changes.news.push(ended.news(now));
            reactions.events.push(FollowUp::run_ended(&ended));
        }
        reactions.exits.push(exits);
        for entry in catalog.triggered_by(event.name) {
            people.offer(entry, event, now, &mut changes);
        }
    }
    let ended = changes.exited.clone();
    reactions.enrolled = changes.write(conn, now).await?;
    reactions.enrolled += wait::satisfy(conn, now, events, &ended).await?;
    Ok(reactions)
}

/// A person to be enrolled in one journey.
#[derive(Clone, Copy)]
pub struct Entrant<'a> {
    pub entry: &'a JourneyEntry,
    /// Whose row is locked.
    pub contact: &'a Contact,
    /// Properties that the trigger event would have.
    pub properties: &'a Properties,
    pub trust: Trust,
}

/// Enrols people, one after the other, as the trigger events of the journeys with these properties
/// would: the same guards decide, and their refusals are the errors. No event is stored, so nothing else
/// happens. The facts that the guards need are read once, however many people there are.
pub async fn enrol_each(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    entrants: &[Entrant<'_>],
) -> db::Result<Vec<Result<StateId, &'static str>>> {
    let events: Vec<Happened<'_>> = entrants
        .iter()
        .map(|entrant| Happened {
            id: EventId::new(now),
            name: &entrant.entry.definition.trigger.event,
            properties: entrant.properties,
            depth: 0,
            trust: entrant.trust,
            occurred_at: now,
            contact: entrant.contact,
        })
        .collect();
    let mut people = People::load(conn, catalog, events.iter()).await?;
    let mut changes = Changes::default();
    let mut results = Vec::with_capacity(entrants.len());
    for (Entrant { entry, contact, .. }, event) in entrants.iter().zip(&events) {
        let refused = match people.guard(entry, event, now) {
            Ok(()) if people.is_held(entry) => Some(HELD),
            decided => decided.err(),
        };
        match refused {
            None => people.enter(entry, event, now, &mut changes),
            Some(reason) => changes.skips.push(NewSkip {
                journey_id: entry.definition.id.clone(),
                contact_id: contact.id,
                event_id: event.id,
                reason,
            }),
        }
        results.push(match (refused, changes.entered.last()) {
            (None, Some(state)) => Ok(state.id),
            (refused, _) => Err(refused.unwrap_or("already_active")),
        });
    }
    changes.write(conn, now).await?;
    Ok(results)
}

/// Offers events to these journeys: the guards decide. The caller holds the contacts' locks.
pub(super) async fn offer_each(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    offers: &[(&JourneyEntry, Happened<'_>)],
) -> db::Result<()> {
    let mut people = People::load(conn, catalog, offers.iter().map(|offer| &offer.1)).await?;
    let mut changes = Changes::default();
    for (entry, event) in offers {
        people.offer(entry, event, now, &mut changes);
    }
    changes.write(conn, now).await?;
    Ok(())
}

/// Enrols people who just got an address again in the journeys that they entered in the last days and that
/// skipped all mails because there was no address. Such a run that is still open ends, so that its first
/// mail is not lost. The caller holds the contacts' locks. Returns how many runs began.
pub async fn offer_again(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    contacts: &[Arc<Contact>],
) -> db::Result<usize> {
    if contacts.is_empty() {
        return Ok(0);
    }
    let ids: Vec<ContactId> = contacts.iter().map(|contact| contact.id).collect();
    let mut unreached = db::states_unreached(conn, &ids, now - OFFERED_AGAIN).await?;
    let entry_of = |run: &Unreached| {
        let entry = catalog.journey(&run.state.journey_id)?;
        let same = entry.definition.trigger.event == run.trigger_event;
        (same && entry.definition.entry != Entry::Unlimited).then_some(entry)
    };
    unreached.retain(|run| entry_of(run).is_some());
    let events: Vec<Happened<'_>> = unreached
        .iter()
        .filter_map(|run| {
            Some(Happened {
                id: EventId::new(now),
                name: &run.trigger_event,
                properties: &run.context,
                depth: run.state.depth,
                trust: run.trust,
                occurred_at: now,
                contact: contacts.iter().find(|it| it.id == run.state.contact_id)?,
            })
        })
        .collect();
    let mut ending = Changes::default();
    let open = |run: &&Unreached| run.state.status.is_open();
    for run in unreached.iter().filter(open) {
        ending.exited.push(run.state.id);
        ending.logs.push(Log {
            state_id: run.state.id,
            from: Some(run.state.status),
            to: RunState::Exited,
            action: "address_arrived",
            detail: json!({}),
        });
    }
    ending.write(conn, now).await?;
    let mut people = People::load(conn, catalog, events.iter()).await?;
    let mut changes = Changes::default();
    for (event, run) in events.iter().zip(&unreached) {
        let Some(entry) = entry_of(run) else { continue };
        people.offer(entry, event, now, &mut changes);
    }
    changes.write(conn, now).await
}

/// The key of a contact's mailbox. Entries that have only a hash of the address are checked before a mail
/// goes out.
fn mailbox(contact: &Contact) -> Option<String> {
    let email = contact.email.as_deref()?;
    Some(Mailbox::plain(email).key())
}

/// The facts that the guards need, read once for all events.
struct People {
    open: Vec<OpenState>,
    last_entries: HashMap<(String, ContactId), DateTime<Utc>>,
    consents: Consents,
    disabled: HashSet<String>,
    paused: HashSet<String>,
}

impl People {
    async fn load<'e>(
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
    fn exit(
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
    fn is_held(&self, entry: &JourneyEntry) -> bool {
        self.paused.contains(&entry.definition.id)
    }

    /// Enrols the contact of an event, holds the entry while the journey is paused, or records why not.
    fn offer(
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
            Err(reason) => changes.skips.push(NewSkip {
                journey_id: entry.definition.id.clone(),
                contact_id: event.contact.id,
                event_id: event.id,
                reason,
            }),
        }
    }

    /// Asks the guards in their order; the first that refuses names the reason.
    fn guard(
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

    fn enter(
        &mut self,
        entry: &JourneyEntry,
        event: &Happened<'_>,
        now: DateTime<Utc>,
        changes: &mut Changes,
    ) {
        let definition = &entry.definition;
        let state = NewState {
            id: StateId::new(now),
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

/// Rows to write, in one statement for each kind.
#[derive(Default)]
struct Changes {
    entered: Vec<NewState>,
    exited: Vec<StateId>,
    held: Vec<HeldEntry>,
    skips: Vec<NewSkip>,
    logs: Vec<Log>,
    /// Webhooks, apart from those of runs that begin.
    news: Vec<News>,
}

/// The webhook of a run that begins.
pub fn enrolled(state: &NewState, now: DateTime<Utc>) -> News {
    let mut data = Properties::new();
    data.insert("journeyId".into(), json!(state.journey_id));
    data.insert("stateId".into(), json!(state.id));
    data.insert("event".into(), json!(state.trigger_event));
    News {
        event_type: "journey.enrolled",
        contact: state.contact_id,
        occurred_at: now,
        data,
    }
}

impl Changes {
    fn enter(&mut self, state: NewState, event: &Happened<'_>) {
        self.logs.push(Log {
            state_id: state.id,
            from: None,
            to: RunState::Active,
            action: "enrolled",
            detail: json!({ "event": event.name, "eventId": event.id }),
        });
        self.entered.push(state);
    }

    fn exit(&mut self, state: &OpenState, event: &Happened<'_>) {
        self.exited.push(state.id);
        self.logs.push(Log {
            state_id: state.id,
            from: Some(state.status),
            to: RunState::Exited,
            action: "exit_condition_met",
            detail: json!({ "event": event.name, "eventId": event.id }),
        });
    }

    async fn write(self, conn: &mut Conn, now: DateTime<Utc>) -> db::Result<usize> {
        let mut made = HashSet::new();
        // In the order in which it happened: a run begins before it ends.
        let mut news: Vec<News> = self.entered.iter().map(|it| enrolled(it, now)).collect();
        news.extend(self.news);
        // A run may begin, end and begin again within one transaction: the unique index allows a new run
        // only after the old one ended, and an exit can only end a run that is stored.
        let exited: HashSet<StateId> = self.exited.iter().copied().collect();
        let brief: Vec<NewState> = self
            .entered
            .iter()
            .filter(|state| exited.contains(&state.id))
            .cloned()
            .collect();
        let earlier: Vec<StateId> = self.exited.clone();
        if !earlier.is_empty() {
            db::state_exit(conn, &earlier, now).await?;
        }
        for state in brief {
            let id = state.id;
            db::state_insert(conn, &[state], now).await?;
            db::state_exit(conn, &[id], now).await?;
        }
        let lasting: Vec<NewState> = self
            .entered
            .into_iter()
            .filter(|state| !exited.contains(&state.id))
            .collect();
        if !lasting.is_empty() {
            made = db::state_insert(conn, &lasting, now).await?;
        }
        announce(conn, &news, now).await?;
        if !self.logs.is_empty() {
            db::log_insert(conn, &self.logs, now).await?;
        }
        if !self.held.is_empty() {
            db::held_insert(conn, &self.held).await?;
        }
        if !self.skips.is_empty() {
            db::skip_insert(conn, &self.skips, now).await?;
        }
        Ok(made.len())
    }
}

/// A person as they are when they enter.
fn person(contact: &Contact) -> User {
    let id = contact.id.into();
    let mut user = User::new(id, contact.external_id.clone(), contact.email.clone());
    user.properties.clone_from(&contact.properties);
    user
}
