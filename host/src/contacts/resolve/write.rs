//! Writes the contacts of one transaction, and everything that follows from their changes.

use std::collections::HashMap;
use std::sync::Arc;

use hogsend_plugin_api::{Properties, Trust};
use hogsend_semantics::identity::Id;
use hogsend_semantics::own_address::keep_own;
use serde_json::{Value, json};

use super::people::{Merged, Past, PendingAt, People, mark_seen};
use super::{Resolved, Whom};
use crate::contacts::{FollowUp, Person, Touch};
use crate::db::{self, Conn, Contact, EventRow, Merge, NewPending, PendingChange};
use crate::run_ended::{RunEnd, RunEnded};
use crate::webhooks::{News, announce};

/// Most events of a visitor that move to the contact's history once the visitor is identified. Older
/// ones stay until their retention deletes them.
const HISTORY_MAX: i64 = 10_000;
/// Values of one contact recorded as unstorable, newest first.
const UNFIT_MAX: usize = 20;

impl People {
    pub(super) async fn write(
        mut self,
        conn: &mut Conn,
        touches: &[Touch<'_>],
        places: Vec<Option<usize>>,
    ) -> db::Result<Resolved> {
        let now = self.now;
        let mut resolved = Resolved::default();
        let mut history = Vec::new();
        if !self.gains.is_empty() {
            history = self.history(conn).await?;
        }
        let touched: Vec<Contact> = self
            .all
            .iter()
            .filter(|it| it.touched && it.merged_into.is_none())
            .map(|it| it.contact.clone())
            .collect();
        if !touched.is_empty() {
            db::contact_upsert(conn, &touched, now).await?;
        }
        for merged in &self.merges {
            self.store_merge(conn, merged, &mut resolved).await?;
        }
        if !self.gains.is_empty() {
            let mut gains = std::mem::take(&mut self.gains);
            for gain in &mut gains {
                let place = self.current(self.by_contact[&gain.contact]);
                gain.contact = self.all[place].contact.id;
            }
            db::identities_insert(conn, &gains, now).await?;
        }
        if !history.is_empty() {
            db::event_insert(conn, &history).await?;
        }
        self.store_pending(conn).await?;
        self.store_unfit(conn).await?;
        let kept: HashMap<usize, Arc<Contact>> = (0..self.all.len())
            .filter(|place| self.all[*place].merged_into.is_none())
            .map(|place| (place, Arc::new(self.all[place].contact.clone())))
            .collect();
        for (place, contact) in &kept {
            let record = &self.all[*place];
            let id = contact.id;
            if record.made {
                resolved.made.push(id);
                continue;
            }
            if record.reached && record.address.is_some() && !record.had_address {
                resolved.reachable.push(contact.clone());
            }
            if record.linked {
                resolved.linked.push(id);
            }
        }
        let news = kept.iter().filter_map(|(place, contact)| {
            let record = &self.all[*place];
            let event_type = match (record.made, record.changed) {
                (true, _) => "contact.created",
                (false, true) => "contact.updated",
                (false, false) => return None,
            };
            Some(News {
                event_type,
                contact: contact.id,
                occurred_at: now,
                data: Properties::new(),
            })
        });
        let mut news: Vec<News> = news.collect();
        if !news.is_empty() {
            news.sort_by_key(|one| one.contact);
            announce(conn, &news, now).await?;
        }
        let whom = |(at, place): (usize, Option<usize>)| match place {
            Some(place) => Whom::Contact(kept[&self.current(place)].clone()),
            None => match touches.get(at).map(|touch| touch.person) {
                Some(Person::Names(_)) => Whom::Nobody,
                _ => Whom::Gone,
            },
        };
        resolved.people = places.into_iter().enumerate().map(whom).collect();
        Ok(resolved)
    }

    /// Takes the anonymous events of visitors that are identified now. They become rows of the contact's
    /// history and trigger nothing; their contact properties fill gaps only.
    async fn history(&mut self, conn: &mut Conn) -> db::Result<Vec<EventRow>> {
        let ids: Vec<Id> = self.gains.iter().map(|gain| gain.id.clone()).collect();
        let taken = db::anonymous_take(conn, &ids, HISTORY_MAX).await?;
        let mut rows = Vec::with_capacity(taken.len());
        for event in taken {
            let owner = event.ids.iter().find_map(|id| self.by_id.get(id)?.first());
            let Some(owner) = owner.map(|place| self.current(*place)) else {
                continue;
            };
            let contact = &mut self.all[owner].contact;
            let at = event.occurred_at.min(event.received_at);
            mark_seen(contact, at);
            let mut properties = event.contact_properties;
            keep_own(&mut properties, event.trust, contact.email.as_deref());
            rows.push(EventRow {
                id: event.id,
                contact_id: contact.id,
                source: event.source,
                trust: event.trust,
                historical: true,
                name: event.name,
                properties: event.properties,
                depth: 0,
                occurred_at: event.occurred_at,
                received_at: event.received_at,
            });
            self.past.push(Past {
                place: owner,
                at,
                properties,
                asked: None,
            });
        }
        self.apply_past();
        Ok(rows)
    }

    async fn store_merge(
        &self,
        conn: &mut Conn,
        merged: &Merged,
        resolved: &mut Resolved,
    ) -> db::Result<()> {
        if self.all[merged.gone].made {
            // It was never stored.
            return Ok(());
        }
        let keep = self.all[self.current(merged.kept)].contact.id;
        let merge = Merge {
            keep,
            gone: self.all[merged.gone].contact.id,
            reason: merged.reason,
            source: &merged.source,
        };
        let mut news = Vec::new();
        for ended in db::contact_merge(conn, merge, self.now).await? {
            let ended = RunEnded {
                run: ended.state,
                journey_id: ended.journey_id,
                contact: keep,
                end: RunEnd::Exited {
                    reason: "merged".into(),
                },
                depth: ended.depth,
                trust: Trust::Trusted,
            };
            news.push(ended.news(self.now));
            resolved.follows.push(FollowUp::run_ended(&ended));
        }
        announce(conn, &news, self.now).await
    }

    /// Records on the contacts what sources sent and could not be stored.
    async fn store_unfit(&self, conn: &mut Conn) -> db::Result<()> {
        for record in self.all.iter().filter(|it| it.merged_into.is_none()) {
            let newest = record.unfit.iter().rev().take(UNFIT_MAX);
            let rows: Vec<Value> = newest
                .map(|(source, unfit)| {
                    json!({ "source": source, "name": unfit.name, "reason": unfit.reason, "at": self.now })
                })
                .collect();
            if !rows.is_empty() {
                let max = i64::try_from(UNFIT_MAX).unwrap_or(i64::MAX);
                db::contact_unfit(conn, record.contact.id, &Value::Array(rows), max).await?;
            }
        }
        Ok(())
    }

    /// Stores changes that await a decision, and removes those that have happened by now.
    async fn store_pending(&self, conn: &mut Conn) -> db::Result<()> {
        let mut settled = (Vec::new(), Vec::new());
        let records = self.all.iter().filter(|it| it.merged_into.is_none());
        for record in records.filter(|it| it.settled && !it.made) {
            if let Some(address) = &record.address {
                settled.0.push(record.contact.id);
                settled.1.push(address.clone());
            }
        }
        let id = |place: usize| self.all[self.current(place)].contact.id;
        let changes = self
            .pending
            .iter()
            .filter_map(|(place, change, source, event)| {
                let contact = id(*place);
                let change = match change {
                    PendingAt::Address(address) => PendingChange::Address(address.clone()),
                    PendingAt::Unite(other) => PendingChange::Unite(id(*other)),
                };
                (change != PendingChange::Unite(contact)).then(|| NewPending {
                    contact,
                    change,
                    source: source.clone(),
                    event: *event,
                })
            });
        let changes: Vec<NewPending> = changes.collect();
        if !changes.is_empty() {
            db::pending_put(conn, &changes, self.now).await?;
        }
        if !settled.0.is_empty() {
            db::pending_settle(conn, &settled.0, &settled.1).await?;
        }
        Ok(())
    }
}
