//! A metric and its series: one for each combination of label values.
//!
//! A series that was recorded before is found without an allocation. The number of series is bounded, so that no
//! label value from outside can fill the memory of this process or of Prometheus.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString};

/// Maximum number of series of a metric; the values of further ones count as [`OTHER`].
const SERIES_MAX: usize = 2_000;
/// The label values of series beyond the maximum.
const OTHER: &str = "other";

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    /// The upper bounds of its buckets.
    Histogram(&'static [f64]),
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// One line, in Markdown.
    pub help: &'static str,
}

/// Any metric.
pub trait Described: Sync {
    fn about(&self) -> &Metric;

    /// Announces it, and begins its only series where it has no labels: a counter that is absent until it counts
    /// has no rate.
    fn describe(&self);
}

static ON: AtomicBool = AtomicBool::new(false);

/// From now on there is somebody to record for.
pub(super) fn begin() {
    ON.store(true, Ordering::Release);
}

type Found<H> = Vec<(Box<[String]>, H)>;

/// By a hash of their label values.
type Series<H> = (RandomState, RwLock<HashMap<u64, Found<H>>>);

/// The series of a metric.
struct Family<H> {
    about: Metric,
    series: LazyLock<Series<H>>,
}

impl<H: Clone> Family<H> {
    const fn new(about: Metric) -> Self {
        Self {
            about,
            series: LazyLock::new(Default::default),
        }
    }

    /// The series with these label values, in the order of the labels. None while nobody records.
    fn of(&self, values: &[&str], register: fn(&dyn Recorder, &Key) -> H) -> Option<H> {
        debug_assert_eq!(values.len(), self.about.labels.len(), "{}", self.about.name);
        if !ON.load(Ordering::Acquire) {
            return None;
        }
        let (hasher, series) = &*self.series;
        let hash = hasher.hash_one(values);
        let same = |own: &[String]| own.iter().eq(values.iter());
        {
            let known = series.read().unwrap_or_else(PoisonError::into_inner);
            let known = known.get(&hash).into_iter().flatten();
            if let Some((_, handle)) = known.into_iter().find(|(own, _)| same(own)) {
                return Some(handle.clone());
            }
        }
        let mut known = series.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SERIES_MAX && !values.iter().all(|value| *value == OTHER) {
            drop(known);
            let others = vec![OTHER; values.len()];
            return self.of(&others, register);
        }
        let found = known.entry(hash).or_default();
        if let Some((_, handle)) = found.iter().find(|(own, _)| same(own)) {
            return Some(handle.clone());
        }
        let labels: Vec<Label> = self
            .about
            .labels
            .iter()
            .zip(values)
            .map(|(name, value)| Label::new(*name, (*value).to_owned()))
            .collect();
        let key = Key::from_parts(self.about.name, labels);
        let handle = metrics::with_recorder(|recorder| register(recorder, &key));
        let own = values.iter().map(|value| (*value).to_owned()).collect();
        found.push((own, handle.clone()));
        Some(handle)
    }

    fn help(&self) -> (KeyName, SharedString) {
        // Backticks are for the page.
        let plain = self.about.help.replace('`', "");
        (KeyName::from_const_str(self.about.name), plain.into())
    }
}

const METADATA: Metadata<'static> = Metadata::new("hogsend", Level::INFO, None);

/// A number that only grows.
pub struct Counter(Family<metrics::Counter>);

impl Counter {
    pub const fn new(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self(Family::new(Metric {
            name,
            kind: Kind::Counter,
            labels,
            help,
        }))
    }

    pub fn add(&self, values: &[&str], count: u64) {
        let of = self.0.of(values, |recorder, key| {
            recorder.register_counter(key, &METADATA)
        });
        if let Some(counter) = of {
            counter.increment(count);
        }
    }
}

impl Described for Counter {
    fn about(&self) -> &Metric {
        &self.0.about
    }

    fn describe(&self) {
        let (name, help) = self.0.help();
        metrics::with_recorder(|recorder| recorder.describe_counter(name, None, help));
        if self.0.about.labels.is_empty() {
            self.add(&[], 0);
        }
    }
}

/// A number that goes up and down.
pub struct Gauge(Family<metrics::Gauge>);

impl Gauge {
    pub const fn new(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self(Family::new(Metric {
            name,
            kind: Kind::Gauge,
            labels,
            help,
        }))
    }

    pub fn set(&self, values: &[&str], value: f64) {
        let of = self.0.of(values, |recorder, key| {
            recorder.register_gauge(key, &METADATA)
        });
        if let Some(gauge) = of {
            gauge.set(value);
        }
    }

    /// Sets every series to `NaN`: nobody knows it at the moment. Rules do not compare it with anything.
    pub fn forget(&self) {
        let known = self
            .0
            .series
            .1
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for (_, gauge) in known.values().flatten() {
            gauge.set(f64::NAN);
        }
    }
}

impl Described for Gauge {
    fn about(&self) -> &Metric {
        &self.0.about
    }

    fn describe(&self) {
        let (name, help) = self.0.help();
        metrics::with_recorder(|recorder| recorder.describe_gauge(name, None, help));
    }
}

/// How often values are below each of some bounds.
pub struct Histogram(Family<metrics::Histogram>);

impl Histogram {
    pub const fn new(
        name: &'static str,
        buckets: &'static [f64],
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self(Family::new(Metric {
            name,
            kind: Kind::Histogram(buckets),
            labels,
            help,
        }))
    }

    pub fn record(&self, values: &[&str], value: f64) {
        let of = self.0.of(values, |recorder, key| {
            recorder.register_histogram(key, &METADATA)
        });
        if let Some(histogram) = of {
            histogram.record(value);
        }
    }

    /// Records a duration in seconds.
    pub fn took(&self, values: &[&str], duration: Duration) {
        self.record(values, duration.as_secs_f64());
    }
}

impl Described for Histogram {
    fn about(&self) -> &Metric {
        &self.0.about
    }

    fn describe(&self) {
        let (name, help) = self.0.help();
        metrics::with_recorder(|recorder| recorder.describe_histogram(name, None, help));
    }
}
