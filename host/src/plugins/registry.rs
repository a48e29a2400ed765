//! The running plugins, by kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hogsend_plugin_api::call::{CallError, method};
use hogsend_plugin_api::journey::{Catalogue, CatalogueIn};
use hogsend_plugin_api::{Capabilities, Kind, Manifest, Settings};

use super::Problem;
use super::bounded::{START, within_start};
use super::caller::{Caller, Image, read_error};
use super::discover::{Code, Discovered, Found, Plugin, PluginInfo};
use super::features;
use super::perform::{Performer, Scope};
use super::refs::{AnalyticsRef, DeliveryRef, EventSourceRef, JourneysRef, PluginRef};
use super::running::Running;
use crate::clock::Clock;
use crate::purpose::ByPurpose;

/// Every running plugin. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    info: Vec<PluginInfo>,
    running: BTreeMap<String, Arc<Running>>,
    /// Older versions of running plugins with journeys.
    older: Vec<Arc<Running>>,
    /// The active delivery plugins, in order of preference.
    deliveries: ByPurpose<Vec<String>>,
}

impl Discovered {
    /// Starts every plugin with its own settings. Of the delivery plugins those in `deliveries`
    /// accept mail, in the order of preference of its purpose; those in `listening` only read webhooks about
    /// mails they accepted earlier; the others stay off, as their settings may be missing.
    ///
    /// # Errors
    ///
    /// Every plugin that does not start, and every conflict between two.
    pub async fn start(
        self,
        settings: &BTreeMap<String, Settings>,
        deliveries: &ByPurpose<Vec<String>>,
        listening: &[String],
        performer: Performer,
        clock: Clock,
    ) -> Result<Registry, Vec<Problem>> {
        let started = self.start_all(settings, deliveries, listening, performer, clock);
        match started.await {
            (registry, problems) if problems.is_empty() => Ok(registry),
            (_, problems) => Err(problems),
        }
    }

    /// Like [`start`](Self::start), but returns the plugins that do start together with the
    /// problems of the others.
    pub async fn start_all(
        self,
        settings: &BTreeMap<String, Settings>,
        deliveries: &ByPurpose<Vec<String>>,
        listening: &[String],
        performer: Performer,
        clock: Clock,
    ) -> (Registry, Vec<Problem>) {
        let info = self.info();
        let mut running = BTreeMap::new();
        let mut problems = Vec::new();
        for (id, plugin) in self.plugins {
            let Plugin {
                manifest, found, ..
            } = plugin;
            let used = !deliveries.purposes(&id).is_empty() || listening.contains(&id);
            if manifest.kinds.contains(&Kind::Delivery) && !used {
                continue;
            }
            let own = settings.get(&id).cloned().unwrap_or_default();
            match start_one(manifest, found, own, performer.clone(), clock.clone()).await {
                Ok(plugin) => {
                    running.insert(id, Arc::new(plugin));
                }
                Err(problem) => problems.push(problem),
            }
        }
        let mut older = Vec::new();
        for plugin in self.older {
            let Plugin {
                manifest, found, ..
            } = plugin;
            let own = settings.get(&manifest.id).cloned().unwrap_or_default();
            match start_one(manifest, found, own, performer.clone(), clock.clone()).await {
                Ok(plugin) => older.push(Arc::new(plugin)),
                Err(problem) => problems.push(problem),
            }
        }
        problems.extend(clashes(&running));
        let registry = Registry(Arc::new(Inner {
            info,
            running,
            older,
            deliveries: deliveries.clone(),
        }));
        (registry, problems)
    }
}

async fn start_one(
    manifest: Manifest,
    found: Found,
    settings: Settings,
    performer: Performer,
    clock: Clock,
) -> Result<Running, Problem> {
    let id = manifest.id.clone();
    let refused = |message: String| {
        Problem::new(
            "PLUGIN-011",
            format!("plugin '{id}' does not start: {message}"),
        )
    };
    let told = settings.clone().with_host(&features::host());
    tracing::debug!(plugin = id, "creating a plugin");
    let created = tokio::task::spawn_blocking(move || create(found, told)).await;
    let image = created
        .map_err(|ended| refused(ended.to_string()))?
        .map_err(refused)?;
    let has = |kind| manifest.kinds.contains(&kind);
    let (delivers, brings_journeys) = (has(Kind::Delivery), has(Kind::Journeys));
    let scope = Scope::new(&manifest, &settings);
    let mut caller = Caller::new(manifest, image);
    let capabilities = if delivers {
        let asked = caller
            .call(method::DELIVERY_CAPABILITIES, &(), clock.now())
            .await;
        Some(asked.map_err(|error| refused(error.to_string()))?)
    } else {
        None
    };
    let asked_for = capabilities.and_then(|all: Capabilities| all.attempt_ms);
    // Slightly longer than the deadline the plugin knows, so that its own error comes first.
    caller.set_patience(Duration::from_millis(
        asked_for.map_or(0, |ms| ms.saturating_add(1_000)),
    ));
    let catalogue = if brings_journeys {
        let asked = caller
            .call(
                method::JOURNEYS_CATALOGUE,
                &CatalogueIn::default(),
                clock.now(),
            )
            .await;
        asked.map_err(|error| refused(error.to_string()))?
    } else {
        Catalogue::default()
    };
    Ok(Running {
        caller,
        scope,
        settings,
        performer,
        clock,
        capabilities,
        catalogue,
    })
}

/// Creates the plugin from its settings. It blocks, though not for ever.
fn create(found: Found, settings: Settings) -> Result<Image, String> {
    type Make = Box<dyn FnOnce() -> Result<Image, CallError> + Send>;
    let make: Make = match found {
        Found::Linked(linked) => Box::new(move || (linked.create)(&settings).map(Image::Linked)),
        Found::Described(source) => Box::new(move || source.create(&settings).map(Image::Linked)),
        Found::Loaded { code, .. } => {
            let own = serde_json::to_vec(&settings).map_err(|error| error.to_string())?;
            match code {
                Code::Library(root) => Box::new(move || {
                    let instance = root.create(&own).map_err(|bytes| read_error(&bytes))?;
                    Ok(Image::Loaded { root, instance })
                }),
                Code::Child(process) => {
                    process.create(own)?;
                    return Ok(Image::Isolated(process));
                }
            }
        }
    };
    match within_start(make) {
        Some(made) => made.map_err(|error| error.to_string()),
        None => Err(format!(
            "it did not take its settings within {} seconds",
            START.as_secs()
        )),
    }
}

/// Journeys and templates are looked up by id, so ids must be unique; a journey without a trigger
/// could never start.
fn clashes(running: &BTreeMap<String, Arc<Running>>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut journeys: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    let mut templates: BTreeMap<&str, &str> = BTreeMap::new();
    for (plugin, running) in running {
        for journey in &running.catalogue.journeys {
            if journey.trigger.event.is_empty() {
                let message = format!(
                    "journey '{}' of plugin '{plugin}' ({}) has no trigger: name its event with `.trigger(…)`",
                    journey.id, journey.location
                );
                problems.push(Problem::new("PLUGIN-014", message));
            }
            if let Some((other, place)) = journeys.insert(&journey.id, (plugin, &journey.location))
            {
                let message = format!(
                    "journey '{}' exists twice, in plugin '{other}' ({place}) and plugin '{plugin}' ({}): rename one",
                    journey.id, journey.location
                );
                problems.push(Problem::new("PLUGIN-013", message));
            }
        }
        for template in &running.catalogue.templates {
            if let Some(other) = templates.insert(&template.key, plugin) {
                let message = format!(
                    "template '{}' exists twice, in plugin '{other}' and plugin '{plugin}': rename one",
                    template.key
                );
                problems.push(Problem::new("PLUGIN-013", message));
            }
        }
    }
    problems
}

impl Registry {
    /// Every plugin, including those that were not started.
    pub fn info(&self) -> &[PluginInfo] {
        &self.0.info
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Running>> {
        self.0
            .running
            .values()
            .filter(move |plugin| plugin.caller.manifest.kinds.contains(&kind))
    }

    /// Every running plugin.
    pub fn running(&self) -> Vec<PluginRef> {
        let all = self.0.running.values();
        all.map(|plugin| PluginRef(plugin.clone())).collect()
    }

    pub fn event_source(&self, id: &str) -> Option<EventSourceRef> {
        self.of_kind(Kind::EventSource)
            .find(|plugin| plugin.caller.manifest.id == id)
            .map(|plugin| EventSourceRef(plugin.clone()))
    }

    /// Every active delivery plugin, those of lifecycle mail first.
    pub fn deliveries(&self) -> Vec<DeliveryRef> {
        let ids = self.0.deliveries.union();
        ids.iter().filter_map(|id| self.delivery(id)).collect()
    }

    /// The ids of the active delivery plugins, in order of preference.
    pub fn routes(&self) -> &ByPurpose<Vec<String>> {
        &self.0.deliveries
    }

    /// A delivery plugin that accepts mail or reads webhooks.
    pub fn delivery(&self, id: &str) -> Option<DeliveryRef> {
        let plugin = self.0.running.get(id)?;
        Some(DeliveryRef {
            capabilities: plugin.capabilities?,
            plugin: plugin.clone(),
        })
    }

    pub fn analytics(&self) -> Vec<AnalyticsRef> {
        self.of_kind(Kind::Analytics)
            .map(|plugin| AnalyticsRef(plugin.clone()))
            .collect()
    }

    pub fn journeys(&self) -> Vec<JourneysRef> {
        self.of_kind(Kind::Journeys)
            .map(|plugin| JourneysRef(plugin.clone()))
            .collect()
    }

    /// This version of a plugin with journeys, if it is loaded.
    pub fn journeys_at(&self, id: &str, version: &str) -> Option<JourneysRef> {
        let newest = self.0.running.get(id).into_iter();
        newest
            .chain(&self.0.older)
            .find(|plugin| {
                let manifest = &plugin.caller.manifest;
                manifest.id == id
                    && manifest.version == version
                    && manifest.kinds.contains(&Kind::Journeys)
            })
            .map(|plugin| JourneysRef(plugin.clone()))
    }
}
