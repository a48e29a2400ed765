//! A little world for journeys: any number of people, a clock that moves when it is told to, no
//! database, no network.
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
//! Guards, time zones, experiments and the pace of mail are decided by the functions the host
//! decides by ([`hogsend_semantics`]). Mails are not rendered and nothing is retried: a scripted
//! failure is what a journey sees after the host gave up.
//!
//! Everything follows from the seed and from what the test does, so the same simulation gives the
//! same [`trace`](Sim::trace), byte for byte.

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
pub use play::Told;
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

/// Looks at the world after everything that happens in it.
type Watch<'a> = dyn FnMut(&Entry, &Sim<'a>) + 'a;

/// People, journeys and a clock.
pub struct Sim<'a> {
    seed: u64,
    policy: Policy,
    now: DateTime<Utc>,
    /// Counts everything that happens.
    tick: u64,
    sources: Vec<Box<dyn Advance + 'a>>,
    journeys: Vec<Listed>,
    by_trigger: HashMap<String, Vec<usize>>,
    templates: BTreeMap<String, Template>,
    people: Vec<Person>,
    by_id: HashMap<String, usize>,
    /// By the normal form; several may have one.
    by_address: HashMap<String, BTreeSet<usize>>,
    /// Whom the next verb is about.
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

/// A journey and who runs its code.
struct Listed {
    id: Rc<str>,
    definition: Rc<Definition>,
    source: usize,
    /// Nobody switched it off.
    admitted: bool,
    /// It does not take part at all.
    ignored: bool,
}

/// Something that is due, in order of time and then of its making.
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
    /// A world with the journey this function makes. Mails of any template can be sent in it.
    ///
    /// # Panics
    ///
    /// Like [`source`](Sim::source).
    pub fn new(make: impl Fn() -> Journey + 'a) -> Self {
        Self::of(Made::new(move || vec![make()]))
    }

    /// A world with the journeys of a plugin: `Sim::of(kit::start::<Lifecycle>(&settings)?)`.
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

    /// Adds the journey this function makes.
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
    /// Where the plugin cannot say what it brings, where two journeys have one id, and where a
    /// journey has no trigger.
    pub fn source(mut self, source: impl Advance + 'a) -> Self {
        let catalogue = source
            .catalogue()
            .unwrap_or_else(|error| panic!("a plugin does not say what it brings: {error}"));
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

    /// What the ids of people, runs and mails derive from; 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// When the world begins; [`beginning`](super::beginning) by default.
    pub fn starting(mut self, at: DateTime<Utc>) -> Self {
        self.now = at;
        self
    }

    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Switches a journey off, as an administrator would.
    pub fn disable(mut self, journey: &str) -> Self {
        for listed in &mut self.journeys {
            listed.admitted &= &*listed.id != journey;
        }
        self
    }

    /// Leaves every other journey out, as if no plugin brought it.
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

    /// Calls `watch` after everything that happens: to check what must always be true.
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

    /// Whether anybody hears of what happens.
    fn is_told(&self) -> bool {
        self.keeps_timeline || self.watch.is_some()
    }

    /// Writes a line of the timeline.
    fn note(&mut self, person: usize, run: Option<usize>, what: What) {
        let journey = run.map(|run| self.runs[run].journey.clone());
        self.note_as(person, journey, run, what);
    }

    fn note_as(&mut self, person: usize, journey: Option<Rc<str>>, run: Option<usize>, what: What) {
        if !self.is_told() {
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
