//! Every journey and template of every plugin, found by what an event asks for.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use hogsend_plugin_api::Template;
use hogsend_plugin_api::journey::{Catalogue, Definition};
use hogsend_plugin_api::semantics::TRANSACTIONAL;

use crate::contacts::consent::{self, List};
use crate::nearest::nearest;
use crate::plugins::{JourneysRef, Registry};

/// A journey and the plugin it comes from.
pub struct JourneyEntry {
    pub definition: Definition,
    pub plugin: JourneysRef,
    /// Named in `ENABLED_JOURNEYS`.
    pub selected: bool,
}

/// What the host knows of journeys. Made once, at start.
#[derive(Default)]
pub struct Catalog {
    journeys: BTreeMap<String, Arc<JourneyEntry>>,
    by_trigger: HashMap<String, Vec<Arc<JourneyEntry>>>,
    has_exits: bool,
    exit_events: HashSet<String>,
    templates: BTreeMap<String, Template>,
    lists: Vec<List>,
}

/// `ENABLED_JOURNEYS` names journeys that no plugin brings.
#[derive(Debug, thiserror::Error)]
#[error(
    "ENABLED_JOURNEYS names {}, which no plugin brings{}; known journeys: {known}",
    list(unknown),
    hint(nearest)
)]
pub struct CatalogError {
    unknown: Vec<String>,
    nearest: Option<String>,
    known: String,
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    quoted.join(", ")
}

fn hint(nearest: &Option<String>) -> String {
    let nearest = nearest.as_ref();
    nearest.map_or_else(String::new, |id| format!(" (did you mean '{id}'?)"))
}

impl Catalog {
    /// Collects what the plugins bring. `selected` is `ENABLED_JOURNEYS`; `None` stands for `*`.
    pub fn new(plugins: &Registry, selected: Option<&[String]>) -> Result<Self, CatalogError> {
        let mut catalog = Self::default();
        for plugin in plugins.journeys() {
            for definition in &plugin.catalogue().journeys {
                catalog.add(JourneyEntry {
                    definition: definition.clone(),
                    plugin: plugin.clone(),
                    selected: selected.is_none_or(|ids| ids.contains(&definition.id)),
                });
            }
            catalog.add_lists(plugin.catalogue());
            for template in &plugin.catalogue().templates {
                catalog
                    .templates
                    .insert(template.key.clone(), template.clone());
            }
        }
        let unknown = selected.unwrap_or_default().iter();
        let unknown: Vec<String> = unknown
            .filter(|id| !catalog.journeys.contains_key(*id))
            .cloned()
            .collect();
        let Some(first) = unknown.first() else {
            return Ok(catalog);
        };
        let known = || catalog.journeys.keys().map(String::as_str);
        Err(CatalogError {
            nearest: nearest(first, known()).map(str::to_owned),
            known: known().collect::<Vec<_>>().join(", "),
            unknown,
        })
    }

    fn add(&mut self, entry: JourneyEntry) {
        let entry = Arc::new(entry);
        let definition = &entry.definition;
        self.by_trigger
            .entry(definition.trigger.event.clone())
            .or_default()
            .push(entry.clone());
        self.has_exits |= !definition.exit_on.is_empty();
        self.exit_events
            .extend(definition.exit_on.iter().map(|exit| exit.event.clone()));
        self.journeys.insert(definition.id.clone(), entry);
    }

    /// Categories a plugin tells of come first, then those of its journeys, then of its templates,
    /// each in the plugin's order.
    fn add_lists(&mut self, catalogue: &Catalogue) {
        for own in &catalogue.categories {
            self.add_list("journey", &own.id, &own.name, &own.description);
        }
        for journey in &catalogue.journeys {
            self.add_list("journey", &journey.category, "", "");
        }
        for category in catalogue
            .templates
            .iter()
            .filter_map(|it| it.category.as_ref())
        {
            self.add_list("template", category, "", "");
        }
    }

    fn add_list(&mut self, kind: &'static str, id: &str, name: &str, description: &str) {
        if id == TRANSACTIONAL || self.lists.iter().any(|list| list.id == id) {
            return;
        }
        let name = match name {
            "" => consent::title(id),
            name => name.to_owned(),
        };
        self.lists.push(List {
            id: id.to_owned(),
            name,
            description: description.to_owned(),
            kind,
        });
    }

    /// The kinds of mail people may leave, in the plugins' order.
    pub fn lists(&self) -> &[List] {
        &self.lists
    }

    pub fn journey(&self, id: &str) -> Option<&Arc<JourneyEntry>> {
        self.journeys.get(id)
    }

    pub fn journeys(&self) -> impl Iterator<Item = &Arc<JourneyEntry>> {
        self.journeys.values()
    }

    pub fn template(&self, key: &str) -> Option<&Template> {
        self.templates.get(key)
    }

    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.templates.values()
    }

    /// The journeys this event enrols people in, in the plugins' order.
    pub fn triggered_by(&self, event: &str) -> &[Arc<JourneyEntry>] {
        self.by_trigger.get(event).map_or(&[], Vec::as_slice)
    }

    /// Whether this event can begin or end a run.
    pub fn concerns(&self, event: &str) -> bool {
        self.by_trigger.contains_key(event) || self.exit_events.contains(event)
    }

    /// The events that begin or end a journey.
    pub fn listened_for(&self) -> impl Iterator<Item = &str> {
        let begins = self.by_trigger.keys().chain(&self.exit_events);
        begins.map(String::as_str)
    }

    /// Whether any journey can end early.
    pub fn has_exits(&self) -> bool {
        self.has_exits
    }
}
