//! The rules for runs.

use std::cell::RefCell;

use hogsend_plugin_api::call::{CallError, decode, encode, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::journey::{
    AdvanceIn, AdvanceOut, Catalogue, Definition, SendArgs, days, step,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Test;
use crate::call::repeat;
use crate::sim::{Advance, Sim, Status};

/// How long a run is watched.
const DAYS: u64 = 400;

impl Test<'_> {
    pub(super) fn check_runs(&self, journey: &Definition) {
        let verdict = &self.subject.verdict;
        let sends = RefCell::default();
        verdict.check("runs", || self.run(journey, &sends, "", |_| {}));
        let templates = &self.catalogue.templates;
        verdict.check("refused-mails", || {
            self.run(
                journey,
                &sends,
                " where the provider refuses every mail",
                |sim| {
                    for template in templates {
                        sim.fail_send(&template.key, "the provider refuses it");
                    }
                },
            );
            self.run(journey, &sends, " of a person without an address", |sim| {
                sim.set_email(None);
            });
        });
        verdict.check("sends", || {
            for send in sends.borrow().iter() {
                self.is_sound(journey, send);
            }
        });
    }

    /// One person enters by the trigger, and time passes.
    fn run(
        &self,
        journey: &Definition,
        sends: &RefCell<Vec<SendArgs>>,
        which: &str,
        change: impl FnOnce(&mut Sim<'_>),
    ) {
        let id = &journey.id;
        let recorder = Recorder {
            plugin: self.plugin.as_ref(),
            catalogue: &self.catalogue,
            sends,
        };
        let mut sim = Sim::of(recorder).only(id);
        sim.person("user-1");
        (self.scene.prepare)(&mut sim);
        change(&mut sim);
        let event = self.scene.events.iter().find(|(known, _)| known == id);
        let properties = event.map_or_else(|| json!({}), |(_, properties)| properties.clone());
        let trigger = &journey.trigger.event;
        sim.event_with(trigger, properties).advance(days(DAYS));
        if !journey.enabled {
            return;
        }
        assert!(
            !sim.runs().is_empty(),
            "the event '{trigger}' enters the journey '{id}': where it needs properties, give them in `Scene::events`"
        );
        for run in sim.runs() {
            assert!(
                !matches!(run.status, Status::Failed | Status::Stuck),
                "a run of '{id}'{which} is {}: {}",
                run.status,
                run.reason.as_deref().unwrap_or("no reason")
            );
        }
    }

    fn is_sound(&self, journey: &Definition, send: &SendArgs) {
        let (id, key) = (&journey.id, &send.template);
        let known = &self.catalogue.templates;
        let Some(template) = known.iter().find(|template| template.key == *key) else {
            let keys: Vec<&str> = known.iter().map(|known| known.key.as_str()).collect();
            panic!(
                "the journey '{id}' sends a template of the plugin: '{key}' is not among {}",
                keys.join(", ")
            );
        };
        if let Some(fault) = template.faults(&send.props).first() {
            panic!(
                "the journey '{id}' gives the template '{key}' the props it declares: '{}' {fault}",
                fault.name()
            );
        }
    }
}

/// The plugin, with each mail it sends recorded and each advance repeated.
struct Recorder<'a> {
    plugin: &'a dyn Instance,
    catalogue: &'a Catalogue,
    sends: &'a RefCell<Vec<SendArgs>>,
}

impl Advance for Recorder<'_> {
    fn catalogue(&self) -> Result<Catalogue, CallError> {
        Ok(self.catalogue.clone())
    }

    fn advance(&self, run: &AdvanceIn) -> Result<AdvanceOut, CallError> {
        let input = encode(run)?;
        let out: AdvanceOut = decode(&repeat(self.plugin, method::JOURNEYS_ADVANCE, &input, 2)?)?;
        let sends = out
            .commands
            .iter()
            .filter(|command| command.kind == step::SEND);
        let sends = sends.filter_map(|command| args(&command.args));
        let mut all = self.sends.borrow_mut();
        for send in sends {
            if !all.contains(&send) {
                all.push(send);
            }
        }
        Ok(out)
    }
}

fn args(args: &Value) -> Option<SendArgs> {
    SendArgs::deserialize(args).ok()
}
