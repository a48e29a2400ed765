//! Names of events: aliases, and names that no journey listens for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use utoipa::ToSchema;

use super::NewEvent;
use crate::catalog::Catalog;
use crate::config::Aliases;
use crate::installed::Installed;
use crate::nearest::nearest;

/// Most names kept, because anyone who can send events can invent any number.
const NAMES: usize = 200;
/// Most findings reported by the health endpoint.
const FINDINGS: usize = 10;

/// Replaces aliases with the names events are stored under, and counts events that no journey uses.
#[derive(Default)]
pub struct Naming {
    aliases: Aliases,
    installed: Installed,
    unheard: Mutex<BTreeMap<String, Unheard>>,
}

/// An event name that starts and ends no journey, counted since this process started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Unheard {
    #[schema(example = "signed_up")]
    pub name: String,
    pub count: u64,
    /// A similar name that starts or ends a journey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
}

impl Naming {
    pub fn new(aliases: Aliases, installed: &Installed) -> Self {
        Self {
            aliases,
            installed: installed.clone(),
            unheard: Mutex::default(),
        }
    }

    /// Renames events from outside.
    pub fn apply(&self, events: &mut [NewEvent]) {
        let catalog = self.installed.catalog();
        for event in events {
            let name = self.aliases.name(&event.name);
            if name != event.name {
                event.name = name.to_owned();
            }
            if !catalog.concerns(&event.name) {
                self.note(&event.name, &catalog);
            }
        }
    }

    fn note(&self, name: &str, catalog: &Catalog) {
        let mut unheard = self.unheard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = unheard.get_mut(name) {
            known.count += 1;
            return;
        }
        if unheard.len() >= NAMES {
            return;
        }
        let nearest = nearest(name, catalog.listened_for()).map(str::to_owned);
        match &nearest {
            Some(nearest) => tracing::warn!(
                event = name,
                "no journey starts or ends with this event; did you mean '{nearest}'? \
                 EVENT_ALIASES={name}={nearest} treats them as the same event"
            ),
            None => tracing::info!(event = name, "no journey starts or ends with this event"),
        }
        let first = Unheard {
            name: name.to_owned(),
            count: 1,
            nearest,
        };
        unheard.insert(name.to_owned(), first);
    }

    /// A sentence for each name that is probably a misspelling of another one.
    pub fn findings(&self) -> Vec<String> {
        let meant = self.unheard().into_iter().filter_map(|one| {
            let Unheard { name, count, .. } = &one;
            let nearest = one.nearest.as_ref()?;
            let events = if *count == 1 {
                "1 event"
            } else {
                &format!("{count} events")
            };
            Some(format!(
                "{events} '{name}' started and ended no journey since this process started: did \
                 you mean '{nearest}'? EVENT_ALIASES={name}={nearest} treats them as the same event."
            ))
        });
        meant.take(FINDINGS).collect()
    }

    /// The names that start and end no journey, the most frequent first.
    pub fn unheard(&self) -> Vec<Unheard> {
        let unheard = self.unheard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Unheard> = unheard.values().cloned().collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.count));
        all
    }
}
