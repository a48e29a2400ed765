//! The journeys and templates of all plugins, indexed by id and by trigger event.

mod list;

pub use list::{List, title};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use hogsend_plugin_api::Template;
use hogsend_plugin_api::journey::{Catalogue, Definition};
use hogsend_semantics::TRANSACTIONAL;

use crate::config::Problem;
use crate::nearest::nearest;
use crate::plugins::{JourneysRef, Registry};
use crate::templates::{Folder, Templates};

/// A journey and the plugin it comes from.
pub struct JourneyEntry {
    pub definition: Definition,
    pub plugin: JourneysRef,
    /// Enabled by `ENABLED_JOURNEYS`.
    pub selected: bool,
}

/// The catalogue of journeys and templates. Built at start and at each reload, and not changed.
#[derive(Default)]
pub struct Catalog {
    journeys: BTreeMap<String, Arc<JourneyEntry>>,
    by_trigger: HashMap<String, Vec<Arc<JourneyEntry>>>,
    has_exits: bool,
    exit_events: HashSet<String>,
    templates: Templates,
    lists: Vec<List>,
}

/// `ENABLED_JOURNEYS` names journeys that no plugin provides.
#[derive(Debug, thiserror::Error)]
#[error(
    "ENABLED_JOURNEYS names {}, which no plugin provides{}; known journeys: {known}",
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

/// The message for an unknown name, with the probably intended one.
fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = nearest(name, known.iter().copied());
    let near = near.map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
    // A name from a request may be of any length.
    let name: String = name.chars().take(100).collect();
    format!("no {what} '{name}'{near}; known: {}", known.join(", "))
}

impl Catalog {
    /// Collects what the plugins provide. `selected` is `ENABLED_JOURNEYS`; `None` means `*`.
    pub fn new(plugins: &Registry, selected: Option<&[String]>) -> Result<Self, CatalogError> {
        let catalog = Self::collect(&plugins.journeys(), selected);
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

    /// What these plugins provide, with every journey enabled.
    pub fn of_plugins(plugins: &[JourneysRef]) -> Self {
        Self::collect(plugins, None)
    }

    fn collect(plugins: &[JourneysRef], selected: Option<&[String]>) -> Self {
        let mut catalog = Self::default();
        for plugin in plugins {
            for definition in &plugin.catalogue().journeys {
                catalog.add(JourneyEntry {
                    definition: definition.clone(),
                    plugin: plugin.clone(),
                    selected: selected.is_none_or(|ids| ids.contains(&definition.id)),
                });
            }
            catalog.add_lists(plugin.catalogue());
            catalog.templates.add(plugin.id(), plugin.catalogue());
        }
        catalog
    }

    /// Overrides templates of plugins with the files of `TEMPLATE_DIR`. Returns problems and
    /// warnings.
    pub fn replace(&mut self, dir: &Path) -> (Vec<Problem>, Vec<String>) {
        self.replace_again(dir, &Templates::default())
    }

    /// Like [`replace`](Self::replace). The templates in use take the place of files with problems.
    pub fn replace_again(&mut self, dir: &Path, in_use: &Templates) -> (Vec<Problem>, Vec<String>) {
        let lists: Vec<&str> = self.lists.iter().map(|list| list.id.as_str()).collect();
        let mut folder = Folder::read_beside(dir, &self.templates, &lists, in_use);
        let problems = std::mem::take(&mut folder.problems);
        let warnings = std::mem::take(&mut folder.warnings);
        self.templates.replace(folder);
        let categories = self.templates.iter();
        let categories = categories.filter_map(|entry| entry.template.category.clone());
        for category in categories.collect::<Vec<_>>() {
            self.add_list("template", &category, "", "");
        }
        (problems, warnings)
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

    /// Categories a plugin declares come first, then those of its journeys, then of its templates,
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
            "" => title(id),
            name => name.to_owned(),
        };
        self.lists.push(List {
            id: id.to_owned(),
            name,
            description: description.to_owned(),
            kind,
        });
    }

    /// The lists recipients may leave, in the plugins' order.
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
        self.templates.get(key).map(|entry| &entry.template)
    }

    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The message for an unknown template, with the known ones and the probably intended one.
    pub fn no_template(&self, key: &str) -> String {
        let known = || {
            self.templates
                .iter()
                .map(|entry| entry.template.key.as_str())
        };
        unknown("template", key, known())
    }

    /// What is wrong with the name of a category. It must be known, because recipients can only
    /// leave known ones.
    pub fn category_fault(&self, category: &str) -> Option<String> {
        let own = self.lists.iter().map(|list| list.id.as_str());
        let mut known = own.chain([TRANSACTIONAL]);
        let is_known = known.clone().any(|name| name == category);
        (!is_known).then(|| unknown("category", category, &mut known))
    }

    /// The journeys this event triggers, in the plugins' order.
    pub fn triggered_by(&self, event: &str) -> &[Arc<JourneyEntry>] {
        self.by_trigger.get(event).map_or(&[], Vec::as_slice)
    }

    /// Whether this event can start or end a run.
    pub fn concerns(&self, event: &str) -> bool {
        self.by_trigger.contains_key(event) || self.exit_events.contains(event)
    }

    /// The events that start or end a journey.
    pub fn listened_for(&self) -> impl Iterator<Item = &str> {
        let begins = self.by_trigger.keys().chain(&self.exit_events);
        begins.map(String::as_str)
    }

    /// Whether any journey can end early.
    pub fn has_exits(&self) -> bool {
        self.has_exits
    }
}
