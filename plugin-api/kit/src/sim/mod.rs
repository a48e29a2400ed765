//! A simulator for journeys: any number of people and a clock that only the test moves, without a
//! database and a network.
//!
//! ```
//! use hogsend_plugin_api::journey::{self, Ctx, Journey, User, days};
//! use hogsend_plugin_kit::Sim;
//!
//! fn trial() -> Journey {
//!     Journey::new("trial", run).trigger("trial.started").exit_on("user.deleted")
//! }
//!
//! async fn run(_: User, ctx: Ctx) -> journey::Result {
//!     ctx.sleep(days(3)).await;
//!     ctx.send("usage-milestone").await?;
//!     Ok(())
//! }
//!
//! Sim::new(trial)
//!     .event("trial.started")
//!     .advance(days(3))
//!     .assert_sent("usage-milestone");
//! ```
//!
//! Guards, time zones, variants, frequency caps and send windows use the same functions as the host
//! ([`hogsend_semantics`]). The simulator renders no mails and retries nothing: a scripted failure is
//! what a journey sees after the host's last retry.
//!
//! Everything depends only on the seed and on the calls of the test, so the same simulation gives
//! the same [`trace`](Sim::trace), byte for byte.

mod advance;
mod check;
mod drive;
mod ids;
mod ingest;
mod look;
mod mail;
mod names;
mod past;
mod person;
mod play;
mod policy;
mod run;
mod script;
mod step;
mod timeline;

pub use advance::Advance;
pub use chrono_tz::Tz;
pub use mail::{Mail, Outcome};
pub use play::Arrival;
pub use policy::{HourMinute, Policy};
pub use run::{Run, Status};
pub use timeline::{Entry, What};

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::rc::Rc;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::{Definition, Journey, Template};

use super::beginning;
use advance::Made;
use person::Person;
use script::Script;

/// A callback after everything that happens.
type Watch<'a> = dyn FnMut(&Entry, &Sim<'a>) + 'a;

/// People, journeys and a clock.
pub struct Sim<'a> {
    seed: u64,
    policy: Policy,
    now: DateTime<Utc>,
    /// Numbers everything that happens.
    tick: u64,
    sources: Vec<Box<dyn Advance + 'a>>,
    journeys: Vec<Listed>,
    by_trigger: HashMap<String, Vec<usize>>,
    templates: BTreeMap<String, Template>,
    people: Vec<Person>,
    by_id: HashMap<String, usize>,
    /// By the normalized address; several people may share one.
    by_address: HashMap<String, BTreeSet<usize>>,
    /// The person the next call is about.
    current: Option<usize>,
    runs: Vec<Run>,
    mails: Vec<Mail>,
    due: BinaryHeap<Reverse<Wake>>,
    script: Script,
    skips: BTreeMap<(String, &'static str), u64>,
    keeps_timeline: bool,
    timeline: Vec<Entry>,
    watch: Option<Box<Watch<'a>>>,
}

/// A journey and the source that runs its code.
struct Listed {
    id: Rc<str>,
    definition: Rc<Definition>,
    source: usize,
    /// Not disabled with [`Sim::disable`].
    admitted: bool,
    /// Left out by [`Sim::only`].
    ignored: bool,
}

/// Something that becomes due, ordered by time and then by creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wake {
    at: DateTime<Utc>,
    tick: u64,
    what: Due,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Run(usize),
    Mail(usize),
}

impl<'a> Sim<'a> {
    /// A simulation of the journey this function creates. Any template key is accepted.
    ///
    /// # Panics
    ///
    /// Like [`source`](Sim::source).
    pub fn new(make: impl Fn() -> Journey + 'a) -> Self {
        Self::of(Made::new(move || vec![make()]))
    }

    /// A simulation of the journeys of a plugin: `Sim::of(kit::start::<Lifecycle>(&settings)?)`.
    ///
    /// # Panics
    ///
    /// Like [`source`](Sim::source).
    pub fn of(source: impl Advance + 'a) -> Self {
        Self {
            seed: 0,
            policy: Policy::default(),
            now: beginning(),
            tick: 0,
            sources: Vec::new(),
            journeys: Vec::new(),
            by_trigger: HashMap::new(),
            templates: BTreeMap::new(),
            people: Vec::new(),
            by_id: HashMap::new(),
            by_address: HashMap::new(),
            current: None,
            runs: Vec::new(),
            mails: Vec::new(),
            due: BinaryHeap::new(),
            script: Script::default(),
            skips: BTreeMap::new(),
            keeps_timeline: true,
            timeline: Vec::new(),
            watch: None,
        }
        .source(source)
    }

    /// Adds the journey this function creates.
    ///
    /// # Panics
    ///
    /// Like [`source`](Sim::source).
    pub fn journey(self, make: impl Fn() -> Journey + 'a) -> Self {
        self.source(Made::new(move || vec![make()]))
    }

    /// Adds the journeys and templates of another plugin.
    ///
    /// # Panics
    ///
    /// The plugin does not return its catalogue, two journeys share an id, or a journey has no
    /// trigger.
    pub fn source(mut self, source: impl Advance + 'a) -> Self {
        let catalogue = source
            .catalogue()
            .unwrap_or_else(|error| panic!("a plugin does not return its catalogue: {error}"));
        let number = self.sources.len();
        let mut known: HashSet<Rc<str>> = self.journeys.iter().map(|one| one.id.clone()).collect();
        for definition in catalogue.journeys {
            let id: Rc<str> = definition.id.as_str().into();
            assert!(known.insert(id.clone()), "journey '{id}' exists twice");
            let trigger = &definition.trigger.event;
            assert!(!trigger.is_empty(), "journey '{id}' has no trigger");
            let place = self.journeys.len();
            self.by_trigger
                .entry(trigger.clone())
                .or_default()
                .push(place);
            self.journeys.push(Listed {
                id,
                definition: Rc::new(definition),
                source: number,
                admitted: true,
                ignored: false,
            });
        }
        let templates = catalogue.templates.into_iter();
        self.templates
            .extend(templates.map(|template| (template.key.clone(), template)));
        self.sources.push(Box::new(source));
        self
    }

    /// The seed from which the ids of people, runs and mails derive; 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// When the simulation begins; [`beginning`](super::beginning) by default.
    pub fn starting(mut self, at: DateTime<Utc>) -> Self {
        self.now = at;
        self
    }

    /// Sets the rules of the installation; none by default.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Disables a journey, as an administrator would.
    pub fn disable(mut self, journey: &str) -> Self {
        for listed in &mut self.journeys {
            listed.admitted &= &*listed.id != journey;
        }
        self
    }

    /// Leaves out every other journey, as if no plugin provided it.
    pub fn only(mut self, journey: &str) -> Self {
        for listed in &mut self.journeys {
            listed.ignored = &*listed.id != journey;
        }
        self
    }

    /// Keeps no timeline: for simulations so long that it would not fit into memory.
    pub fn without_timeline(mut self) -> Self {
        self.keeps_timeline = false;
        self
    }

    /// Calls `watch` after everything that happens, to check what must always be true.
    pub fn on_step(mut self, watch: impl FnMut(&Entry, &Sim<'a>) + 'a) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    fn next_tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    fn wake(&mut self, at: DateTime<Utc>, what: Due) {
        let tick = self.next_tick();
        self.due.push(Reverse(Wake { at, tick, what }));
    }

    /// Whether anything reads the entries.
    fn is_watched(&self) -> bool {
        self.keeps_timeline || self.watch.is_some()
    }

    /// Writes a line of the timeline.
    fn note(&mut self, person: usize, run: Option<usize>, what: What) {
        let journey = run.map(|run| self.runs[run].journey.clone());
        self.note_as(person, journey, run, what);
    }

    fn note_as(&mut self, person: usize, journey: Option<Rc<str>>, run: Option<usize>, what: What) {
        if !self.is_watched() {
            return;
        }
        let entry = Entry {
            at: self.now,
            person: self.people[person].name.clone(),
            journey,
            run: run.map(|number| number + 1),
            what,
        };
        if let Some(mut watch) = self.watch.take() {
            watch(&entry, self);
            self.watch = Some(watch);
        }
        if self.keeps_timeline {
            self.timeline.push(entry);
        }
    }
}
