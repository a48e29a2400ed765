//! The conformance test of journeys and templates.
//!
//! Describe what starts the journeys with [`Scene`] and call [`conformance`]. It checks [`PROMISES`] and
//! those of [every plugin](crate::PROMISES), and panics with all that are broken:
//!
//! ```ignore
//! #[test]
//! fn keeps_what_every_journeys_plugin_promises() {
//!     conformance::<Dunning>(&Scene {
//!         events: vec![("dunning", json!({ "invoice": "in_1" }))],
//!         ..Scene::default()
//!     });
//! }
//! ```

mod promises;
mod runs;
mod templates;

use std::collections::BTreeSet;

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::export::{Exported, Instance};
use hogsend_plugin_api::journey::{Catalogue, CatalogueIn, Document};
use hogsend_plugin_api::{Settings, Template};
use hogsend_semantics::TRANSACTIONAL;
use serde_json::Value;

use crate::ask;
use crate::sim::Sim;
use crate::subject::Subject;
pub use promises::PROMISES;

/// What the journeys of a plugin need.
pub struct Scene {
    /// The settings, as in production; defaults of the manifest apply.
    pub settings: Settings,
    /// The properties of the trigger event, by the id of the journey. Journeys that are not named get
    /// an event without properties.
    pub events: Vec<(&'static str, Value)>,
    /// Prepares each simulation before the event: the answers of the outside world
    /// ([`Sim::http`]), the contact's properties.
    pub prepare: fn(&mut Sim<'_>),
    /// The documents of an operator, for a plugin that makes journeys of documents.
    pub documents: Vec<Document>,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            events: Vec::new(),
            prepare: |_| {},
            documents: Vec::new(),
        }
    }
}

/// The plugin under test.
struct Test<'a> {
    subject: &'a Subject<'a>,
    scene: &'a Scene,
    plugin: Box<dyn Instance>,
    catalogue: Catalogue,
}

/// Checks that a plugin keeps the promises of every journeys plugin.
///
/// # Panics
///
/// With every promise that the plugin breaks.
pub fn conformance<P: Exported>(scene: &Scene) {
    let subject = Subject::of::<P>(&scene.settings, "a journeys plugin", &PROMISES);
    if let Some(plugin) = subject.begin() {
        check(&subject, scene, plugin);
    }
    subject.verdict.end();
}

fn check(subject: &Subject<'_>, scene: &Scene, plugin: Box<dyn Instance>) {
    let verdict = &subject.verdict;
    let mut catalogue = Catalogue::default();
    verdict.check("catalogue", || {
        catalogue = catalogue_of(plugin.as_ref(), scene);
        assert!(
            catalogue == catalogue_of(plugin.as_ref(), scene)
                && catalogue == catalogue_of(subject.start().as_ref(), scene),
            "every instance has the same catalogue, whenever it is asked"
        );
        if let Some(fault) = catalogue.faults.first() {
            panic!("the document {} is read: {}", fault.document, fault.message);
        }
    });
    let test = Test {
        subject,
        scene,
        plugin,
        catalogue,
    };
    verdict.check("missing-settings", || subject.missing_settings_are_named());
    verdict.check("journey-ids", || test.every_journey_has_its_own_id());
    verdict.check("template-keys", || test.every_template_has_its_own_key());
    verdict.check("categories", || test.every_category_has_a_name());
    for template in &test.catalogue.templates {
        test.check_template(template);
    }
    for journey in &test.catalogue.journeys {
        test.check_runs(journey);
    }
}

fn catalogue_of(plugin: &dyn Instance, scene: &Scene) -> Catalogue {
    let input = CatalogueIn::new(scene.documents.clone());
    ask(plugin, method::JOURNEYS_CATALOGUE, &input)
        .unwrap_or_else(|error| panic!("a plugin returns its catalogue: {error}"))
}

impl Test<'_> {
    fn every_journey_has_its_own_id(&self) {
        let mut ids = BTreeSet::new();
        for journey in &self.catalogue.journeys {
            let id = &journey.id;
            is_name("journey", id);
            assert!(
                ids.insert(id),
                "the id of a journey is its own: '{id}' is there twice"
            );
            assert!(
                !journey.trigger.event.trim().is_empty(),
                "the journey '{id}' has a trigger: add `.trigger(…)`"
            );
        }
        for (id, _) in &self.scene.events {
            assert!(
                ids.iter().any(|known| known == id),
                "the test has an event for the journey '{id}', which the plugin does not have"
            );
        }
    }

    fn every_template_has_its_own_key(&self) {
        let mut keys = BTreeSet::new();
        for Template { key, subject, .. } in &self.catalogue.templates {
            is_name("template", key);
            assert!(
                keys.insert(key),
                "the key of a template is its own: '{key}' is there twice"
            );
            assert!(
                !subject.trim().is_empty(),
                "the template '{key}' has a subject"
            );
        }
    }

    fn every_category_has_a_name(&self) {
        let mut ids = BTreeSet::new();
        for category in &self.catalogue.categories {
            let id = &category.id;
            is_name("category", id);
            assert!(
                ids.insert(id),
                "a category is listed once: '{id}' is there twice"
            );
            assert!(
                !category.name.trim().is_empty(),
                "the category '{id}' has a name"
            );
            assert_ne!(
                id, TRANSACTIONAL,
                "nobody can unsubscribe from '{TRANSACTIONAL}', so it is not listed"
            );
        }
    }

    fn check_template(&self, template: &Template) {
        let verdict = &self.subject.verdict;
        verdict.check("syntax", || templates::compiles(template));
        verdict.check("samples", || templates::samples_fit(template));
        verdict.check("renders", || templates::renders_with_samples(template));
        verdict.check("renders-bare", || templates::renders_bare(template));
        verdict.check("unsubscribe-link", || templates::has_the_way_out(template));
    }
}

fn is_name(what: &str, name: &str) {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    assert!(
        !name.is_empty() && name.len() <= 100 && name.chars().all(known),
        "the {what} '{name}' is named with 1 to 100 lower-case letters, digits and hyphens"
    );
}
