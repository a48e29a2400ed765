//! What a process tells its operators: logs, metrics and traces.
//!
//! Everything else records by name: a counter of [`metrics`], a span of [`traces`], a failure that repeats
//! with [`Outage`]. None of the three may fail or slow down the work it is about.

mod logging;
mod mask;
pub mod metrics;
mod outage;
pub mod traces;

pub use outage::{DATABASE, Outage, Outages};

use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::Config;

/// How long the last spans may take to be exported when the process ends.
const FLUSH: Duration = Duration::from_secs(2);

/// Sets up logging, and for processes that serve or work metrics and traces too. A second call changes
/// nothing. Traces need a Tokio runtime.
pub fn init(config: &Config) {
    let tracer = config.traces.as_ref().filter(|_| config.mode.runs());
    let tracer = tracer.and_then(traces::start);
    let registry = tracing_subscriber::registry()
        .with(EnvFilter::new(logging::filter(config.log_level)))
        .with(logging::layer(config.production));
    // Without an endpoint there is no layer, so that a span costs no more than its ids in the log. Already
    // set up: tests run several servers in one process.
    let _ = match tracer {
        Some(tracer) => registry.with(traces::layer(tracer)).try_init(),
        None => registry.try_init(),
    };
    if config.mode.runs() {
        metrics::install();
    }
}

/// Exports the spans that have ended, for at most two seconds. The last thing a process does.
pub async fn flush() {
    let flushed = tokio::task::spawn_blocking(|| traces::finish(FLUSH));
    let _ = tokio::time::timeout(FLUSH, flushed).await;
}
