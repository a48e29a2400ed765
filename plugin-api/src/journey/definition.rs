//! What the host knows about a journey without running it.

use std::panic::Location;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Condition, Ctx, Result, User};

/// A journey: metadata and an async function.
pub struct Journey {
    pub(super) definition: Definition,
    pub(super) run: Box<RunFn>,
}

pub(super) type RunFn =
    dyn Fn(User, Ctx) -> std::pin::Pin<Box<dyn Future<Output = Result>>> + std::marker::Send + Sync;

impl Journey {
    /// A journey that is enabled, can be entered without limit and has no exit condition. It needs
    /// a [`trigger`](Journey::trigger) before anyone enters it.
    #[track_caller]
    pub fn new<F, R>(id: &str, run: F) -> Self
    where
        F: Fn(User, Ctx) -> R + std::marker::Send + Sync + 'static,
        R: Future<Output = Result> + 'static,
    {
        let place = Location::caller();
        Self {
            definition: Definition {
                id: id.into(),
                name: id.into(),
                description: None,
                enabled: true,
                trigger: EventMatch::default(),
                entry: Entry::Unlimited,
                exit_on: Vec::new(),
                suppress_ms: 0,
                category: default_category(),
                version: 1,
                pin: Pin::default(),
                trusted: false,
                late: Late::default(),
                location: format!("{}:{}", place.file(), place.line()),
            },
            run: Box::new(move |user, ctx| Box::pin(run(user, ctx))),
        }
    }

    /// What the host knows about it without running it.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// A name for people.
    pub fn name(mut self, name: &str) -> Self {
        self.definition.name = name.into();
        self
    }

    pub fn description(mut self, text: &str) -> Self {
        self.definition.description = Some(text.into());
        self
    }

    /// False keeps everyone out; runs already under way go on.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.definition.enabled = enabled;
        self
    }

    /// The event that enrols a person.
    pub fn trigger(mut self, event: &str) -> Self {
        self.definition.trigger.event = event.into();
        self
    }

    /// What the trigger event must satisfy.
    pub fn trigger_where(mut self, condition: Condition) -> Self {
        self.definition.trigger.condition = Some(condition);
        self
    }

    /// Only events that are believed enrol: those of the product's own calls, of vendors that sign what
    /// they made themselves, and of sources in `TRUSTED_SOURCES`.
    pub fn trusted(mut self) -> Self {
        self.definition.trusted = true;
        self
    }

    /// Whether an event enrols that arrives long after it happened.
    pub fn late(mut self, late: Late) -> Self {
        self.definition.late = late;
        self
    }

    /// How often one person may enter.
    pub fn entry(mut self, entry: Entry) -> Self {
        self.definition.entry = entry;
        self
    }

    /// An event that ends the run, in the transaction that stores the event.
    pub fn exit_on(mut self, event: &str) -> Self {
        self.definition.exit_on.push(EventMatch {
            event: event.into(),
            condition: None,
        });
        self
    }

    /// An event that ends the run where it satisfies a condition.
    pub fn exit_on_where(mut self, event: &str, condition: Condition) -> Self {
        self.definition.exit_on.push(EventMatch {
            event: event.into(),
            condition: Some(condition),
        });
        self
    }

    /// The least gap between two mails of this journey to one person, across enrolments.
    pub fn suppress(mut self, gap: Duration) -> Self {
        self.definition.suppress_ms = gap.as_millis() as u64;
        self
    }

    /// What a person unsubscribes from to stop this journey's mails. Default: `journey`.
    pub fn category(mut self, category: &str) -> Self {
        self.definition.category = category.into();
        self
    }

    pub fn version(mut self, version: u32) -> Self {
        self.definition.version = version;
        self
    }

    /// Which code a run goes on with when a newer version of the plugin is there.
    pub fn pin(mut self, pin: Pin) -> Self {
        self.definition.pin = pin;
        self
    }
}

/// The part of a journey that crosses the boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    pub enabled: bool,
    pub trigger: EventMatch,
    pub entry: Entry,
    #[serde(default)]
    pub exit_on: Vec<EventMatch>,
    /// Milliseconds; 0 where there is no least gap.
    #[serde(default)]
    pub suppress_ms: u64,
    #[serde(default = "default_category")]
    pub category: String,
    pub version: u32,
    #[serde(default)]
    pub pin: Pin,
    /// Events of untrusted sources enrol nobody.
    #[serde(default)]
    pub trusted: bool,
    #[serde(default)]
    pub late: Late,
    /// `src/activation.rs:12`, where the journey was made.
    #[serde(default)]
    pub location: String,
}

fn default_category() -> String {
    "journey".into()
}

/// An event of some name, where it satisfies a condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventMatch {
    pub event: String,
    #[serde(default, rename = "where")]
    pub condition: Option<Condition>,
}

/// Whether an event enrols that arrives long after it happened: a phone was offline, an export was
/// sent again. It ends runs and waits in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// Not where it arrives more than this many milliseconds later.
    SkipAfterMs(u64),
    /// However late it is.
    Enrol,
}

impl Late {
    /// Not where it arrives later than this.
    pub const fn skip_after(age: Duration) -> Self {
        Self::SkipAfterMs(age.as_millis() as u64)
    }
}

impl Default for Late {
    /// Not after a day.
    fn default() -> Self {
        Self::skip_after(super::days(1))
    }
}

/// Which code a run goes on with when a newer version of its plugin is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pin {
    /// The newest, at once.
    #[default]
    Latest,
    /// The version it began with, as long as that is loaded.
    Run,
}

/// How often one person may enter a journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Once in a life.
    Once,
    /// Again when this many milliseconds have passed since the last entry.
    OncePerMs(u64),
    Unlimited,
}

impl Entry {
    /// Again when `period` has passed since the last entry.
    pub const fn once_per(period: Duration) -> Self {
        Self::OncePerMs(period.as_millis() as u64)
    }

    /// Once a day.
    pub const DAILY: Self = Self::once_per(super::days(1));
}
