//! What events change about runs, written together.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use serde_json::json;

use super::happened::Happened;
use crate::catalog::JourneyEntry;
use crate::db::{self, Conn, HeldEntry, Log, NewSkip, NewState, OpenState};
use crate::ids::StateId;
use crate::states::RunState;
use crate::telemetry::metrics::{ENROLMENTS_REFUSED, RUNS_BEGUN};
use crate::webhooks::{News, announce};

/// Rows to write, in one statement for each kind.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) entered: Vec<NewState>,
    pub(super) exited: Vec<StateId>,
    pub(super) held: Vec<HeldEntry>,
    pub(super) skips: Vec<NewSkip>,
    pub(super) logs: Vec<Log>,
    /// Webhooks, apart from those of runs that begin.
    pub(super) news: Vec<News>,
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
    pub(super) fn enter(&mut self, state: NewState, event: &Happened<'_>) {
        self.logs.push(Log {
            state_id: state.id,
            from: None,
            to: RunState::Active,
            action: "enrolled",
            detail: json!({ "event": event.name, "eventId": event.id }),
        });
        RUNS_BEGUN.add(&[&state.journey_id], 1);
        self.entered.push(state);
    }

    /// Records that a guard kept the contact of an event out of a journey.
    pub(super) fn refuse(
        &mut self,
        entry: &JourneyEntry,
        event: &Happened<'_>,
        reason: &'static str,
    ) {
        let journey = &entry.definition.id;
        ENROLMENTS_REFUSED.add(&[journey, reason], 1);
        self.skips.push(NewSkip {
            journey_id: journey.clone(),
            contact_id: event.contact.id,
            event_id: event.id,
            reason,
        });
    }

    pub(super) fn exit(&mut self, state: &OpenState, event: &Happened<'_>) {
        self.exited.push(state.id);
        self.logs.push(Log {
            state_id: state.id,
            from: Some(state.status),
            to: RunState::Exited,
            action: "exit_condition_met",
            detail: json!({ "event": event.name, "eventId": event.id }),
        });
    }

    pub(super) async fn write(self, conn: &mut Conn, now: DateTime<Utc>) -> db::Result<usize> {
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
