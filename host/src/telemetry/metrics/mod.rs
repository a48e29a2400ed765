//! Metrics for Prometheus.
//!
//! [`table`] has every metric once: its name, labels and help text. Work is counted where it is done, in the
//! process that does it. What only the database knows is asked for by whoever is scraped (`http/metrics.rs`).

mod family;
mod table;

pub use family::{Counter, Gauge, Histogram, Kind, Metric};
pub use table::*;

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// How often values that were not scraped yet are summed up. They need memory until then.
const UPKEEP: Duration = Duration::from_secs(5);
/// The media type of [`render`].
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts counting. Before it, and without it, what is recorded is dropped. Needs a Tokio runtime.
pub fn install() {
    let mut first = false;
    let handle = HANDLE.get_or_init(|| {
        first = true;
        let mut builder = PrometheusBuilder::new();
        for metric in TABLE.iter().map(|one| one.about()) {
            if let Kind::Histogram(buckets) = metric.kind {
                let of = Matcher::Full(metric.name.to_owned());
                builder = builder
                    .set_buckets_for_metric(of, buckets)
                    .expect("the table has no empty buckets");
            }
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Another recorder: a program that links the library has its own, and gets what is recorded here.
        let _ = metrics::set_global_recorder(recorder);
        handle
    });
    if !first {
        return;
    }
    family::begin();
    for one in TABLE {
        one.describe();
    }
    BUILD.set(&[env!("CARGO_PKG_VERSION")], 1.0);
    tokio::spawn(async {
        loop {
            tokio::time::sleep(UPKEEP).await;
            handle.run_upkeep();
        }
    });
}

/// All metrics in the text format of Prometheus, with the figures of the process.
pub fn render() -> String {
    process();
    HANDLE
        .get()
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

/// Memory, as far as the system tells (Linux), and the age of the process.
fn process() {
    UPTIME.set(&[], crate::clock::since_start().as_secs_f64());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u32>().ok());
    if let Some(kib) = resident {
        MEMORY.set(&[], f64::from(kib) * 1024.0);
    }
}

/// The table of `docs/reference/metrics.md`.
pub fn markdown() -> String {
    let mut text = "| Metric | Type | Labels | |\n|---|---|---|---|\n".to_owned();
    for one in TABLE.iter().map(|one| one.about()) {
        let labels: Vec<String> = one
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        text += &format!(
            "| `{}` | {} | {} | {} |\n",
            one.name,
            one.kind.name(),
            labels.join(", "),
            one.help
        );
    }
    text
}

#[cfg(test)]
mod tests;
