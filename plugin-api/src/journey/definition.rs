//! A journey's metadata, which the host knows without running it.

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
    /// A journey that is enabled, has unlimited entry and no exit condition. It enrols nobody until
    /// it has a [`trigger`](Journey::trigger). `id` is unique over all plugins.
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
                goal: None,
                holdout_percent: 0,
                not_after_ms: None,
                source: None,
                document: None,
                location: format!("{}:{}", place.file(), place.line()),
            },
            run: Box::new(move |user, ctx| Box::pin(run(user, ctx))),
        }
    }

    /// The journey's metadata.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// A name for people. Default: the id.
    pub fn name(mut self, name: &str) -> Self {
        self.definition.name = name.into();
        self
    }

    /// A description for people.
    pub fn description(mut self, text: &str) -> Self {
        self.definition.description = Some(text.into());
        self
    }

    /// False stops enrolment; active runs continue.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.definition.enabled = enabled;
        self
    }

    /// The event that enrols a person.
    pub fn trigger(mut self, event: &str) -> Self {
        self.definition.trigger.event = event.into();
        self
    }

    /// A condition the trigger event must satisfy.
    pub fn trigger_where(mut self, condition: Condition) -> Self {
        self.definition.trigger.condition = Some(condition);
        self
    }

    /// Only trusted events enrol: from the product's own API calls, from sources whose events
    /// strangers cannot forge, and from sources in `TRUSTED_SOURCES`.
    pub fn trusted(mut self) -> Self {
        self.definition.trusted = true;
        self
    }

    /// Whether an event that arrives long after it happened still enrols. Default: up to one day.
    pub fn late(mut self, late: Late) -> Self {
        self.definition.late = late;
        self
    }

    /// What the journey is for: whoever enters it counts as converted where this event happens within
    /// `span` of their entry. A host without `goals` ignores it.
    pub fn goal(mut self, event: &str, span: Duration) -> Self {
        self.definition.goal = Some(Goal {
            event: EventMatch {
                event: event.into(),
                condition: None,
            },
            within_ms: span.as_millis() as u64,
        });
        self
    }

    /// The share of people, in percent (0 to 100), who meet the trigger but do not enter, so that the
    /// goal can be compared. A host without `holdouts` ignores it.
    pub fn holdout(mut self, percent: u8) -> Self {
        self.definition.holdout_percent = percent.min(100);
        self
    }

    /// How long mails of this journey are useful, where neither the `send` step nor the template says
    /// it. A host without `journey_not_after` ignores it.
    pub fn not_after(mut self, useful: Duration) -> Self {
        self.definition.not_after_ms = Some(useful.as_millis() as u64);
        self
    }

    /// The journey's own source, for people who look at it: `.source(include_str!("activation.rs"))`.
    pub fn source(mut self, text: &str) -> Self {
        self.definition.source = Some(text.into());
        self
    }

    /// The [`Document::name`](super::Document::name) of the document the journey was made of.
    pub fn document(mut self, name: &str) -> Self {
        self.definition.document = Some(name.into());
        self
    }

    /// How often one person may enter. Default: without limit.
    pub fn entry(mut self, entry: Entry) -> Self {
        self.definition.entry = entry;
        self
    }

    /// An event that ends the run. The host ends it in the transaction that stores the event.
    pub fn exit_on(mut self, event: &str) -> Self {
        self.definition.exit_on.push(EventMatch {
            event: event.into(),
            condition: None,
        });
        self
    }

    /// An event that ends the run if it satisfies a condition.
    pub fn exit_on_where(mut self, event: &str, condition: Condition) -> Self {
        self.definition.exit_on.push(EventMatch {
            event: event.into(),
            condition: Some(condition),
        });
        self
    }

    /// The minimum interval between two mails of this journey to one person, across enrolments. Not
    /// related to the suppression list.
    pub fn suppress(mut self, interval: Duration) -> Self {
        self.definition.suppress_ms = interval.as_millis() as u64;
        self
    }

    /// The category a person unsubscribes from to stop this journey's mails. Default: `journey`.
    pub fn category(mut self, category: &str) -> Self {
        self.definition.category = category.into();
        self
    }

    /// The version of the journey, for people. Default: 1.
    pub fn version(mut self, version: u32) -> Self {
        self.definition.version = version;
        self
    }

    /// Which code a run continues with once a newer version of the plugin is loaded.
    pub fn pin(mut self, pin: Pin) -> Self {
        self.definition.pin = pin;
        self
    }
}

/// A journey's metadata, as the host receives it. The methods of [`Journey`] explain each field.
///
/// A host that cannot read one, for example because of a condition of a later version, leaves the journey
/// out and names it at start; its runs wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Definition {
    /// Unique over all plugins.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// A description for people.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether the journey enrols anyone.
    pub enabled: bool,
    /// The event that enrols a person.
    pub trigger: EventMatch,
    /// How often one person may enter.
    pub entry: Entry,
    /// The events that end a run.
    #[serde(default)]
    pub exit_on: Vec<EventMatch>,
    /// The minimum interval between two mails to one person, in milliseconds; 0 for none.
    #[serde(default)]
    pub suppress_ms: u64,
    /// The category a person unsubscribes from.
    #[serde(default = "default_category")]
    pub category: String,
    /// The version of the journey, for people.
    pub version: u32,
    /// Which version of the plugin a run continues with.
    #[serde(default)]
    pub pin: Pin,
    /// Events of untrusted sources enrol nobody.
    #[serde(default)]
    pub trusted: bool,
    /// Whether a late event enrols.
    #[serde(default)]
    pub late: Late,
    /// Where the source calls [`Journey::new`]: `src/activation.rs:12`.
    #[serde(default)]
    pub location: String,
    /// What the journey is for.
    #[serde(default)]
    pub goal: Option<Goal>,
    /// The share of people who do not enter, in percent.
    #[serde(default)]
    pub holdout_percent: u8,
    /// How long its mails are useful, in milliseconds; `None` for the host's default.
    #[serde(default)]
    pub not_after_ms: Option<u64>,
    /// The journey's own source.
    #[serde(default)]
    pub source: Option<String>,
    /// The name of the document the journey was made of.
    #[serde(default)]
    pub document: Option<String>,
}

/// What a journey is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Goal {
    /// The event that reaches it.
    #[serde(flatten)]
    pub event: EventMatch,
    /// How long after the entry it counts, in milliseconds.
    pub within_ms: u64,
}

fn default_category() -> String {
    "journey".into()
}

/// Matches events by name, and by a condition where there is one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventMatch {
    /// The name of the event.
    pub event: String,
    /// What the event must satisfy.
    #[serde(default, rename = "where")]
    pub condition: Option<Condition>,
}

/// Whether an event that arrives long after it happened still enrols, for example because a phone
/// was offline or an export was sent again. Such an event ends runs and waits in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Late {
    /// It does not where it arrives more than this many milliseconds late.
    SkipAfterMs(u64),
    /// It always does.
    Enrol,
}

impl Late {
    /// An event that arrives more than `age` late does not enrol.
    pub const fn skip_after(age: Duration) -> Self {
        Self::SkipAfterMs(age.as_millis() as u64)
    }
}

impl Default for Late {
    /// Events more than one day late do not enrol.
    fn default() -> Self {
        Self::skip_after(super::days(1))
    }
}

/// Which code a run continues with once a newer version of its plugin is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Pin {
    /// The newest version, from the next advance on.
    #[default]
    Latest,
    /// The version the run began with, as long as that is loaded.
    Run,
}

/// How often one person may enter a journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Entry {
    /// Once ever.
    Once,
    /// Once per period: again when this many milliseconds have passed since the last entry.
    OncePerMs(u64),
    /// Any number of times.
    Unlimited,
}

impl Entry {
    /// Again when `period` has passed since the last entry.
    pub const fn once_per(period: Duration) -> Self {
        Self::OncePerMs(period.as_millis() as u64)
    }

    /// Again when 24 hours have passed since the last entry.
    pub const DAILY: Self = Self::once_per(super::days(1));
}
