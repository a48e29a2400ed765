//! The running plugins, by kind.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hogsend_plugin_api::call::{CallError, method};
use hogsend_plugin_api::described::Described;
use hogsend_plugin_api::journey::{Catalogue, CatalogueIn};
use hogsend_plugin_api::{Capabilities, Kind, Manifest, Settings};

use super::Problem;
use super::bounded::{START, within};
use super::caller::{Caller, Image, read_error};
use super::copies::LibraryCopy;
use super::discover::{Discovered, Found, Plugin, PluginInfo};
use super::libraries::LoadedCode;
use super::perform::{Performer, Scope};
use super::refs::{AnalyticsRef, DeliveryRef, EventSourceRef, JourneysRef, PluginRef};
use super::running::{Code, Running};
use super::{features, lint};
use crate::clock::Clock;
use crate::purpose::ByPurpose;

/// Every running plugin. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry(Arc<Inner>);

/// What plugins are started with.
pub struct Start<'a> {
    /// By plugin id; each plugin gets its own only.
    pub settings: &'a BTreeMap<String, Settings>,
    /// The delivery plugins that accept mail, in order of preference.
    pub deliveries: &'a ByPurpose<Vec<String>>,
    /// Delivery plugins that only read webhooks about mails they accepted earlier. Of a plugin in neither
    /// list the other kinds are started; one that only delivers is not.
    pub listening: &'a [String],
    pub performer: Performer,
    pub clock: Clock,
    /// The plugins in use. One whose code and settings did not change goes on as it is.
    pub in_use: Option<&'a Registry>,
    /// Whether runs still go on with this version (plugin id, version), which is in use and not found any
    /// more.
    pub is_needed: &'a (dyn Fn(&str, &str) -> bool + Sync),
}

#[derive(Default)]
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
        self.start_with(Start {
            settings,
            deliveries,
            listening,
            performer,
            clock,
            in_use: None,
            is_needed: &|_, _| false,
        })
        .await
    }

    /// Starts the plugins that do not run yet. Returns all that run, and the problems of the others.
    pub async fn start_with(self, start: Start<'_>) -> (Registry, Vec<Problem>) {
        let mut inner = Inner {
            info: self.info(),
            deliveries: start.deliveries.clone(),
            ..Inner::default()
        };
        let mut problems = Vec::new();
        for (id, plugin) in self.plugins {
            let delivers =
                !start.deliveries.purposes(&id).is_empty() || start.listening.contains(&id);
            if only_delivers(&plugin.manifest) && !delivers {
                continue;
            }
            match start.one(plugin, delivers).await {
                Ok(plugin) => drop(inner.running.insert(id, plugin)),
                Err(problem) => problems.push(problem),
            }
        }
        for plugin in self.older {
            // Only runs go on with it.
            match start.one(plugin, false).await {
                Ok(plugin) => inner.older.push(plugin),
                Err(problem) => problems.push(problem),
            }
        }
        if let Some(in_use) = start.in_use {
            inner.keep_needed(in_use, start.is_needed);
        }
        problems.extend(clashes(&inner.running));
        (Registry(Arc::new(inner)), problems)
    }
}

impl Inner {
    /// Keeps the versions in use that runs go on with.
    fn keep_needed(&mut self, in_use: &Registry, is_needed: &dyn Fn(&str, &str) -> bool) {
        for plugin in in_use.0.running.values().chain(&in_use.0.older) {
            let Manifest {
                id, version, kinds, ..
            } = &plugin.caller.manifest;
            let is = |one: &Arc<Running>| {
                let manifest = &one.caller.manifest;
                (&manifest.id, &manifest.version) == (id, version)
            };
            let newest = self.running.get(id);
            if newest.is_none_or(is) || !kinds.contains(&Kind::Journeys) || !is_needed(id, version)
            {
                continue;
            }
            match self.older.iter().position(is) {
                // Code of the same version is linked, but it is not what the runs began with.
                Some(at) if self.older[at].code == Code::Linked => drop(self.older.remove(at)),
                Some(_) => continue,
                None => {}
            }
            let is = |one: &PluginInfo| (&one.id, &one.version) == (id, version);
            let info = in_use.0.info.iter().find(|one| is(one));
            self.info.retain(|one| !is(one));
            self.info.extend(info.cloned());
            self.older.push(plugin.clone());
        }
    }
}

/// Whether there is nothing to start of a plugin that does not deliver.
fn only_delivers(manifest: &Manifest) -> bool {
    manifest.kinds == [Kind::Delivery]
}

impl Start<'_> {
    /// Starts a plugin, unless it runs with the same code and settings. It is asked to deliver only if it
    /// `delivers`: a kind that is not used must not keep the others from starting.
    async fn one(&self, plugin: Plugin, delivers: bool) -> Result<Arc<Running>, Problem> {
        let Plugin {
            manifest, found, ..
        } = plugin;
        let own = self.settings.get(&manifest.id).cloned().unwrap_or_default();
        let code = found.code();
        let delivers = delivers && manifest.kinds.contains(&Kind::Delivery);
        let same = |one: &&Arc<Running>| {
            one.code == code
                && one.settings == own
                && one.caller.manifest == manifest
                && one.capabilities.is_some() == delivers
        };
        if let Some(in_use) = self.in_use {
            let mut all = in_use.0.running.values().chain(&in_use.0.older);
            if let Some(running) = all.find(same) {
                return Ok(running.clone());
            }
        }
        let running = start_one(
            manifest,
            found,
            (own, delivers),
            self.performer.clone(),
            self.clock.clone(),
        );
        running.await.map(Arc::new)
    }
}

impl Found {
    fn code(&self) -> Code {
        match self {
            Self::Linked(_) => Code::Linked,
            Self::Described(source) => Code::Described(source.clone()),
            Self::Loaded { key, .. } => Code::Loaded(key.clone()),
        }
    }

    fn copy(&self) -> Option<LibraryCopy> {
        match self {
            Self::Loaded { copy, .. } => copy.clone(),
            Self::Linked(_) | Self::Described(_) => None,
        }
    }

    /// Creates the plugin from its settings. It blocks, at most until the deadline. The error is a message for the
    /// operator.
    fn create(self, settings: Settings, deadline: Duration) -> Result<Image, String> {
        type Make = Box<dyn FnOnce() -> Result<Image, CallError> + Send>;
        let make: Make = match self {
            Self::Linked(linked) => Box::new(move || (linked.create)(&settings).map(Image::Linked)),
            Self::Described(source) => {
                Box::new(move || source.create(&settings).map(Image::Linked))
            }
            Self::Loaded { code, .. } => {
                let own = serde_json::to_vec(&settings).map_err(|error| error.to_string())?;
                match code {
                    LoadedCode::Library(root) => Box::new(move || {
                        let instance = root.create(&own).map_err(|bytes| read_error(&bytes))?;
                        Ok(Image::Loaded { root, instance })
                    }),
                    LoadedCode::Child(process) => {
                        process.create(own)?;
                        return Ok(Image::Isolated(process));
                    }
                }
            }
        };
        match within(deadline, make) {
            Ok(made) => made.map_err(|error| error.to_string()),
            Err(fault) => Err(fault.message("take its settings")),
        }
    }
}

async fn start_one(
    manifest: Manifest,
    found: Found,
    (settings, delivers): (Settings, bool),
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
    let (code, copy) = (found.code(), found.copy());
    tracing::debug!(plugin = id, "creating a plugin");
    let created = tokio::task::spawn_blocking(move || found.create(told, START)).await;
    let image = created
        .map_err(|ended| refused(ended.to_string()))?
        .map_err(refused)?;
    let brings_journeys = manifest.kinds.contains(&Kind::Journeys);
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
    if let Some(fault) = lint::catalogue(&catalogue).first() {
        return Err(Problem::new(
            "PLUGIN-009",
            format!("plugin '{id}': {fault}"),
        ));
    }
    for sentence in features::without_effect(&catalogue) {
        tracing::warn!(plugin = id, "{sentence}");
    }
    for template in &catalogue.templates {
        if let Err(error) = hogsend_render::syntax(template) {
            let key = &template.key;
            let message = format!("template '{key}' of plugin '{id}' cannot be used: {error}");
            return Err(Problem::new("PLUGIN-017", message));
        }
    }
    Ok(Running {
        caller,
        code,
        _copy: copy,
        scope,
        settings,
        performer,
        clock,
        capabilities,
        catalogue,
    })
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

    /// The sources in use that were described in this file, or in a file of this folder.
    pub fn described(&self, path: &Path) -> Vec<Arc<Described>> {
        let running = self.0.running.values();
        let all = running.filter_map(|plugin| match &plugin.code {
            Code::Described(source) => Some(source),
            Code::Linked | Code::Loaded(_) => None,
        });
        let here = all.filter(|source| {
            let own = source.path.as_deref();
            own.is_some_and(|own| own == path || own.parent() == Some(path))
        });
        here.cloned().collect()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hogsend_plugin_api::call::CallError;
    use hogsend_plugin_api::export::{Instance, Linked};
    use hogsend_plugin_api::{Manifest, Settings};

    use crate::plugins::discover::Found;

    fn hangs(_: &Settings) -> Result<Box<dyn Instance>, CallError> {
        loop {
            std::thread::park();
        }
    }

    fn panics(_: &Settings) -> Result<Box<dyn Instance>, CallError> {
        panic!("of a test")
    }

    #[test]
    fn a_linked_plugin_that_does_not_take_its_settings_is_refused() {
        static HANGS: Linked = Linked {
            crate_name: "hangs",
            manifest: || Manifest::new("hangs", "1.0.0"),
            create: hangs,
        };
        static PANICS: Linked = Linked {
            create: panics,
            ..HANGS
        };
        for (linked, expected) in [
            (&HANGS, "it did not take its settings within 1 seconds"),
            (&PANICS, "it panicked when it was to take its settings"),
        ] {
            let created = Found::Linked(linked).create(Settings::default(), Duration::from_secs(1));
            assert_eq!(created.err().as_deref(), Some(expected));
        }
    }
}
